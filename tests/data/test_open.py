"""What a source is taken for, and which settings its reader gets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccvae.config import DataConfig
from ccvae.data.open import open_data, reader_name
from ccvae.model.ccvae import CCVAE

ROWS = "\n".join(["ill,kind,age,note", *(f"{row % 2},{'xyz'[row % 3]},{row / 2},{row % 2 - 1}" for row in range(40))]) + "\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "table.csv").write_text(ROWS)
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "b").mkdir()
    for number in range(8):
        for name in "ab":
            Image.new("L", (16, 16), 10 * number).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path


def test_which_reader_a_source_is_for(place: Path) -> None:
    assert reader_name("fashion-mnist") == "fashion_mnist"
    assert reader_name("avatars") == "avatars"
    assert reader_name("table.csv") == "table"
    assert reader_name("images") == "image_folder"
    (place / "scans").mkdir()
    (place / "scans" / "train.csv").touch()
    assert reader_name("scans") == "image_folder"
    (place / "scans" / "valid.csv").touch()
    assert reader_name("scans") == "chexpert"
    (place / "faces" / "Anno").mkdir(parents=True)
    (place / "faces" / "Anno" / "list_attr_celeba.txt").touch()
    assert reader_name("faces") == "celeba"


def test_what_is_no_source(place: Path) -> None:
    (place / "notes.docx").touch()
    with pytest.raises(ValueError, match=r"notes\.docx: expected a folder of images or a table \(\.csv"):
        reader_name("notes.docx")
    with pytest.raises(FileNotFoundError, match=r"tabel\.csv: no such file or folder.*did you mean 'table\.csv'"):
        reader_name("tabel.csv")
    with pytest.raises(FileNotFoundError, match=r"avatar: no such file.*did you mean 'avatars'"):
        reader_name("avatar")
    with pytest.raises(FileNotFoundError, match=r"no such file or folder, nor one of the built-in data sets [a-z_, ]*$"):
        reader_name("nowhere/table.csv")


def test_settings_that_are_lists_may_be_texts_with_commas(place: Path) -> None:
    data = open_data("table.csv", DataConfig(labels="ill, kind", exclude="note", missing_values="z,-1"))
    assert data.space.names == ("ill", "kind")
    assert data.columns is not None
    assert data.columns.names == ("age",)
    assert data.space["kind"].values == ("x", "y")


def test_what_a_reader_does_not_know_is_refused(place: Path) -> None:
    with pytest.raises(ValueError, match=r"data: reader table does not know colour; it knows source, labels"):
        open_data("table.csv", DataConfig(labels="ill", options={"colour": 1}))
    with pytest.raises(ValueError, match=r"table\.csv: say which columns are labels: --data\.labels NAME"):
        open_data("table.csv")
    with pytest.raises(ValueError, match=r"data: missing: expected .*refuse.*found 5"):
        open_data("table.csv", DataConfig(labels="ill", options={"missing": 5}))


def test_a_file_with_the_name_of_a_built_in_data_set_is_noted(place: Path) -> None:
    assert not any("built-in" in note for note in open_data("digits").notes)
    (place / "digits").mkdir()
    assert any(
        "digits is also a file or folder here: write ./digits to read that" in note for note in open_data("digits").notes
    )


def test_labels_may_be_kept_for_a_few_of_each_class(place: Path) -> None:
    data = open_data("images", DataConfig(labelled_per_class=2, size=16))
    labels = data.labels[data.splits["train"]]
    assert np.bincount(labels[~np.isnan(labels)].astype(int)).tolist() == [2, 2]


def test_a_known_model_says_labels_columns_and_size(place: Path) -> None:
    data = open_data("table.csv", DataConfig(labels="ill", exclude="note"))
    model = CCVAE.for_data(data, network="mlp", width=1, latent_dim=4)
    (place / "new.csv").write_text("kind,age,ill\nx,1,0\ny,2,\n")
    again = open_data("new.csv", DataConfig(validation=0, test=0, labels="kind"), model)
    assert again.space == data.space
    assert again.columns == data.columns
    pictures = CCVAE.for_data(open_data("images", DataConfig(size=16)), network="mlp", width=1, latent_dim=4)
    for number in range(2):
        Image.new("RGB", (20, 10)).save(place / "images" / "b" / f"new{number}.png")
    assert open_data("images", DataConfig(size=24), pictures).input_shape == pictures.input_shape == (1, 16, 16)
