"""Loggers: what was logged is read back with each package's own reader."""

import importlib.util
import os
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from ccvae import CCVAE, TrainConfig, fit
from ccvae.cli.main import main
from ccvae.training import loggers
from ccvae.training.loggers import RUN_ID, build_logger
from conftest import squares

# mlflow's own use of SQLAlchemy and importlib, and wandb's of threads
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*loader strategy"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PICTURES = {"reconstructions", "interventions", "traversal of bright", "traversal of corner"}
METRICS = {"train/total", "validation/total", "validation/accuracy"}


@pytest.fixture(scope="module")
def small():
    return squares(110)


def trained(data, folder, **settings):
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=12, width=2)
    config = TrainConfig(**{"epochs": 2, "batch_size": 10, "accelerator": "cpu", **settings})
    return fit(model, data, folder, config, progress=False, resume=(folder / "checkpoints").exists())


def logged_by_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    scalars = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    images = {tag: [event.encoded_image_string for event in events.Images(tag)] for tag in events.Tags()["images"]}
    return scalars, images


def test_tensorboard(small, tmp_path):
    trained(small, tmp_path, logger="tensorboard", log_pictures=2)
    scalars, images = logged_by_tensorboard(tmp_path)
    table = pd.read_csv(tmp_path / "metrics.csv")
    for name in METRICS:
        assert scalars[name] == pytest.approx(list(table[name]), rel=1e-5)
    assert len(scalars["pictures/seconds"]) == 1
    assert {*images} == {f"pictures/{name}" for name in PICTURES}
    assert all(picture.startswith(b"\x89PNG") for pictures in images.values() for picture in pictures)


def test_a_resumed_training_continues_its_log(small, tmp_path):
    trained(small, tmp_path, logger="tensorboard")
    trained(small, tmp_path, logger="tensorboard", epochs=3)
    scalars, _ = logged_by_tensorboard(tmp_path)
    assert len(scalars["validation/total"]) == 3


def test_mlflow(small, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trained(small, tmp_path / "run", logger="mlflow", log_pictures=1)
    trained(small, tmp_path / "run", logger="mlflow", log_pictures=1, epochs=3)
    client = MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    [experiment] = [each for each in client.search_experiments() if each.name == "ccvae"]
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == (tmp_path / "run" / RUN_ID).read_text().strip()
    assert run.data.params["training/batch_size"] == "10"
    assert run.info.run_name == "run"
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    for name in METRICS:
        assert [point.value for point in client.get_metric_history(run.info.run_id, name)] == pytest.approx(list(table[name]))
    pictures = tmp_path / "run" / "mlflow" / run.info.run_id / "artifacts" / "pictures"
    assert {path.name for path in pictures.iterdir()} == PICTURES
    assert len(list((pictures / "interventions").iterdir())) == 3


def logged_by_wandb(folder):
    """Records of an offline run: a log in LevelDB's format, in blocks of 32 KiB, after a header of 7 bytes."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # ends the process that writes the file
    [path] = folder.glob("wandb/offline-run-*/run-*.wandb")
    content, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def names_in(records):
    return {item.key or item.nested_key[0] for record in records for item in record.history.item}


def test_wandb_without_a_network(small, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    trained(small, tmp_path, logger="wandb", log_pictures=2)
    assert "wandb cannot be reached" in caplog.text
    wanted = {*METRICS, "pictures/seconds", *(f"pictures/{name}" for name in PICTURES)}
    assert wanted <= names_in(logged_by_wandb(tmp_path))
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/pictures/*.png"))) == len(PICTURES)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package(name, tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(loggers, "find_spec", lambda package: None if package == name else found(package))
    assert main(["train", "digits", "--training.logger", name, "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err.strip()
    assert f"the package {name} is not installed; run: pip install 'ccvae[log]'" in message.splitlines()[-1]
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_weights_do_not_depend_on_logs(small, tmp_path):
    plain = trained(small, tmp_path / "plain").state_dict()
    logged = trained(small, tmp_path / "logged", logger="tensorboard", log_pictures=1).state_dict()
    for name, weight in plain.items():
        assert torch.equal(weight, logged[name]), name


def test_pictures_for_other_loggers_are_left_out(small, tmp_path):
    model = CCVAE.for_data(small, latent_dim=12, width=2)
    config = TrainConfig(epochs=1, batch_size=10, accelerator="cpu", log_pictures=1)
    fit(model, small, config=config, progress=False, loggers=[CSVLogger(tmp_path)])
    assert "pictures/seconds" in next(tmp_path.rglob("metrics.csv")).read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"log_pictures": 1}, "pictures need a log; set logger to tensorboard, mlflow or wandb"),
        ({"logger": "tensorboard"}, "logs are written into the run folder; give out"),
    ],
)
def test_logs_that_cannot_be(small, settings, said):
    with pytest.raises(ValueError, match=said):
        fit(CCVAE.for_data(small, latent_dim=12, width=2), small, epochs=1, progress=False, **settings)


def test_pictures_of_tables(small, tmp_path):
    from dataclasses import replace

    vectors = replace(small, inputs=np.zeros((110, 5), np.float32))
    with pytest.raises(ValueError, match="only a CCVAE of images has pictures"):
        trained(vectors, tmp_path, logger="tensorboard", log_pictures=1)


@pytest.mark.parametrize("value", ["tensorbord", "5"])
def test_unknown_loggers(value, tmp_path, capsys):
    assert main(["train", "digits", "--training.logger", value, "--out", str(tmp_path / "run")]) == 2
    assert "one of tensorboard, mlflow, wandb" in capsys.readouterr().err


def test_a_damaged_database_and_a_strange_id(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / RUN_ID).write_text("../../etc\n")
    with pytest.raises(ValueError, match="expected the id of a logged run"):
        build_logger("mlflow", tmp_path, {}, resume=True)
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match=r"logger: mlflow cannot log: .*not a database"):
        build_logger("mlflow", tmp_path, {}, resume=False)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_nothing_is_advertised(name, tmp_path):
    """Of loggers, the terminal shows at most where logs are kept."""
    words = ["train", "digits", "--training.logger", name, "--training.epochs", "1", "--training.log_pictures", "1"]
    words += ["--model.network", "conv", "--model.width", "2", "--figures", "false", "--out", str(tmp_path / "run")]
    environment = os.environ | {"WANDB_BASE_URL": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-m", "ccvae", *words], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown = (done.stdout + done.stderr).replace("\r", "\n")
    lines = [line for line in shown.splitlines() if name in line.lower()]
    assert all("are kept in" in line for line in lines), lines
    for word in ("tip:", "warning", "http", "sign up", "litlogger", "alembic", "🏃", "v_num"):
        assert word not in shown.lower()
    if name == "wandb":
        assert "validation/total" in names_in(logged_by_wandb(tmp_path / "run"))
