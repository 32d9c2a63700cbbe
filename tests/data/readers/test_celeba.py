import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccvae.data import celeba
from ccvae.data.readers.celeba import PAPER_ATTRIBUTES
from ccvae.data.splits import SPLITS

ATTRIBUTES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
]  # fmt: skip
ROWS = 30
FILES = [f"{row + 1:06}.jpg" for row in range(ROWS)]
VALUES = np.random.default_rng(0).choice([-1, 1], size=(ROWS, 40))
PARTITION = [0] * 20 + [1] * 5 + [2] * 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_lists(root: Path, values: np.ndarray = VALUES) -> None:
    """The lists as they are published: padded with blanks, with a count before them."""
    lines = [str(ROWS), " ".join(ATTRIBUTES) + " "]
    lines += [f"{file} " + " ".join(f"{value:2}" for value in row) for file, row in zip(FILES, values, strict=True)]
    (root / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    parts = [f"{file} {part}" for file, part in zip(FILES, PARTITION, strict=True)]
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    y, x = np.indices((218, 178))
    for row, file in enumerate(FILES):
        face = np.stack([x, y, np.full_like(x, 8 * row)], axis=2).astype(np.uint8)
        Image.fromarray(face).save(root / "img_align_celeba" / file, quality=95)
    write_lists(root)
    return root


def test_the_published_layout(root: Path) -> None:
    data = celeba(root)
    assert data.input_shape == (3, 64, 64)
    assert data.space.names == PAPER_ATTRIBUTES
    assert len(PAPER_ATTRIBUTES) == 18
    columns = [ATTRIBUTES.index(name) for name in PAPER_ATTRIBUTES]
    np.testing.assert_array_equal(data.labels, VALUES[:, columns] == 1)
    assert [data.splits[split].tolist() for split in SPLITS] == [list(range(20)), list(range(20, 25)), list(range(25, 30))]
    assert data.ids.tolist() == FILES
    assert data.name == "CelebA"
    # the blue of every face says its row
    assert np.abs(data.inputs[..., 2].mean(axis=(1, 2)) - 8 * np.arange(ROWS)).max() < 3
    # the whole image is stretched: red runs from 0 to 177, green from 0 to 217
    assert data.inputs[0, 32, -1, 0] > 170
    assert data.inputs[0, -1, 32, 1] > 210


def test_attributes_can_be_chosen(root: Path) -> None:
    data = celeba(root, attributes="all", size=(16, 20))
    assert data.space.names == tuple(ATTRIBUTES)
    assert data.input_shape == (3, 16, 20)
    np.testing.assert_array_equal(data.labels, VALUES == 1)
    assert celeba(root, attributes=["Smiling", "Male"]).space.names == ("Smiling", "Male")
    with pytest.raises(ValueError, match=r"no attribute 'Smile' \(did you mean 'Smiling'\?\); it has 5_o_Clock_Shadow"):
        celeba(root, attributes=["Smile"])
    with pytest.raises(ValueError, match="attributes must be 'paper', 'all' or a list"):
        celeba(root, attributes="some")  # type: ignore[arg-type]


def test_a_square_from_the_middle(root: Path) -> None:
    data = celeba(root, size=32, square=148)
    assert abs(int(data.inputs[0, 16, 0, 0]) - 17) < 5
    assert abs(int(data.inputs[0, 0, 16, 1]) - 37) < 5
    assert "all images are 178×218, cut to 148×148, then stretched to 32×32" in data.notes


def test_labels_can_be_hidden(root: Path) -> None:
    data = celeba(root, attributes=["Smiling"], labelled=10, size=16, seed=1)
    assert (~np.isnan(data.labels[data.splits["train"]])).sum() == 10
    assert not np.isnan(data.labels[20:]).any()


def test_other_layouts_of_the_same_files(root: Path) -> None:
    plain = celeba(root)
    for folder, file in (("Anno", "list_attr_celeba.txt"), ("Eval", "list_eval_partition.txt"), ("Img", "img_align_celeba")):
        (root / folder).mkdir()
        (root / file).rename(root / folder / file)
    np.testing.assert_array_equal(celeba(root).labels, plain.labels)
    (root / "Anno" / "list_attr_celeba.txt").unlink()
    (root / "Eval" / "list_eval_partition.txt").unlink()
    header = ",".join(["image_id", *ATTRIBUTES])
    rows = [",".join([file, *map(str, row)]) for file, row in zip(FILES, VALUES, strict=True)]
    (root / "list_attr_celeba.csv").write_text("\n".join([header, *rows]) + "\n")
    parts = [f"{file},{part}" for file, part in zip(FILES, PARTITION, strict=True)]
    (root / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *parts]) + "\n")
    data = celeba(root)
    np.testing.assert_array_equal(data.labels, plain.labels)
    np.testing.assert_array_equal(data.splits["test"], plain.splits["test"])


