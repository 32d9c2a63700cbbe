from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ccvae.config import DataConfig
from ccvae.data import chexpert
from ccvae.data.open import open_data, reader_name
from ccvae.data.readers.chexpert import COMPETITION, OBSERVATIONS
from ccvae.labels import Categorical, Continuous


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(part: str, patients: range, values: list[str]) -> pd.DataFrame:
    """A table in CheXpert's layout: two views of every patient."""
    generator = np.random.default_rng(len(values))
    rows = []
    for patient in patients:
        for view, side in ((1, "Frontal"), (2, "Lateral")):
            path = f"CheXpert-v1.0-small/{part}/patient{patient:05}/study1/view{view}_{side.lower()}.jpg"
            projection = "AP" if side == "Frontal" else ""
            rows.append([path, "Female" if patient % 2 else "Male", 40 + patient, side, projection])
    table = pd.DataFrame(rows, columns=["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"])
    for observation in OBSERVATIONS:
        table[observation] = generator.choice(values, size=len(table))
    return table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "CheXpert-v1.0-small"
    train = published("train", range(1, 41), ["1.0", "0.0", "-1.0", ""])
    valid = published("valid", range(100, 110), ["1.0", "0.0"])
    for number, path in enumerate([*train["Path"], *valid["Path"]]):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (39, 32), 2 * number).save(file)
    train.to_csv(root / "train.csv", index=False)
    valid.to_csv(root / "valid.csv", index=False)
    return root


def test_the_published_layout(root: Path) -> None:
    data = chexpert(root)
    assert len(data) == 50
    assert data.input_shape == (1, 64, 64)
    assert data.space.names == COMPETITION
    assert data.splits["test"].tolist() == list(range(40, 50))
    assert len(data.splits["validation"]) == 2
    assert data.ids[0] == "train/patient00001/study1/view1_frontal.jpg"
    assert data.groups is not None
    assert data.groups[0] == "patient00001"
    np.testing.assert_array_equal(data.inputs[:40, 0, 0, 0], 4 * np.arange(40))  # of every second image: the frontal ones
    table = pd.read_csv(root / "train.csv")
    cells = table.loc[table["Frontal/Lateral"] == "Frontal", list(COMPETITION)].to_numpy()
    np.testing.assert_array_equal(data.labels[:40], np.where(cells == -1, np.nan, cells))


def test_lateral_views_stay_with_their_patient(root: Path) -> None:
    data = chexpert(root, frontal_only=False, validation=10, size=32)
    assert len(data) == 100
    assert data.groups is not None
    train, validation, test = (set(data.groups[data.splits[split]]) for split in ("train", "validation", "test"))
    assert [len(train), len(validation), len(test)] == [35, 5, 10]
    assert not train & validation


@pytest.mark.parametrize(("uncertain", "expected"), [("missing", np.nan), ("zero", 0), ("one", 1), ("soft", 0.5)])
def test_what_uncertain_marks_stand_for(root: Path, uncertain: str, expected: float) -> None:
    data = chexpert(root, uncertain=uncertain, observations="all", size=16)  # type: ignore[arg-type]
    table = pd.read_csv(root / "train.csv").query("`Frontal/Lateral` == 'Frontal'")
    cells = table[list(OBSERVATIONS)].to_numpy()
    marked = data.labels[:40][cells == -1]
    np.testing.assert_array_equal(marked, np.full(len(marked), expected))
    np.testing.assert_array_equal(data.labels[:40][cells == 1], 1)
    assert np.isnan(data.labels[:40][np.isnan(cells)]).all()
    assert f"-1 is taken as {uncertain}, blank as missing; frontal views only" in data.notes


def test_what_blanks_stand_for(root: Path) -> None:
    table = pd.read_csv(root / "train.csv").query("`Frontal/Lateral` == 'Frontal'")
    blank = np.isnan(table[list(COMPETITION)].to_numpy())
    assert (chexpert(root, blank="zero", size=16).labels[:40][blank] == 0).all()


