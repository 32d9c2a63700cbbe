from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ccvae.data import image_folder
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (16, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for row in range(10):
        picture(tmp_path / "scans" / f"scan{row}.png", row)
    return tmp_path / "scans"


def table(**columns: Any) -> pd.DataFrame:
    plain = {
        "file": [f"scan{row}.png" for row in range(10)],
        "ill": ["0", "1", ""] * 3 + ["1"],
        "kind": ["a", "b", "c", "", "a"] * 2,
    }
    return pd.DataFrame({name: column for name, column in (plain | columns).items() if column is not None})


def written(folder: Path, content: pd.DataFrame) -> Path:
    path = folder.parent / "labels.csv"
    content.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scikit-learn's digits as PNG files beside a CSV file with holes."""
    root = tmp_path_factory.mktemp("digits")
    source = load_digits()
    for row, image in enumerate(source.images):
        path = root / "images" / f"{source.target[row] % 2}" / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(path)
    generator = np.random.default_rng(0)
    labels = pd.DataFrame(
        {
            "target": source.target,
            "picture": [f"{row:04}" for row in range(len(source.images))],
            "even": np.where(source.target % 2 == 0, "yes", "no"),
            "ink": source.images.mean(axis=(1, 2)).round(3),
        }
    ).astype(object)
    for column in ("target", "even", "ink"):
        labels.loc[generator.random(len(labels)) < 0.4, column] = None
    labels.sample(frac=1, random_state=0).to_csv(root / "labels.csv", index=False)
    return root


def test_real_pictures_with_holes_in_their_labels(digit_files: Path) -> None:
    data = image_folder(digit_files / "images", digit_files / "labels.csv", size=16)
    source = load_digits()
    assert data.input_shape == (1, 16, 16)
    assert len(data) == 1797
    assert [type(label) for label in data.space] == [Categorical, Binary, Continuous]
    assert data.space.names == ("target", "even", "ink")
    assert data.space["target"].values == tuple(range(10))  # type: ignore[union-attr]
    assert data.space["even"].values == ("no", "yes")  # type: ignore[union-attr]
    rows = np.array([int(name) for name in data.ids])
    known = ~np.isnan(data.labels)
    assert (abs(known.mean(axis=0) - 0.6) < 0.05).all()
    np.testing.assert_array_equal(data.labels[known[:, 0], 0], source.target[rows][known[:, 0]])
    np.testing.assert_array_equal(data.labels[known[:, 1], 1], (source.target[rows] % 2 == 0)[known[:, 1]])
    # enlarging keeps how much ink there is, so the pixels belong to their rows
    ink = data.tensor().mean(dim=(1, 2, 3)).numpy() * 16
    assert np.corrcoef(ink[known[:, 2]], data.labels[known[:, 2], 2])[0, 1] > 0.99
    assert [len(data.splits[split]) for split in SPLITS] == [1437, 180, 180]
    train = data.labels[data.splits["train"]]
    assert data.space == data.space.with_priors(train)
    assert data.name == "images"


def test_a_share_of_labels_kept(digit_files: Path) -> None:
    data = image_folder(digit_files / "images", digit_files / "labels.csv", size=16, labelled=100, seed=3)
    assert (~np.isnan(data.labels[data.splits["train"]]).all(axis=1)).sum() == 100


@pytest.mark.parametrize(
    "ids",
    [
        [f"scan{row}.png" for row in range(10)],
        [f"scan{row}" for row in range(10)],
        [f" scan{row}.png " for row in range(10)],
        [f"./scan{row}.png" for row in range(10)],
        [f"scans/scan{row}.png" for row in range(10)],
        [f"scans\\scan{row}.png" for row in range(10)],
    ],
)
def test_ways_of_naming_an_image(folder: Path, ids: list[str]) -> None:
    data = image_folder(folder, written(folder, table(file=ids)), size=16)
    for row in (0, 9):
        np.testing.assert_array_equal(data.inputs[row], np.asarray(Image.open(folder / f"scan{row}.png")))
    assert data.ids.tolist() == [name.strip() for name in ids]
    assert data.space.names == ("ill", "kind")
    assert data.labels[:5, 0].tolist() == pytest.approx([0, 1, np.nan, 0, 1], nan_ok=True)


def test_images_in_sub_folders(tmp_path: Path) -> None:
    for row in range(10):
        picture(tmp_path / "deep" / f"p{row % 2}" / "x" / f"{row}.jpg", row)
    for ids in ([f"{row}" for row in range(10)], [f"p{row % 2}/x/{row}" for row in range(10)]):
        data = image_folder(tmp_path / "deep", table(file=ids), size=16)
        assert data.input_shape == (3, 16, 16)
    picture(tmp_path / "deep" / "p1" / "0.png")
    with pytest.raises(ValueError, match=r"ids name several images; give paths.*row 0: 0 may be p0/x/0.jpg or p1/0.png"):
        image_folder(tmp_path / "deep", table(file=[f"{row}" for row in range(10)]), unlisted="ignore", id_column="file")


def test_numbers_name_images_and_are_told_from_labels_that_do_too(tmp_path: Path) -> None:
    for row in range(30):
        picture(tmp_path / "n" / f"{row}.png", row)
    labels = pd.DataFrame({"digit": [row % 3 for row in range(30)], "number": range(30)})
    data = image_folder(tmp_path / "n", labels, size=16)
    assert data.space.names == ("digit",)
    assert data.notes[0] == "30 images listed by column 'number' of table"


def test_labels_and_their_kinds_can_be_chosen(folder: Path) -> None:
    more = table(score=[str(row % 3) for row in range(10)], comment=[f"text {row}" for row in range(10)])
    data = image_folder(folder, more, labels=["score", "ill"], kinds={"score": "continuous"}, size=16)
    assert [(label.kind, label.name) for label in data.space] == [("continuous", "score"), ("binary", "ill")]


def test_a_space_that_is_known_already(folder: Path) -> None:
    space = LabelSpace((Categorical("kind", ("c", "b", "a", "d"), (0.1, 0.2, 0.3, 0.4)),))
    data = image_folder(folder, table(kind=["b"] * 10), space=space, size=16)
    assert data.space == space
    assert (data.labels == 1).all()
    with pytest.raises(ValueError, match="table, label 'kind': row 0: expected one of c, b, a, d, found 'x'"):
        image_folder(folder, table(kind=["x"] * 10), space=space, size=16)
    with pytest.raises(ValueError, match="no column 'kind'"):
        image_folder(folder, table(kind=None), space=space, size=16)
    with pytest.raises(ValueError, match="kinds and space are both given"):
        image_folder(folder, table(), space=space, kinds={"kind": "categorical"}, size=16)


def test_images_that_the_table_does_not_list(folder: Path) -> None:
    few = table().iloc[:7]
    data = image_folder(folder, few, size=16, seed=1)
    assert data.ids.tolist() == [f"scan{row}.png" for row in range(7)] + [f"scan{row}.png" for row in range(7, 10)]
    assert np.isnan(data.labels[7:]).all()
    assert "3 images that table does not list, taken without labels" in data.notes
    np.testing.assert_array_equal(data.inputs[9], np.asarray(Image.open(folder / "scan9.png")))
    assert len(image_folder(folder, few, size=16, unlisted="ignore", seed=1)) == 7
    with pytest.raises(ValueError, match=r"3 images that table does not list: scan7.png; scan8.png; scan9.png"):
        image_folder(folder, few, size=16, unlisted="error")
    with pytest.raises(ValueError, match="unlisted must be unlabelled, ignore or error, not 'some'"):
        image_folder(folder, few, size=16, unlisted="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="their groups are unknown"):
        image_folder(folder, few.assign(patient="a"), size=16, group_column="patient")
    split = few.assign(part=["train"] * 5 + ["val", "test"])
    data = image_folder(folder, split, size=16, split_column="part")
    assert {name: rows.tolist() for name, rows in data.splits.items()} == {
        "train": [0, 1, 2, 3, 4, 7, 8, 9],
        "validation": [5],
        "test": [6],
    }


def test_splits_keep_groups_together_and_follow_the_seed(folder: Path) -> None:
    patients = table(patient=[f"p{row // 2}" for row in range(10)], ill=["0", "1"] * 5, kind=None)
    seen = set()
    for seed in range(5):
        data = image_folder(folder, patients, group_column="patient", validation=2, test=2, size=16, seed=seed)
        assert data.groups is not None
        owners = [set(data.groups[data.splits[split]]) for split in SPLITS]
        assert [len(owner) for owner in owners] == [3, 1, 1]
        assert not owners[0] & owners[1] | owners[1] & owners[2] | owners[0] & owners[2]
        assert "patient" not in data.space.names
        seen.add(tuple(data.splits["test"]))
    assert len(seen) > 1


def test_splits_from_a_column(folder: Path) -> None:
    named = table(part=["Train"] * 6 + ["valid"] * 2 + ["TEST"] * 2)
    data = image_folder(folder, named, split_column="part", size=16)
    assert [data.splits[split].tolist() for split in SPLITS] == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]
    no_validation = table(part=["train"] * 8 + ["test"] * 2)
    data = image_folder(folder, no_validation, split_column="part", validation=2, size=16)
    assert [len(data.splits[split]) for split in SPLITS] == [6, 2, 2]
    assert data.splits["test"].tolist() == [8, 9]
    data = image_folder(folder, no_validation, split_column="part", validation=0, size=16)
    assert [len(data.splits[split]) for split in SPLITS] == [8, 0, 2]
    torn = table(part=["train"] * 6 + ["valid"] * 2 + ["test"] * 2, patient=[f"p{row // 4}" for row in range(10)])
    with pytest.raises(ValueError, match="groups are in both train and validation: p1"):
        image_folder(folder, torn, split_column="part", group_column="patient", size=16)


GIVEN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"file": [f"scan{row + 2}.png" for row in range(10)]},
        {},
        r"'file': images are missing: row 8: scan10.png; row 9: scan11.png",
    ),
    (
        {"file": [f"image{row}.png" for row in range(10)]},
        {},
        "no column names the images.*'image0.png'.*'scan0.png'.*id_column",
    ),
    ({"file": [f"image{row}.png" for row in range(10)]}, {"id_column": "file"}, "missing: row 0: image0.png; .*and 5 more"),
    (
        {"file": ["scan0.png"] * 2 + [f"scan{row}.png" for row in range(2, 10)]},
        {},
        "more than once: scan0.png in row 0 and row 1",
    ),
    (
        {"file": ["scan0.png", "scan0"] + [f"scan{row}.png" for row in range(2, 10)]},
        {},
        "more than once: scan0.png in row 0 and",
    ),
    ({"file": ["", *[f"scan{row}.png" for row in range(1, 10)]]}, {}, "ids are missing: row 0"),
    ({"ill": ["0", "1", "maybe"] + [""] * 7}, {"kinds": {"ill": "binary"}}, "'ill' is to be binary but has 3 values"),
    ({"ill": [""] * 10}, {"labels": ["ill", "kind"]}, "label 'ill' has no observed value"),
    ({"ill": [""] * 10, "kind": ["NA"] * 10}, {}, r"not one label is observed in any row \(columns: ill; kind\)"),
    ({"ill": ["1"] * 10}, {"labels": ["ill"]}, "label 'ill' is constant: all 10 observed values are 1"),
    ({"kind": ["a"] * 10}, {"labels": ["ill", "kind"]}, "label 'kind' is constant: every observed value is a"),
    ({"ill": ["1"] * 10, "kind": ["a"] * 10}, {}, r"2 columns cannot be labels: .*'kind'.*'ill'.*exclude=\['kind', 'ill'\]"),
    ({"ill": None, "kind": None}, {}, "has no label columns: its only columns are file"),
    ({"ill": ["1,5", "2,5"] * 5}, {}, "label 'ill' holds numbers with a decimal comma"),
    ({}, {"id_column": "name"}, "has no column 'name'; its columns are file, ill, kind"),
    ({}, {"labels": ["age"]}, "has no column 'age'"),
    ({}, {"labels": ["file"]}, "column 'file' cannot be a label"),
    ({}, {"group_column": "patient"}, "has no column 'patient'"),
    (
        {"part": ["train"] * 9 + ["holdout"]},
        {"split_column": "part"},
        "expected train, validation or test, but row 9 says 'holdout'; write one of train, training, validation, valid, val",
    ),
    ({"part": ["test"] * 10}, {"split_column": "part"}, "'part' names no row to train on"),
    ({"patient": ["p"] * 9 + [""]}, {"group_column": "patient"}, "no group in row 9"),
    ({"": list("xyxyxyxyxy")}, {}, "column 4 has no name"),
    ({}, {"validation": 0.6, "test": 0.5}, "leave none to train on"),
    ({}, {"labelled": 100}, "there are 7"),
    (
        {"ill": ["0"] * 9 + ["1"], "part": ["train"] * 9 + ["test"]},
        {"split_column": "part"},
        "in the 8 rows to train on: label 'ill'",
    ),
]


