"""Several processes train as one, write as one, and end as one. On processors: gloo, one thread each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ccvae.cli.main import main
from ccvae.data.loaders.batches import Batches, SplitBatches
from ccvae.distributed.batch_norm import BatchNormSync
from ccvae.distributed.shard import Shard, is_first_process
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE, load

BIN = Path(sys.executable).parent
TWO = ["--training.devices", "2", "--training.strategy", "ddp"]
EXACT = ["--training.precision", "64-true"]
COMMON = [
    *["--model.network", "conv", "--model.dropout", "0", "--model.width", "4", "--figures", "false"],
    *["--training.accelerator", "cpu", "--training.learning_rate", "0.003"],
    *["--training.pretraining_steps", "8"],
    *["--training.teacher_steps", "20", "--training.teacher_width", "4", "--training.teacher_dropout", "0"],
    *["--training.student_steps", "20", "--training.student_dropout", "0"],
]
DIGITS = ["train", "digits", "--data.labelled", "300", "--training.batch_size", "150", "--training.epochs", "2", *COMMON]
"""A categorical and a continuous label, in few rows; batches have 75 rows of either kind."""
FACES = [
    *["train", "avatars", "--data.options", '{"count": 150}', "--data.size", "16", "--data.labelled", "20"],
    *["--training.batch_size", "13", "--training.epochs", "2", "--training.labelled_share", "null", *COMMON],
]
"""Convolutions; batches of 13 that two processes part unevenly, in some of which one has no labels at all."""


def environment(**settings):
    """Of a process of its own, which nothing else has started for Lightning."""
    inherited = {name: value for name, value in os.environ.items() if "RANK" not in name and not name.startswith("MASTER")}
    return inherited | {"OMP_NUM_THREADS": "1"} | settings


def started(arguments, log, **settings):
    command = [sys.executable, str(BIN / "ccvae"), *arguments]
    with log.open("w") as file:
        return subprocess.Popen(command, stderr=file, stdout=file, env=environment(**settings))


def when_there(path, process, log, seconds=180):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def child_of(process):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True)
    return int(found.stdout)


def until_ended(process, seconds=10):
    """Wait for a process that another one started; one that has ended may be listed still, as a zombie."""
    end = time.monotonic() + seconds
    while True:
        found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
        if not found.stdout.strip() or found.stdout.startswith("Z"):
            return
        assert time.monotonic() < end, found.stdout
        time.sleep(0.05)


def assert_same_weights(first, second, tolerance):
    ours, theirs = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert main([*DIGITS, *EXACT, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run by two processes, which goes on beside the tests before the one that waits for it."""
    folder = tmp_path_factory.mktemp("pair")
    process = started([*DIGITS, *EXACT, *TWO, "--out", str(folder / "run")], folder / "log")
    yield process, folder / "run", folder / "log"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def killed(pair, tmp_path_factory):
    """A run by two processes, of which one was killed after the first epoch; what was said, and the seconds until all ended."""
    folder = tmp_path_factory.mktemp("killed")
    log, run = folder / "log", folder / "run"
    process = started([*DIGITS, *EXACT, *TWO, "--out", str(run)], log)
    when_there(run / "checkpoints" / "last.ckpt", process, log)
    os.kill(child_of(process), signal.SIGKILL)
    start = time.monotonic()
    code = process.wait(60)
    return run, code, log.read_text(), time.monotonic() - start


def test_a_killed_process_ends_all(killed):
    _, code, said, seconds = killed
    assert code != 0
    assert seconds < 30
    assert "another process of this training has ended" in said


def test_two_processes_train_as_one(alone, pair):
    process, run, log = pair
    assert process.wait(120) == 0, log.read_text()
    assert_same_weights(alone, run, 1e-7)
    ours, theirs = pd.read_csv(alone / "metrics.csv"), pd.read_csv(run / "metrics.csv")
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)
    for word in ("model:", "trained in"):
        assert log.read_text().count(word) == 1, "the first process alone speaks"
    assert not list(run.glob("**/*.partial"))
    assert load(run).space == load(alone).space


def test_one_process_goes_on_where_two_were(alone, killed):
    run = killed[0]
    assert main([*DIGITS, *EXACT, "--out", str(run), "--resume"]) == 0
    assert_same_weights(alone, run, 1e-7)


