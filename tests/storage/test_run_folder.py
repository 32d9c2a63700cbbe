"""Run folders: saved whole, loaded without pickle, checked against new data."""

import json
import pickle

import pytest
import torch
import yaml
from torch import nn

from ccvae.labels import Binary, Categorical, LabelSpace
from ccvae.model.ccvae import CCVAE, load
from ccvae.model.saving import save
from ccvae.storage.atomic import writing
from ccvae.storage.run_folder import read_settings

SPACE = LabelSpace((Binary("a", prior=0.25), Categorical("b", ("x", "y", "z"), (0.5, 0.25, 0.25))))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CCVAE.for_data(_Data(), latent_dim=6, width=4)


class _Data:
    input_shape = (5,)
    space = SPACE


class Doubled(nn.Sequential):
    """A user's own encoder."""

    def __init__(self):
        super().__init__(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 12))


def test_saved_model_comes_back(model, tmp_path):
    x = torch.randn(4, 5)
    other = load(model.save(tmp_path / "run"))
    assert not other.training
    assert other.space == SPACE
    assert other.config == model.config
    assert (other.predict_proba(x) == model.predict_proba(x)).all().all()


def test_files_are_readable_without_this_package(model, tmp_path):
    save(model, tmp_path, {"data": {"source": "avatars"}})
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert settings["input_shape"] == [5]
    assert settings["data"] == {"source": "avatars"}
    labels = json.loads((tmp_path / "labels.json").read_text())
    assert labels[0] == {"kind": "binary", "name": "a", "values": [0, 1], "prior": 0.25}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "labels.json", "model.safetensors"]


def test_saving_again_keeps_other_sections(model, tmp_path):
    save(model, tmp_path, {"data": {"source": "avatars"}})
    save(model, tmp_path)
    assert read_settings(tmp_path)["data"] == {"source": "avatars"}


def test_a_pickle_is_never_loaded(model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    save(model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_own_encoder_is_asked_for(tmp_path):
    own = CCVAE(SPACE, (5,), encoder=Doubled(), config=CCVAE.for_data(_Data(), latent_dim=6, width=4).config)
    save(own, tmp_path)
    with pytest.raises(ValueError, match="must be loaded with it"):
        load(tmp_path)
    x = torch.randn(3, 5)
    again = load(tmp_path, encoder=Doubled())
    assert (again.predict_proba(x) == own.predict_proba(x)).all().all()


def test_missing_files_are_named(model, tmp_path):
    with pytest.raises(ValueError, match="is no run folder"):
        load(tmp_path)
    save(model, tmp_path)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(ValueError, match=r"has no labels\.json"):
        load(tmp_path)


def test_settings_of_another_version_are_explained(model, tmp_path):
    save(model, tmp_path)
    settings = read_settings(tmp_path)
    settings["model"]["colour"] = "red"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"config\.yaml.*colour"):
        load(tmp_path)


def test_nothing_half_written(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail():
        with writing(path) as beside:
            beside.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    with writing(path) as beside:
        beside.write_text("after")
    assert path.read_text() == "after"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((Binary("a"),), "made for the labels a, b, found a"),
        ((Binary("c"), SPACE.labels[1]), r"made for label 'a' \(binary: 0, 1\), found 'c'"),
        ((SPACE.labels[0], Categorical("b", ("x", "y"))), r"'b' \(categorical: x, y, z\), found 'b' \(categorical: x, y\)"),
    ],
)
def test_labels_of_other_data_are_refused(model, labels, message):
    model.space.check_matches(LabelSpace((Binary("a", prior=0.9), SPACE.labels[1])))
    with pytest.raises(ValueError, match=message):
        model.space.check_matches(LabelSpace(labels))