@pytest.mark.parametrize(("columns", "arguments", "message"), GIVEN)
def test_bad_tables_are_refused_before_anything_is_decoded(
    folder: Path, cache: Path, columns: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        image_folder(folder, table(**columns), size=16, **arguments)
    assert not list(cache.glob("*"))


def test_messages_name_the_line_of_the_file(folder: Path) -> None:
    path = written(folder, table(file=[f"scan{row + 2}.png" for row in range(10)]))
    with pytest.raises(ValueError, match=r"labels.csv, column 'file': images are missing: line 10: scan10.png; line 11"):
        image_folder(folder, path)
    space = LabelSpace((Binary("ill"),))
    path = written(folder, table(ill=["0", "perhaps"] * 5))
    with pytest.raises(ValueError, match=r"labels.csv, label 'ill': line 3: .*found 'perhaps'; line 5"):
        image_folder(folder, path, space=space)


def test_one_row(folder: Path) -> None:
    with pytest.raises(ValueError, match="table has one row"):
        image_folder(folder, table().iloc[:1], unlisted="ignore")


def test_folders_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        image_folder(tmp_path / "nowhere", table())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no images .*; it holds nothing"):
        image_folder(tmp_path / "empty", table())
    for row in range(3):
        (tmp_path / "empty" / f"{row}.dcm").touch()
    (tmp_path / "empty" / ".hidden.png").touch()
    with pytest.raises(ValueError, match=r"it holds 3 \.dcm, 1 \.png"):
        image_folder(tmp_path / "empty", table())
    with pytest.raises(ValueError, match=r"is a file; expected a folder"):
        image_folder(tmp_path / "empty" / "0.dcm", table())

    def refuse(_: str) -> None:
        raise PermissionError(13, "Permission denied", "locked")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError, match=r"cannot read the folder locked \(Permission denied\)"):
        image_folder(tmp_path / "empty", table())


def test_broken_images_stop_it(folder: Path) -> None:
    (folder / "scan3.png").write_bytes((folder / "scan3.png").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"1 of 10 images in .*scans cannot be read: scan3.png: .*truncated"):
        image_folder(folder, table())


def test_images_of_mixed_sizes_are_brought_to_one(folder: Path) -> None:
    picture(folder / "scan3.png", size=(20, 40))
    data = image_folder(folder, table(), size=(16, 24))
    assert data.input_shape == (3, 16, 24)
    assert "images of 2 sizes (9 of 16×16; 1 of 40×20), stretched to 24×16" in data.notes


def test_parquet_is_read_too(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    table().replace("", None).to_parquet(folder.parent / "labels.parquet")
    data = image_folder(folder, folder.parent / "labels.parquet", size=16)
    np.testing.assert_array_equal(data.labels, image_folder(folder, written(folder, table()), size=16).labels)