def test_files_that_are_not_there(root: Path) -> None:
    (root / "img_align_celeba" / FILES[3]).unlink()
    with pytest.raises(ValueError, match=r"images that list_attr_celeba.txt names are not in .*img_align_celeba: 000004.jpg"):
        celeba(root)
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds none of list_eval_partition.txt, Eval/"):
        celeba(root)
    with pytest.raises(FileNotFoundError, match="holds none of img_align_celeba"):
        celeba(root / "img_align_celeba")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "30\n", "31\n", "first line counts 31 images, but 30 follow"),
        ("list_attr_celeba.txt", "30\n", "", "expected the number of images in the first line"),
        ("list_attr_celeba.txt", "000002.jpg", "", r"expected an image and 40 values a line, but line 4 has 40 cells"),
        ("list_attr_celeba.txt", "000002.jpg", "000099.jpg", "do not list the same images in the same order"),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 3", "expected 0, 1 or 2, found 000002.jpg: 3"),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg", "line 2 has 1 cells"),
    ],
)
def test_lists_that_are_not_as_published(root: Path, file: str, old: str, new: str, message: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        celeba(root)


def test_values_that_are_not_as_published(root: Path) -> None:
    values = VALUES.copy()
    values[4, ATTRIBUTES.index("Male")] = 0
    write_lists(root, values)
    with pytest.raises(ValueError, match=r"attribute Male: expected 1 or -1, found 000005.jpg: 0"):
        celeba(root)
    assert len(celeba(root, attributes=["Smiling"], size=16)) == ROWS


def test_as_kaggle_packs_it(root: Path) -> None:
    expected = celeba(root, attributes="all")
    (root / "img_align_celeba").rename(root / "inner")
    (root / "img_align_celeba").mkdir()
    (root / "inner").rename(root / "img_align_celeba" / "img_align_celeba")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (root / name).unlink()
    cells = [",".join([file, *map(str, row)]) for file, row in zip(FILES, VALUES.tolist(), strict=True)]
    (root / "list_attr_celeba.csv").write_text("\n".join([",".join(["image_id", *ATTRIBUTES]), *cells]) + "\n")
    parts = [f"{file},{part}" for file, part in zip(FILES, PARTITION, strict=True)]
    (root / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *parts]) + "\n")
    data = celeba(root, attributes="all")
    assert data.space == expected.space
    np.testing.assert_array_equal(data.labels, expected.labels)
    np.testing.assert_array_equal(data.inputs, expected.inputs)
    assert {split: rows.tolist() for split, rows in data.splits.items()} == {
        split: rows.tolist() for split, rows in expected.splits.items()
    }


def test_part_of_the_images(root: Path) -> None:
    for file in FILES[1:20:2]:
        (root / "img_align_celeba" / file).unlink()
    with pytest.raises(ValueError, match="absent='ignore'"):
        celeba(root)
    data = celeba(root, attributes=["Male", "Young"], absent="ignore")
    assert data.ids.tolist() == [*FILES[0:20:2], *FILES[20:]]
    assert [len(data.splits[split]) for split in SPLITS] == [10, 5, 5]
    assert "10 rows of list_attr_celeba.txt whose image does not exist, ignored" in data.notes


def test_an_archive_may_bring_a_folder_of_its_own(root: Path) -> None:
    whole = celeba(root)
    (root.parent / "download").mkdir()
    root.rename(root.parent / "download" / "CelebA")
    wrapped = celeba(root.parent / "download")
    np.testing.assert_array_equal(wrapped.inputs, whole.inputs)
    assert wrapped.ids.tolist() == whole.ids.tolist()


def test_images_that_are_still_packed(root: Path) -> None:
    shutil.rmtree(root / "img_align_celeba")
    (root / "img_align_celeba.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"it holds img_align_celeba\.zip: unpack archives first"):
        celeba(root)
