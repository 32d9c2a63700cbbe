"""Run folders: saved whole, loaded without pickle, checked against new data."""

import hashlib
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
from ccvae.storage.run_folder import (
    check_free,
    check_resumable,
    figures_folder,
    hash_of_weights,
    read_entries,
    read_labels,
    read_settings,
    read_settings_text,
    read_table,
    read_weights,
    write_entries,
    write_settings,
    write_weights,
)

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


def test_the_text_of_settings_is_shown_as_it_is(tmp_path):
    assert read_settings_text(tmp_path) is None
    (tmp_path / "config.yaml").write_text("a: 1 # ü\n", encoding="utf-8")
    assert read_settings_text(tmp_path) == "a: 1 # ü\n"
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "config.yaml").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"config\.yaml is a link to what does not exist"):
        read_settings_text(tmp_path)


def test_tables_of_a_run_have_their_columns(tmp_path):
    (tmp_path / "splits.csv").write_text("id,split,more\n007,train,x\n")
    table = read_table(tmp_path, "splits.csv", ("split", "id"), dtype=str)
    assert table.loc[0].tolist() == ["007", "train", "x"]
    with pytest.raises(ValueError, match=r"splits\.csv: expected the columns id and labelled, found id; split; more"):
        read_table(tmp_path, "splits.csv", ("id", "labelled"))
    (tmp_path / "splits.csv").write_text('id,split\n"1,train\n')
    with pytest.raises(ValueError, match=r"splits\.csv is damaged: "):
        read_table(tmp_path, "splits.csv", ("id", "split"))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*metrics\.csv"):
        read_table(tmp_path, "metrics.csv", ())


def test_figures_are_not_written_through_a_link(tmp_path):
    assert figures_folder(tmp_path) == tmp_path / "figures"
    (tmp_path / "figures").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="figures is a link to"):
        figures_folder(tmp_path)


def test_the_hash_is_that_of_the_weights_file(tmp_path):
    write_weights(tmp_path, {"a": torch.arange(3.0)})
    assert hash_of_weights(tmp_path) == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="is no run folder"):
        hash_of_weights(tmp_path / "nowhere")


def test_weights_of_an_interrupted_training_say_so(tmp_path, caplog):
    write_weights(tmp_path, {"a": torch.ones(2, 3).T}, partial="8 of 120 steps")
    assert torch.equal(read_weights(tmp_path)["a"], torch.ones(3, 2))
    assert "these weights are of an interrupted training ('8 of 120 steps')" in caplog.text
    caplog.clear()
    write_weights(tmp_path, {"a": torch.ones(1)})
    read_weights(tmp_path)
    assert not caplog.text
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors; training did not finish"):
        read_weights(tmp_path)
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(ValueError, match=r"its training has not finished; continue it with ccvae train … --resume"):
        read_weights(tmp_path)


def test_entries_are_written_and_read(tmp_path):
    assert read_entries(tmp_path, "calibration.json") is None
    write_entries(tmp_path, "calibration.json", '{"a": [1, "\\u00fc"]}')
    assert read_entries(tmp_path, "calibration.json") == {"a": [1, "ü"]}


@pytest.mark.parametrize("name", ["checkpoints", "metrics.csv", "model.safetensors"])
def test_a_folder_with_a_run_is_not_free(tmp_path, name):
    check_free(tmp_path)
    (tmp_path / name).mkdir() if name == "checkpoints" else (tmp_path / name).touch()
    with pytest.raises(ValueError, match="already contains a run; choose another folder, delete it, or continue with resume"):
        check_free(tmp_path)


def test_a_training_resumes_with_the_same_settings_only(tmp_path):
    settings = {"model": {"width": 4, "latent_dim": 0}, "training": {"epochs": 3, "seed": 1, "devices": "auto"}}
    write_settings(tmp_path, {"model": {"width": 4, "latent_dim": 20}, "training": settings["training"]})
    check_resumable(tmp_path, settings)
    check_resumable(tmp_path, {"training": {"epochs": 5, "devices": 2}})  # longer, and elsewhere
    with pytest.raises(ValueError, match=r"with other settings: training\.epochs \(was 3, now 2\); use the same settings"):
        check_resumable(tmp_path, {"training": {"epochs": 2}})
    with pytest.raises(ValueError, match=r"model\.width \(was 4, now 5\); training\.seed \(was 1, now 2\);"):
        check_resumable(tmp_path, {"model": {"width": 5}, "training": {"seed": 2}})
    with pytest.raises(ValueError, match=r"model\.colour \(was None, now 1\)"):
        check_resumable(tmp_path, {"model": {"colour": 1}})


def test_labels_that_are_damaged_name_the_file_once(tmp_path):
    (tmp_path / "labels.json").write_text("[")
    with pytest.raises(ValueError, match=r"^[^:]*labels\.json is not valid JSON: [^/]*$"):
        read_labels(tmp_path)
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(ValueError, match=r"labels\.json: a label space needs at least one label$"):
        read_labels(tmp_path)