def test_other_columns_can_be_labels(root: Path) -> None:
    data = chexpert(root, observations=["Edema", "Sex", "Age"], size=16)
    assert data.space["Sex"].values == ("Female", "Male")  # type: ignore[union-attr]
    assert isinstance(data.space["Sex"], Categorical)
    assert isinstance(data.space["Age"], Continuous)
    assert data.labels[:3, 2].tolist() == [41, 42, 43]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",Edema,", ",Oedema,", "only one of them has Edema; Oedema"),
        ("Frontal/Lateral", "View", "train.csv has no column Frontal/Lateral; is it CheXpert's"),
        (
            "CheXpert-v1.0-small/train/patient00003/study1/view1_frontal.jpg",
            "patient3.jpg",
            "expected paths such as .*line 6: patient3",
        ),
        (
            "train/patient00003/study1/view1",
            "train/patient00003/study1/view9",
            "v1.0-small: train/patient00003/study1/view9_frontal.jpg",
        ),
    ],
)
def test_tables_that_are_not_as_published(root: Path, old: str, new: str, message: str) -> None:
    text = (root / "train.csv").read_text()
    assert old in text
    (root / "train.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        chexpert(root)


def test_values_that_are_not_as_published(root: Path) -> None:
    table = pd.read_csv(root / "train.csv", dtype=str)
    table.loc[2, "Edema"] = "maybe"
    table.to_csv(root / "train.csv", index=False)
    with pytest.raises(ValueError, match=r"train.csv, Edema: expected 1, 0, -1 or blank, found line 4: maybe"):
        chexpert(root)


def test_choices_that_make_no_sense(root: Path) -> None:
    with pytest.raises(ValueError, match="uncertain must be one of missing, zero, one, soft, not 'half'"):
        chexpert(root, uncertain="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="blank must be one of missing, zero, not 'one'"):
        chexpert(root, blank="one")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="observations must be 'competition', 'all'"):
        chexpert(root, observations="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no column 'Oedema' \(did you mean 'Edema'\?\); the columns are Path, Sex"):
        chexpert(root, observations=["Oedema"])
    with pytest.raises(FileNotFoundError, match=r"train\.csv"):
        chexpert(root / "train")


def test_all_observations_of_the_real_table(root: Path) -> None:
    """In the published train.csv "No Finding" is 1 or blank, never 0."""
    path = root / "train.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["No Finding"] = ["1.0", "", "", ""] * 20
    table.to_csv(path, index=False)
    data = chexpert(root, observations="all", size=16)
    assert data.space.names == OBSERVATIONS
    frontal = table["Frontal/Lateral"] == "Frontal"
    np.testing.assert_array_equal(data.labels[:40, 0], (table.loc[frontal, "No Finding"] == "1.0").to_numpy())
    assert any("blank 'No Finding' is taken as 0" in note for note in data.notes)
    table["Fracture"] = ["1.0", "", "", ""] * 20
    table.to_csv(path, index=False)
    valid = pd.read_csv(root / "valid.csv", dtype=str)
    valid.assign(Fracture="1.0").to_csv(root / "valid.csv", index=False)
    with pytest.raises(ValueError, match=r"'Fracture' is constant.*read blank cells as 0 with blank='zero'"):
        chexpert(root, observations="all", size=16)
    assert len(chexpert(root, observations="all", blank="zero", size=16)) == 50


def test_part_of_the_images(root: Path) -> None:
    for path in sorted((root / "train").rglob("*frontal.jpg"))[::2]:
        path.unlink()
    with pytest.raises(ValueError, match="absent='ignore'"):
        chexpert(root)
    data = chexpert(root, absent="ignore", size=16)
    assert len(data) == 30
    assert len(data.splits["test"]) == 10


def test_an_archive_may_bring_a_folder_of_its_own(root: Path) -> None:
    assert chexpert(root.parent).ids.tolist() == chexpert(root).ids.tolist()
    assert reader_name(str(root.parent)) == reader_name(str(root)) == "chexpert"


def test_labels_of_a_published_data_set_have_a_name_of_their_own(root: Path) -> None:
    with pytest.raises(ValueError, match=r"does not know labels; .*choose its labels with --data.options '.\"observations\": "):
        open_data(str(root), DataConfig(labels="Edema"))


@pytest.mark.parametrize(("name", "remedy"), [("t.xlsx", "save the table as CSV"), ("im.zip", "unpack archives first")])
def test_sources_of_other_kinds_have_a_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match=remedy):
        reader_name(str(tmp_path / name))