def test_torchrun_with_uneven_shares_and_missing_labels(tmp_path, monkeypatch):
    """Both start at once on an empty cache; validation rows (of 7) are uneven too. In double precision: Adam
    turns rounding of gradients near zero into whole steps.
    """
    cache, log = tmp_path / "cache", tmp_path / "log"
    launch = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python", sys.executable, str(BIN / "ccvae")]
    # teachers drop features, which every process draws for itself
    arguments = [*FACES, "--data.validation", "7", *EXACT]
    done = subprocess.run(
        [*launch, *arguments, *TWO, "--out", str(tmp_path / "two")],
        env=environment(CCVAE_CACHE=str(cache)), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    log.write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("CCVAE_CACHE", str(cache))
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert_same_weights(tmp_path / "one", tmp_path / "two", 1e-7)


def test_two_processes_train_attentive_networks_as_one(tmp_path):
    """Attention, painting, and a style that is read in a second pass."""
    attentive = ["--model.network", "attentive", "--training.few_labels", "false"]
    arguments = [*FACES, *attentive, *EXACT]
    process = started([*arguments, *TWO, "--out", str(tmp_path / "two")], tmp_path / "log")
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert process.wait(120) == 0, (tmp_path / "log").read_text()
    assert_same_weights(tmp_path / "one", tmp_path / "two", 1e-7)


@pytest.mark.parametrize(
    ("number", "receivers"), [(signal.SIGINT, "second"), (signal.SIGTERM, "first"), (signal.SIGTERM, "both")]
)
def test_interrupted_processes_agree(tmp_path, number, receivers):
    """Whichever of them gets the signal, all end soon; the first keeps everything and says so."""
    run, log = tmp_path / "run", tmp_path / "log"
    process = started([*DIGITS, "--training.few_labels", "false", "--training.epochs", "500", *TWO, "--out", str(run)], log)
    when_there(run / "checkpoints" / "last.ckpt", process, log)
    second = child_of(process)
    for receiver in {"first": [process.pid], "second": [second], "both": [process.pid, second]}[receivers]:
        os.kill(receiver, number)
    assert process.wait(30) == 130, log.read_text()
    until_ended(second)
    assert "continue with --resume" in log.read_text()
    kept = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = load_file(run / "model.safetensors")
    assert all(torch.equal(kept["state_dict"][f"model.{name}"], tensor) for name, tensor in weights.items())


def test_a_process_ends_with_the_one_that_started_it():
    """A GPU's collective operations would not notice."""
    child = (
        "import time; from ccvae.distributed.shutdown import shared_shutdown\n"
        "with shared_shutdown():\n    print('up', flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys; os.environ |= {'CCVAE_FIRST_PROCESS': str(os.getpid()), 'LOCAL_RANK': '1'}\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout.readline() == b"up\n"
        process.kill()
        start = time.monotonic()
        said = process.stderr.read()  # until the child too has closed it
    assert b"the first process of this training has ended" in said
    assert time.monotonic() - start < 10


def test_processes_generate_what_one_does(alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccvae.cli.pictures.TOGETHER", 4)
    wanted = ["generate", str(alone), "--given", "digit=3", "--count", "10", "--seed", "7", "--out"]
    assert main([*wanted, str(tmp_path / "one")]) == 0
    for number in range(2):
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main([*wanted, str(tmp_path / "two")]) == 0
        assert len(list((tmp_path / "two").iterdir())) == (6, 10)[number]
    assert "4 pictures in" in capsys.readouterr().err
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert main([*wanted, str(tmp_path / "sheet.png")]) == 2
    assert "several processes need a folder" in capsys.readouterr().err


# ---------------------------------------------------------------------- shares


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shares_of_batches_are_the_batch(data, world_size):
    whole = Batches(data.hide(12), 20, seed=3, labelled_share=0.25)
    parts = [
        Batches(data.hide(12), 20, seed=3, labelled_share=0.25, rank=number, world_size=world_size)
        for number in range(world_size)
    ]
    for (x, y), *shares in zip(whole, *parts, strict=True):
        for part, (own_x, own_y) in zip(parts, shares, strict=True):
            torch.testing.assert_close(own_x, x[part.shard.rows], rtol=0, atol=0)
            torch.testing.assert_close(own_y, y[part.shard.rows], rtol=0, atol=0, equal_nan=True)
        assert sum(len(own) for own, _ in shares) == len(x)


def test_shares_of_a_split_may_be_empty(data):
    parts = [SplitBatches(data, "validation", 39, rank=number, world_size=3) for number in range(3)]
    assert [[len(x) for x, _ in part] for part in parts] == [[13, 1], [13, 0], [13, 0]]


def test_more_processes_than_rows_are_refused(data):
    with pytest.raises(ValueError, match="batch_size: a batch of 4 rows cannot be shared by 5 processes; raise batch_size"):
        Batches(data, 4, world_size=5)


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_noise_is_the_whole_batch_s(data, estimator):
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=10, width=4).eval()
    rows = data.splits["train"][:11]
    x, y = data.tensor(rows), torch.tensor(data.labels[rows]).nan_to_num(1.0)
    whole = bound(model, x, y, estimator, torch.Generator().manual_seed(5)).terms()
    for number in range(3):
        shard = Shard(11, number, 3)
        own = bound(model, x[shard.rows], y[shard.rows], estimator, torch.Generator().manual_seed(5), shard).terms()
        for name, term in own.items():
            torch.testing.assert_close(term, whole[name][shard.rows], rtol=1e-4, atol=1e-3)


def test_normalisation_is_given_back():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm1d(3)))
    own = [model[1], model[2][0]]
    sync = BatchNormSync()
    sync.apply(model)
    assert isinstance(model[1], nn.SyncBatchNorm)
    assert model[1].weight is own[0].weight
    model.double().eval()
    sync.revert(model)
    assert [model[1], model[2][0]] == own
    assert own[0].running_mean.dtype == torch.float64
    assert not own[1].training


@pytest.mark.parametrize(
    ("settings", "first"),
    [({}, True), ({"LOCAL_RANK": "1"}, False), ({"RANK": "0", "SLURM_PROCID": "1"}, True), ({"NODE_RANK": "1"}, False)],
)
def test_first_process_is_found_by_the_environment(monkeypatch, settings, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
