import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ccvae.data import hugging_face
from ccvae.data.open import open_data
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


PICTURES = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
FEATURES = datasets.Features(
    {
        "picture": datasets.Image(),
        "animal": datasets.ClassLabel(names=["cat", "ant", "bee"]),
        "alive": datasets.ClassLabel(names=["no", "yes"]),
        "weight": datasets.Value("float32"),
        "tags": datasets.List(datasets.Value("string")),
    }
)


def made(rows: slice = slice(0, 20), **changes: Any) -> Any:
    columns = {
        "picture": [Image.fromarray(picture) for picture in PICTURES],
        "animal": [0, 1, -1, None, 1] * 4,
        "alive": [0, 1] * 10,
        "weight": [None if row % 3 == 0 else row / 7 for row in range(20)],
        "tags": [["a", "b"]] * 20,
    } | changes
    return datasets.Dataset.from_dict({name: column[rows] for name, column in columns.items()}, features=FEATURES)


def check(data: Any) -> None:
    np.testing.assert_array_equal(data.inputs, PICTURES)
    assert data.space.names == ("animal", "alive", "weight")
    assert data.space["animal"].values == ("cat", "ant", "bee")
    assert [type(label) for label in data.space] == [Categorical, Binary, Continuous]
    np.testing.assert_array_equal(data.labels[:5, 0], [0, 1, np.nan, np.nan, 1])
    np.testing.assert_array_equal(data.labels[:, 1], [0, 1] * 10)
    np.testing.assert_array_equal(np.isnan(data.labels[:, 2]), np.arange(20) % 3 == 0)


def test_in_memory(cache: Path) -> None:
    data = hugging_face(made(), size=16)
    check(data)
    assert "column 'tags' lists findings: 2 binary labels (a; b)" in data.notes
    assert any("columns left out: 2 columns cannot be labels" in note for note in data.notes)
    assert [len(data.splits[split]) for split in SPLITS] == [16, 2, 2]
    assert len(list(cache.glob("images-*"))) == 1


def test_splits_are_kept() -> None:
    parts = datasets.DatasetDict({"train": made(slice(0, 12)), "test": made(slice(12, 20))})
    data = hugging_face(parts, size=16, validation=3)
    check(data)
    assert [len(data.splits[split]) for split in SPLITS] == [9, 3, 8]
    assert data.splits["test"].tolist() == list(range(12, 20))
    with pytest.raises(ValueError, match=r"found also holdout"):
        hugging_face(datasets.DatasetDict({"train": made(), "holdout": made()}))


def test_saved_to_disk(tmp_path: Path) -> None:
    made().save_to_disk(tmp_path / "one")
    check(hugging_face(tmp_path / "one", size=16))
    datasets.DatasetDict({"train": made(slice(0, 12)), "valid": made(slice(12, 20))}).save_to_disk(tmp_path / "two")
    data = hugging_face(str(tmp_path / "two"), size=16)
    check(data)
    assert data.name == "two"
    assert [len(data.splits[split]) for split in SPLITS] == [12, 8, 0]


def test_parquet_files(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    made(slice(0, 12)).to_parquet(tmp_path / "files" / "train.parquet")
    made(slice(12, 20)).to_parquet(tmp_path / "files" / "test.parquet")
    check(hugging_face(tmp_path / "files", size=16, validation=0))
    made().to_parquet(tmp_path / "all.parquet")
    check(hugging_face(tmp_path / "all.parquet", size=16))


def test_folders_of_images(tmp_path: Path) -> None:
    for row, picture in enumerate(PICTURES):
        path = tmp_path / "pictures" / "train" / f"{'cat' if row % 2 else 'dog'}" / f"{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    data = hugging_face(tmp_path / "pictures", size=16)
    assert data.space["label"].values == ("cat", "dog")  # type: ignore[union-attr]
    assert len(data) == 20
    (first,) = np.flatnonzero((data.inputs == PICTURES[0]).all(axis=(1, 2, 3)))
    assert data.labels[first, 0] == 1


def test_tables_of_numbers() -> None:
    generator = np.random.default_rng(0)
    numbers = datasets.Dataset.from_dict({"a": generator.normal(size=30), "b": ["x", "y"] * 15, "l": [0, 1, None] * 10})
    data = hugging_face(numbers, labels=["l"])
    assert data.input_shape == (3,)
    np.testing.assert_array_equal(data.labels[:3, 0], [0, 1, np.nan])
    with pytest.raises(ValueError, match=r"say which columns are labels"):
        hugging_face(numbers)


def test_choices() -> None:
    data = hugging_face(
        made(), labels=["weight", "animal"], size=(16, 20), channels=1, labelled=8, name="mine", group_column=None
    )
    assert data.input_shape == (1, 16, 20)
    assert data.space.names == ("weight", "animal")
    assert data.name == "mine"
    known = hugging_face(made(slice(0, 3)), space=data.space, size=16)
    assert known.space == data.space


def test_broken_images_are_named() -> None:
    broken = io.BytesIO()
    Image.fromarray(PICTURES[0]).save(broken, "png")
    pictures = [{"bytes": broken.getvalue()[: 300 if row == 7 else None], "path": None} for row in range(20)]
    pictures[4] = None  # type: ignore[call-overload]
    with pytest.raises(
        ValueError, match=r"2 of 20 images in data set cannot be read: row 4: there is no image; row 7: .*truncated"
    ):
        hugging_face(made(picture=pictures), size=16)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise datasets.exceptions.DatasetNotFoundError("it does not exist on the hub")

    monkeypatch.setattr(datasets, "load_dataset", unknown)
    with pytest.raises(ValueError, match=r"expected a datasets.Dataset"):
        hugging_face(7)
    with pytest.raises(ValueError, match=r"'nobody/nothing-of-the-kind' is no data set here, nor one that the hub gives"):
        hugging_face("nobody/nothing-of-the-kind")
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"a.csv is no Parquet file"):
        hugging_face(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"column 'photo' does not exist"):
        hugging_face(made(), image_column="photo")
    twice = made().add_column("other", [None] * 20).cast_column("other", datasets.Image())
    with pytest.raises(ValueError, match=r"several columns of images: picture, other"):
        hugging_face(twice)
    with pytest.raises(ValueError, match=r"has no column 'colour'"):
        hugging_face(made(), labels=["colour"])
    with pytest.raises(ValueError, match=r"no rows"):
        hugging_face(datasets.DatasetDict({"train": made(slice(0, 0))}))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'ccvae\[datasets\]'"):
        hugging_face("anything")


