"""Data as people find them: lists of findings, class folders, images that are missing, rows of several readers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ccvae.cli.main import main
from ccvae.data import arrays, image_folder, table
from ccvae.labels import Binary

FILES = [f"{number:02}.png" for number in range(90)]
PICTURES = np.random.default_rng(0).integers(0, 256, (90, 16, 16), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "im").mkdir()
    for name, picture in zip(FILES, PICTURES, strict=True):
        Image.fromarray(picture).save(tmp_path / "im" / name)
    return tmp_path / "im"


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
