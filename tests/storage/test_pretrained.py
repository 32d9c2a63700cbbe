"""The trained model that comes with the package: what it can do, and where it stands among folders of the user's own."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import ccvae
from ccvae.cli.main import main
from ccvae.storage.pretrained import FOLDER, pretrained_names, pretrained_run

NAME = "avatars-64"


@pytest.fixture(scope="module")
def model():
    return ccvae.load(NAME)


@pytest.fixture(scope="module")
def faces():
    return ccvae.data.avatars(60, size=64, seed=123, validation=0, test=0)


def test_it_knows_faces_that_it_never_saw(model, faces):
    assert model.input_shape == faces.input_shape
    model.space.check_matches(faces.space)
    found = model.space.encode(model.predict(faces.tensor()))
    assert (found == faces.labels).mean() > 0.93
    assert (model.reconstruct(faces.tensor()) - faces.tensor()).abs().mean() < 0.06


def test_it_changes_what_it_is_asked_to(model, faces):
    without = faces.tensor()[faces.labels[:, model.space.index("Eyeglasses")] == 0][:20]
    changed = model.predict_proba(model.intervene(without, {"Eyeglasses": 1}))["Eyeglasses=1"]
    assert (changed > 0.5).mean() > 0.9
    assert (model.predict_proba(model.reconstruct(without))["Eyeglasses=1"] < 0.5).mean() > 0.9


def test_it_is_small_and_says_what_it_is():
    assert pretrained_names() == [NAME]
    folder = FOLDER / NAME
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6
    assert {str(weight.dtype) for weight in load_file(folder / "model.safetensors").values()} >= {"torch.float16"}
    card = (folder / "README.md").read_text()
    assert "license: mit" in card
    assert f"ccvae.load('{NAME}')" in card.replace('"', "'")
    assert json.loads((folder / "labels.json").read_text())


def test_commands_take_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", NAME, "--given", "Eyeglasses=1", "--count", "4", "--out", "glasses.png"]) == 0
    assert np.asarray(Image.open("glasses.png")).std() > 10


@pytest.mark.parametrize("command", ["evaluate", "report", "card"])
def test_nothing_is_written_into_the_package(command, capsys):
    assert main([command, NAME]) == 2
    assert f"ccvae.load('{NAME}').save('runs/{NAME}')" in capsys.readouterr().err
    assert not (FOLDER / NAME / "metrics.json").exists()


def test_a_folder_of_one_s_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained_run(NAME) == FOLDER / NAME
    (tmp_path / NAME).mkdir()
    assert pretrained_run(NAME) is None
    assert pretrained_run("avatars-65") is None
    with pytest.raises(ValueError, match=rf"{NAME} has no|{NAME} is no run folder"):
        ccvae.load(NAME)
