"""Run folders of earlier versions: they load, and predict what they did when they were written.

`frozen/` has a run folder of each format, trained for two epochs on `frozen/table.csv`:

* `first`, of the first public commit, without its checkpoints;
* `current`, as this package writes it. When its format changes, keep this folder, and add another.

`expected.json` in each has the probabilities that the version that wrote it gave for the vectors below, without temperatures,
and `expected-resumed.json` those after one more epoch. To make one again, train with `COMMAND`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from ccvae.cli.main import main
from ccvae.labels import Binary, Categorical, Continuous
from ccvae.model.ccvae import load

FROZEN = Path(__file__).parent / "frozen"
RUNS = sorted(path.name for path in FROZEN.iterdir() if path.is_dir())
COMMAND = [
    *["--data.labels", "ill,kind,age", "--training.batch_size", "20", "--training.accelerator", "cpu"],
    *["--model.network", "mlp", "--model.width", "1", "--model.latent_dim", "8", "--figures", "false"],
    *["--training.learning_rate", "0.01", "--training.kl_warmup", "0", "--training.few_labels", "false"],
    *["--training.redrawn_share", "0", "--training.teachers", "2", "--training.students", "0"],
    *["--training.teacher_dropout", "0.8", "--training.taught_weight_decay", "0.5"],
]
"""The defaults of their time are given, where they are others now."""
VECTORS = torch.tensor([[0.1, 0.2, 2.0], [1.5, 1.0, 2.5], [-1.0, 2.0, 1.9], [2.2, 0.1, 2.9]])


@pytest.fixture
def place(tmp_path):
    """A copy of the frozen runs and their table, in which the runs find it."""
    shutil.copytree(FROZEN, tmp_path / "frozen")
    for name in RUNS:
        path = tmp_path / "frozen" / name / "config.yaml"
        settings = yaml.safe_load(path.read_text())
        settings["data"]["source"] = str(tmp_path / "frozen" / "table.csv")
        path.write_text(yaml.safe_dump(settings))
    return tmp_path / "frozen"


def assert_expected(found, path):
    expected = pd.DataFrame(json.loads(path.read_text()))
    assert list(found.columns) == list(expected.columns)
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_predicts_what_it_did(name):
    model = load(FROZEN / name)
    assert [type(label) for label in model.space] == [Binary, Categorical, Continuous]
    assert model.space["kind"].values == ("a", "b", "c")
    assert_expected(model.predict_proba(VECTORS, calibrated=False), FROZEN / name / "expected.json")


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_generates(name):
    assert load(FROZEN / name).generate(given={"kind": "b"}, count=3, seed=1).shape == (3, 3)


@pytest.mark.parametrize("name", RUNS)
def test_commands_take_a_frozen_run(place, name, tmp_path):
    """With the run's own data, whose rows have the splits of its splits.csv."""
    out = tmp_path / "predictions.csv"
    assert main(["predict", str(place / name), "--split", "test", "--out", str(out)]) == 0
    splits = pd.read_csv(place / name / "splits.csv", dtype=str)
    assert pd.read_csv(out, dtype=str)["id"].tolist() == splits.loc[splits["split"] == "test", "id"].tolist()
    assert main(["report", str(place / name)]) == 0
    assert (place / name / "report.html").exists()


def test_a_run_of_the_current_format_resumes(place):
    words = ["train", str(place / "table.csv"), *COMMAND, "--training.epochs", "3", "--out", str(place / "current"), "--resume"]
    assert main(words) == 0
    model = load(place / "current")
    expected = pd.DataFrame(json.loads((FROZEN / "current" / "expected-resumed.json").read_text()))
    np.testing.assert_allclose(model.predict_proba(VECTORS, calibrated=False), expected, rtol=1e-3)
    assert pd.read_csv(place / "current" / "metrics.csv")["epoch"].tolist() == [1, 2, 3]


def test_a_run_of_the_first_format_does_not_resume(place, capsys):
    """Its training had other settings: it is refused, and not trained differently."""
    before = (place / "first" / "model.safetensors").read_bytes()
    words = ["train", str(place / "table.csv"), *COMMAND, "--training.epochs", "3", "--out", str(place / "first"), "--resume"]
    assert main(words) == 2
    assert "was trained with other settings" in capsys.readouterr().err
    assert (place / "first" / "model.safetensors").read_bytes() == before
