"""Data as people find them: lists of findings, class folders, images that are missing, rows of several readers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, features
from torch.utils.data import DataLoader, IterableDataset

from ccvae.cli.main import main
from ccvae.data import arrays, image_folder, table
from ccvae.labels import Binary
from picture_files import FILES, PICTURES, folder_of_pictures


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return folder_of_pictures(tmp_path)


def test_findings_in_one_column(folder: Path) -> None:
    rows = pd.DataFrame({"f": FILES, "y": ["cat", "cat|dog", "dog"] * 30})
    assert "pass delimiter='|'" in image_folder(folder, rows, size=16).warnings[0]
    data = image_folder(folder, rows, size=16, delimiter="|")
    assert data.space.names == ("cat", "dog")
    assert all(isinstance(label, Binary) for label in data.space)
    assert data.labels[:3].tolist() == [[1, 0], [1, 1], [0, 1]]
    assert "column 'y' lists findings: 2 binary labels (cat; dog)" in data.notes
    known = image_folder(folder, rows.assign(y="cat"), size=16, delimiter={"y": "|"}, space=data.space)
    assert known.labels[:2].tolist() == [[1, 0], [1, 0]], "a finding that no row lists is absent"
    with pytest.raises(ValueError, match="no cell of a label column has the delimiter ';'"):
        image_folder(folder, rows, size=16, delimiter=";")
    with pytest.raises(ValueError, match="delimiter names no column 'z'"):
        image_folder(folder, rows, size=16, delimiter={"z": "|"})


def test_lists_of_findings() -> None:
    lists: list[Any] = [["a"], ["a", "b"], [], None, ("b",), np.array(["a", "c"])]
    data = arrays(np.zeros((60, 2)), pd.DataFrame({"seen": lists * 10, "other": [0, 1] * 30}))
    assert data.space.names == ("a", "b", "c", "other")
    nan = np.nan
    expected = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [nan, nan, nan], [0, 1, 0], [1, 0, 1]]
    np.testing.assert_array_equal(data.labels[:6, :3], expected)


def test_lists_written_as_text(tmp_path: Path) -> None:
    lists: list[Any] = ['["a", "b"]', "['a']", "[]", None]
    data = arrays(np.zeros((60, 2)), pd.DataFrame({"seen": lists * 15, "other": [0, 1] * 30}))
    assert data.space.names == ("a", "b", "other")
    np.testing.assert_array_equal(data.labels[:4, :2], [[1, 1], [1, 0], [0, 0], [np.nan, np.nan]])
    odd = arrays(np.zeros((60, 2)), pd.DataFrame({"seen": ["[a", "b]", "__import__('os')"] * 20}))
    assert odd.space.names == ("seen",)


def test_lists_of_zeros_and_ones_have_a_label_for_each_place() -> None:
    data = arrays(np.zeros((60, 2)), {"seen": [[0, 1, 1], [1, 0, 0], None] * 20})
    assert data.space.names == ("seen 1", "seen 2", "seen 3")
    np.testing.assert_array_equal(data.labels[:3], [[0, 1, 1], [1, 0, 0], [np.nan] * 3])
    classes = arrays(np.zeros((60, 2)), {"seen": [[0], [1, 2], [2]] * 20})
    assert classes.space.names == ("0", "1", "2")


def test_codes_for_missing_among_findings() -> None:
    seen = ["cat", "cat | dog", "dog|", "unknown", "cat|unknown", "None"] * 10
    data = arrays(np.zeros((60, 2)), {"seen": seen}, delimiter="|", missing_values="unknown")
    assert data.space.names == ("cat", "dog")
    nan = np.nan
    np.testing.assert_array_equal(data.labels[:6], [[1, 0], [1, 1], [0, 1], [nan, nan], [1, nan], [nan, nan]])
    assert any("10 say 'None'" in warning for warning in data.warnings)
    kept = arrays(np.zeros((60, 2)), {"seen": seen}, delimiter="|", missing_values={"seen": ["unknown"]})
    assert kept.space.names == ("None", "cat", "dog")
    cases = arrays(np.zeros((60, 2)), {"seen": ["cat", "Cat|dog", "dog"] * 20}, delimiter="|")
    assert any("'Cat' and 'cat'" in warning for warning in cases.warnings)
    with pytest.raises(ValueError, match="delimiter: expected a text that is not empty"):
        arrays(np.zeros((60, 2)), {"seen": seen}, delimiter="")


@pytest.mark.parametrize("written", ["/home/someone/data/im/{}", "https://example.org/im/{}", "C:\\data\\im\\{}", "IM/{}"])
def test_paths_of_another_machine(folder: Path, written: str) -> None:
    data = image_folder(folder, pd.DataFrame({"f": [written.format(name) for name in FILES], "y": ["a", "b"] * 45}), size=16)
    np.testing.assert_array_equal(data.inputs[..., 0], PICTURES)


def test_names_whatever_their_case_and_zeros_that_were_lost(folder: Path) -> None:
    upper = pd.DataFrame({"f": [name.upper() for name in FILES], "y": ["a", "b"] * 45})
    np.testing.assert_array_equal(image_folder(folder, upper, size=16).inputs[..., 0], PICTURES)
    numbers = pd.DataFrame({"f": range(90), "y": ["a", "b"] * 45})
    with pytest.raises(ValueError, match="lost the zeros at their start: read the table with dtype=str"):
        image_folder(folder, numbers, size=16)


def test_tables_that_are_none(folder: Path) -> None:
    series = pd.Series(["a", "b"] * 45, index=FILES, name="y")
    assert image_folder(folder, series, size=16).space.names == ("y",)
    with pytest.raises(ValueError, match=r"expected a table: .* not dict"):
        image_folder(folder, dict(zip(FILES, ["a", "b"] * 45, strict=True)), size=16)  # type: ignore[arg-type]
    pd.DataFrame({"f": FILES}).to_csv(folder / "labels.csv")
    with pytest.raises(ValueError, match=r"Tables in the folder: labels\.csv"):
        image_folder(folder, size=16)


@pytest.mark.parametrize(
    ("name", "missing"), [("unlabeled", 5), ("Unlabelled_images", 5), ("unsup", 5), ("no label", 5), ("empty", 0), ("none", 0)]
)
def test_folders_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: int) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    for kind, count in (("cat", 20), ("dog", 20), (name, 5)):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(PICTURES[number]).save(tmp_path / "pets" / kind / f"{number}.png")
    data = image_folder(tmp_path / "pets", size=16)
    assert np.isnan(data.labels).sum() == missing
    if missing:
        assert any(f"5 images without a class, in {name}" in note for note in data.notes)
    else:
        assert any(f"{name!r} looks like a code" in warning for warning in data.warnings)


def test_three_rows_for_each_image_are_joined(folder: Path) -> None:
    rows = pd.DataFrame({"f": FILES * 3, "y": ["a", "b"] * 45 + ["a", "b", "c"] * 30 + ["a"] * 90, "n": np.arange(270) + 0.5})
    data = image_folder(folder, rows, size=16, repeated="join")
    assert data.soft["y"][1].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert data.labels[4, 1] == pytest.approx(94.5)


def test_labels_of_a_table_in_memory_that_were_not_named() -> None:
    labels = pd.DataFrame({"y": [0, 1] * 30, "note": [f"note {row}" for row in range(60)], "site": 1})
    data = arrays(np.zeros((60, 2)), labels)
    assert data.space.names == ("y",)
    assert any("'note'" in note and "'site'" in note for note in data.notes)
    assert arrays(np.zeros((60, 2)), labels, exclude=["note", "site"]).space.names == ("y",)
    with pytest.raises(ValueError, match=r"2 columns cannot be labels.*exclude=\['note', 'site'\]"):
        arrays(np.zeros((60, 2)), labels.to_dict("list"))


def test_data_sets_without_a_length_and_loaders() -> None:
    pairs = [(torch.from_numpy(picture), row % 2) for row, picture in enumerate(PICTURES)]

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(pairs)

    for given in (Stream(), DataLoader(pairs, batch_size=7), iter(pairs)):
        data = arrays(given)
        np.testing.assert_array_equal(data.inputs[..., 0], PICTURES)
        np.testing.assert_array_equal(data.labels[:, 0], np.arange(90) % 2)


def test_findings_of_tables_keep_other_labels() -> None:
    rows = pd.DataFrame({"x": np.arange(60.0), "seen": ["A|B", "B", "A"] * 20, "sex": ["f", "m"] * 30, "A": [0, 1] * 30})
    data = table(rows, ["seen", "sex"], delimiter="|")
    assert data.space.names == ("seen: A", "B", "sex")
    assert data.columns is not None
    assert [column.name for column in data.columns.columns] == ["x", "A"]


def test_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    for number, picture in enumerate(PICTURES):
        path = tmp_path / "pets" / ["cat", "dog", "unlabeled"][number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    data = image_folder(tmp_path / "pets", size=16)
    assert data.space["class"].values == ("cat", "dog")  # type: ignore[union-attr]
    assert int(np.isnan(data.labels).sum()) == 30
    assert main(["data", "check", str(tmp_path / "pets"), "--data.size", "16"]) == 0
    assert "classes from folders: cat; dog; 30 images without a class" in capsys.readouterr().out
    (tmp_path / "split").mkdir()
    (tmp_path / "pets").rename(tmp_path / "split" / "train")
    for name in ("cat", "dog"):
        (tmp_path / "split" / "test" / name).mkdir(parents=True)
        Image.fromarray(PICTURES[0] // 2).save(tmp_path / "split" / "test" / name / "new.png")
    split = image_folder(tmp_path / "split", size=16)
    assert [str(split.ids[row]) for row in split.splits["test"]] == ["test/cat/new.png", "test/dog/new.png"]
    assert split.space == image_folder(tmp_path / "split", size=16).space
    (tmp_path / "flat").mkdir()
    Image.fromarray(PICTURES[0]).save(tmp_path / "flat" / "a.png")
    with pytest.raises(
        ValueError,
        match=r"needs a table of labels; name it with --data.csv .* or sort the images into one folder for each class",
    ):
        image_folder(tmp_path / "flat")


def test_part_of_the_images_only(folder: Path) -> None:
    rows = pd.DataFrame({"f": [*FILES, *[f"x{number}.png" for number in range(200)]], "y": [0, 1] * 145})
    with pytest.raises(ValueError, match=r"images are missing: row 90: x0\.png; .*ignore these rows with absent='ignore'"):
        image_folder(folder, rows, id_column="f", size=16)
    data = image_folder(folder, rows, size=16, absent="ignore")
    assert data.ids.tolist() == FILES
    assert "200 rows of table whose image does not exist, ignored" in data.notes
    with pytest.raises(ValueError, match="not one of 5 listed images exists"):
        image_folder(folder, rows.iloc[90:95], id_column="f", absent="ignore")


def test_readers_who_disagree_are_joined(folder: Path) -> None:
    rows = pd.DataFrame(
        {
            "f": np.repeat(FILES[:30], 3),
            "ill": [1, 1, 0, 0, 0, 0] * 15,
            "kind": ["a", "b", "a", "c", "c", None] * 15,
            "size": [1.0, 2.0, None, 5.0, 5.0, 5.0] * 15,
            "patient": np.repeat([f"p{number // 2}" for number in range(30)], 3),
        }
    )
    with pytest.raises(
        ValueError, match=r"more than once: 00\.png in row 0 and row 1 and row 2; .*join the rows .*repeated='join'"
    ):
        image_folder(folder, rows, id_column="f", size=16)
    data = image_folder(
        folder,
        rows,
        id_column="f",
        size=16,
        repeated="join",
        unlisted="ignore",
        group_column="patient",
        kinds={"size": "continuous"},
    )
    assert data.ids.tolist() == FILES[:30]
    np.testing.assert_allclose(data.labels[:2, 0], [2 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(data.soft["kind"][:2], [[2 / 3, 1 / 3, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(data.labels[:2, 2], [1.5, 5])
    with pytest.raises(ValueError, match="column 'patient': rows of one image differ"):
        image_folder(
            folder, rows.assign(patient=[f"p{row}" for row in range(90)]), id_column="f", repeated="join", unlisted="ignore",
            group_column="patient",
        )  # fmt: skip


def test_a_table_without_names_of_columns(folder: Path) -> None:
    path = folder.parent / "n.csv"
    path.write_text("".join(f"{name},{number % 2}\n" for number, name in enumerate(FILES)))
    with pytest.raises(ValueError, match=r"n\.csv: the first line, with '00\.png', looks like a row; add a line above it"):
        image_folder(folder, path)


def test_wide_tables_leave_out_what_cannot_be_learned() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "y": [0, 1] * 30,
            "note": [f"free text {number}" for number in range(60)],
            "report": [f"other text {number}" for number in range(60)],
            "empty": [None] * 60,
            "a": rng.normal(size=60),
            "b": rng.normal(size=60),
        }
    )
    data = table(rows, ["y"])
    assert data.input_shape == (2,)
    [note] = [note for note in data.notes if "inputs left out" in note]
    assert all(f"'{name}'" in note for name in ("note", "report", "empty"))
    assert "leave the column out" not in note, "they are left out already"
    with pytest.raises(ValueError, match=r"input 'note' has 60 .*; input 'report' has .*; leave columns out with exclude=\["):
        table(rows, ["y"], inputs=["note", "report", "a"])
    assert table(rows, ["y"], exclude=["note", "report", "empty", "b"]).input_shape == (1,)
    with pytest.raises(ValueError, match=r"has no column 'nots' \(did you mean 'note'\?\)"):
        table(rows, ["y"], exclude=["nots"])


def test_thousands_separators_are_no_decimal_commas() -> None:
    rows = pd.DataFrame({"y": [0, 1] * 30, "income": ["1,234", "12,500"] * 30})
    with pytest.raises(ValueError, match=r"thousands separator .*thousands=','"):
        table(rows, ["y"])
    with pytest.raises(ValueError, match="thousands separator"):
        table(rows.rename(columns={"y": "x", "income": "y"}), ["y"])
    with pytest.raises(ValueError, match=r"decimal comma .*decimal=','"):
        table(rows.assign(income=["1,5", "2,25"] * 30), ["y"])


def class_folders(root: Path, names: list[str], suffix: str = ".png") -> Path:
    """Three images in each of some folders."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for row in range(3):
            Image.fromarray(PICTURES[3 * number + row]).save(root / name / f"{row}{suffix}")
    return root