def test_lists_of_classes() -> None:
    features = datasets.Features(
        {"image": datasets.Image(), "seen": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "owl"]))}
    )
    columns = {"image": [Image.fromarray(picture) for picture in PICTURES], "seen": [[0], [0, 1], [], [1]] * 5}
    data = hugging_face(datasets.Dataset.from_dict(columns, features=features), size=16)
    assert data.space.names == ("cat", "dog")
    assert data.labels[:4].tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]


def test_a_transform_is_passed_by() -> None:
    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        return {"pixels": [np.asarray(picture) for picture in batch["picture"]]}

    check(hugging_face(made().with_transform(transform), size=16))
    check(hugging_face(made().with_format("numpy"), size=16))


@pytest.mark.parametrize("name", ["unsupervised", "unlabelled", "unlabeled"])
def test_an_unlabelled_split_is_trained_on(name: str) -> None:
    parts = datasets.DatasetDict({"train": made(slice(0, 10)), "test": made(slice(10, 15)), name: made(slice(15, 20))})
    data = hugging_face(parts, size=16, validation=2)
    assert [len(data.splits[split]) for split in SPLITS] == [13, 2, 5]
    assert np.isnan(data.labels[15:]).all()
    assert not np.isnan(data.labels[:15, 1]).any()
    assert set(range(15, 20)) <= set(data.splits["train"]) | set(data.splits["validation"])


def test_names_that_mean_missing() -> None:
    data = hugging_face(made(), size=16, labels=["animal"], missing_values="bee")
    assert data.space["animal"].values == ("cat", "ant")  # type: ignore[union-attr]


def test_streams_are_read_whole() -> None:
    check(hugging_face(made().to_iterable_dataset(), size=16))
    parts = datasets.IterableDatasetDict({"train": made(slice(0, 12)).to_iterable_dataset()})
    assert len(hugging_face(parts, size=16)) == 12


def test_columns_with_fields_and_lists_of_numbers() -> None:
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "objects": {
                "category": datasets.List(datasets.ClassLabel(names=["cat", "dog", "bird"])),
                "box": datasets.List(datasets.Value("float32")),
            },
            "seen": datasets.List(datasets.Value("int64")),
            "filled": datasets.List(datasets.ClassLabel(names=["x", "y"]), length=2),
            "grid": datasets.Array2D((2, 2), "float32"),
        }
    )
    rows = {
        "picture": [Image.fromarray(picture) for picture in PICTURES],
        "objects": [{"category": [0, 1], "box": [0.5]}, {"category": [1], "box": [0.25]}] * 10,
        "seen": [[0, 1, 1], [1, 0, 1]] * 10,
        "filled": [[0, -1], [1, 0], [-1, -1], [1, -1]] * 5,
        "grid": [np.zeros((2, 2))] * 20,
    }
    data = hugging_face(datasets.Dataset.from_dict(rows, features=features), size=16)
    assert data.space.names == ("cat", "seen 1", "seen 2", "x", "y")
    nan = np.nan
    np.testing.assert_array_equal(data.labels[:4, 3:], [[1, 0], [1, 1], [nan, nan], [0, 1]])
    assert any("more than one value a row, left out: objects.box; grid" in note for note in data.notes)
    with pytest.raises(ValueError, match="no column of labels; those with more than one value a row cannot be: grid"):
        hugging_face(datasets.Dataset.from_dict(rows, features=features).select_columns(["picture", "grid"]), size=16)
    with pytest.raises(ValueError, match="no column of labels, but images alone"):
        hugging_face(datasets.Dataset.from_dict(rows, features=features).select_columns(["picture"]), size=16)


def test_folders_that_the_library_wrote_are_recognised(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "y": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.fromarray(picture) for picture in PICTURES], "y": [0, 1] * 10}
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=whole, test=whole.select(range(4))).save_to_disk(tmp_path / "several")
    assert len(open_data(str(tmp_path / "one"))) == 20
    assert len(open_data(str(tmp_path / "several"))) == 24