@pytest.mark.parametrize(
    ("names", "classes", "splits"),
    [
        (["data/cat", "data/dog"], ("cat", "dog"), None),
        (["a/b/cat", "a/b/dog"], ("cat", "dog"), None),
        (["labeled/cat", "labeled/dog", "unlabeled"], ("cat", "dog"), None),
        (["chest/train/ill", "chest/train/well", "chest/val/ill", "chest/test/well"], ("ill", "well"), (6, 3, 3)),
        (["train/images/ill", "train/images/well", "test/images/ill"], ("ill", "well"), (5, 1, 3)),
        (["animal/cat", "animal/dog", "plant/rose"], ("animal/cat", "animal/dog", "plant/rose"), None),
        (["train/cat", "train/dog"], ("cat", "dog"), (5, 1, 0)),
    ],
)
def test_folders_that_all_images_share_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], classes: tuple[str, ...], splits: tuple[int, ...] | None
) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    data = image_folder(class_folders(tmp_path / "pets", names), size=16, validation=0.2, test=0.2)
    assert data.space["class"].values == classes  # type: ignore[union-attr]
    if splits is not None:
        assert tuple(len(data.splits[split]) for split in ("train", "validation", "test")) == splits


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.HEIC", "convert photos of phones"),
        ("a.dcm", "with pydicom"),
        ("a.npy", "pass them to ccvae.data.arrays"),
        ("a.zip", "unpack archives first"),
        ("a.mp4", "save frames of videos"),
        ("a.svg", "convert them to PNG or JPEG"),
        ("a.parquet", "export the images from them"),
    ],
)
def test_images_in_formats_that_are_not_read_have_a_remedy(folder: Path, name: str, remedy: str) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=f"holds no images .*{remedy}"):
        image_folder(other)
    (folder / name).write_bytes(b"x")
    rows = pd.DataFrame({"f": [*FILES, "a"], "y": [*["a", "b"] * 45, "a"]})
    with pytest.raises(ValueError, match=f"{name} is there, in a format that is not read: .*{remedy}"):
        image_folder(folder, rows, size=16)
    notes = image_folder(folder, rows, size=16, absent="ignore").notes
    assert any(remedy in note for note in notes)


def test_a_file_in_place_of_a_folder(folder: Path) -> None:
    (folder.parent / "im.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"im\.zip is a file; expected a folder of images: unpack archives first"):
        image_folder(folder.parent / "im.zip")
    with pytest.raises(ValueError, match="give the folder that it lies in"):
        image_folder(folder / FILES[0])


def test_an_empty_file_is_called_so(folder: Path) -> None:
    (folder / FILES[3]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"03\.png: the file is empty"):
        image_folder(folder, pd.DataFrame({"f": FILES, "y": ["a", "b"] * 45}), size=16)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    assert len(image_folder(class_folders(tmp_path / "pets", ["cat", "dog"], ".avif"), size=16)) == 6


def test_a_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    pd.DataFrame({"f": FILES, "y": ["a", "b"] * 45}).to_csv(folder.parent / "l.csv", index=False)
    assert len(image_folder("~/im", "~/l.csv", size=16)) == 90
