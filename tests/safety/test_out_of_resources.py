"""Full disks and too little memory: one message that names what was written or made and how much it needs, exit code 2."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ccvae.cli.main import main
from ccvae.distributed.memory import making, memory_needed
from ccvae.storage import atomic

TRAIN = ["train", "digits", "--training.epochs", "1", "--training.accelerator", "cpu", "--model.width", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run on digits, without figures."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TRAIN, "--out", str(folder), "--figures", "false"]) == 0
    return folder


def refused(words, capsys):
    """Run a command that must refuse; returns the message, which is one line."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    message = error[error.index("error:") :].strip()
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------- disks

WRITERS = {
    "predictions": (["predict", "RUN", "--out", "OUT/p.csv"], "p.csv"),
    "picture": (["generate", "RUN", "--count", "2", "--out", "OUT/p.png"], "p.png"),
    "graphs": (["export", "RUN", "--graphs", "[encoder]", "--out", "OUT/onnx"], "encoder.onnx"),
    "figures": (["report", "RUN"], "reconstructions.png"),
    "report": (["report", "RUN"], "report.html"),
    "page of a check": (["data", "check", "digits", "--html", "OUT/page.html"], "page.html"),
    "settings": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "config.yaml"),
    "splits": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "splits.csv"),
    "table of metrics": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "metrics.csv"),
    "checkpoint": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "last.ckpt"),
    "weights": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "model.safetensors"),
    "calibration": ([*TRAIN, "--out", "OUT/new", "--figures", "false"], "calibration.json"),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file(run, tmp_path, monkeypatch, capsys, kind, number):
    words, name = WRITERS[kind]
    if number == errno.EDQUOT and kind not in ("predictions", "weights"):
        pytest.skip("the same path of code")
    flush = atomic.flush

    def full(path):
        if path.name.startswith(f".{name}."):
            raise OSError(number, os.strerror(number))
        flush(path)

    monkeypatch.setattr(atomic, "flush", full)
    message = refused([word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in words], capsys)
    assert "no space to write" in message
    assert name in message
    assert "bytes" in message
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob(name)), "nothing half-written"


def test_a_full_disk_while_many_pictures_are_written(run, tmp_path, monkeypatch, capsys):
    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    message = refused(["generate", run, "--count", "200", "--out", tmp_path / "many"], capsys)
    assert "no space to write" in message
    assert ".png" in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), OSError("81920 requested and 0 written")]
)
def test_a_full_cache_names_its_folder(tmp_path, monkeypatch, capsys, failure):
    """NumPy's own error gives no reason; then the free space is looked at."""
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ccvae.storage.atomic.shutil.disk_usage", lambda _: SimpleNamespace(free=0))

    def full(*_, **__):
        raise failure

    monkeypatch.setattr(np, "save", full)
    message = refused(["data", "cache", "avatars", "--data.options", '{"count": 150}', "--data.size", "16"], capsys)
    assert "no space to write" in message
    assert str(tmp_path / "cache") in message
    assert "bytes" in message
    assert "CCVAE_CACHE" in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_the_output(run):
    """`ccvae predict RUN > predictions.csv` on a full disk: the interpreter would only say so when it ends."""
    command = [sys.executable, "-m", "ccvae", "predict", str(run)]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "no space to write the output" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_output_that_nobody_reads_is_no_error(run):
    """`ccvae predict RUN | head -1`."""
    command = [sys.executable, "-m", "ccvae", "predict", str(run)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "error" not in done.stderr


# ---------------------------------------------------------------------- memory

TORCH = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000 bytes."
LACKING = {
    "numpy": np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(np.float64)),
    "torch": RuntimeError(TORCH),
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8 GiB\nmore"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "C++": RuntimeError("std::bad_alloc"),
}
AMOUNTS = {"numpy": "7.28 TiB", "torch": "4000000 bytes", "GPU": "20.00 MiB", "cuBLAS": "ALLOC_FAILED", "C++": "bad_alloc"}
MAKERS = {
    "reading digits": ("ccvae.data.readers.digits.arrays", ["data", "check", "digits"]),
    "making the networks": ("ccvae.model.ccvae.CCVAE.__init__", [*TRAIN, "--out", "OUT/new"]),
    "training with 50 rows per step": ("ccvae.training.fit.run", [*TRAIN, "--out", "OUT/new"]),
    "predicting": ("ccvae.model.ccvae.CCVAE.predict_proba", ["predict", "RUN"]),
    "measuring the test split": ("ccvae.evaluation.evaluate_run", ["evaluate", "RUN"]),
    "drawing figures and the report": ("ccvae.reports.figures.draw_all", ["report", "RUN"]),
    "exporting graphs": ("ccvae.integrations.onnx.export_onnx", ["export", "RUN", "--out", "OUT/onnx"]),
}


@pytest.mark.parametrize("source", LACKING)
@pytest.mark.parametrize("made", ["predicting"])
def test_errors_of_libraries_are_told_as_lack_of_memory(run, tmp_path, monkeypatch, capsys, made, source):
    assert AMOUNTS[source] in lacking_in(made, LACKING[source], run, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("made", MAKERS)
def test_too_little_memory_names_what_was_made(run, tmp_path, monkeypatch, capsys, made):
    message = lacking_in(made, RuntimeError(TORCH), run, tmp_path, monkeypatch, capsys)
    assert f"out of memory while {made}: " in message
    assert "4000000 bytes" in message


def lacking_in(made, error, run, tmp_path, monkeypatch, capsys):
    """The message of a command in which there is too little memory for something."""
    place, words = MAKERS[made]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(place, fail)
    message = refused([word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in words], capsys)
    error.__notes__ = []
    return message


def test_memory_that_really_is_too_little(capsys):
    """More bytes than any machine has: torch's own error is recognized."""
    with pytest.raises(RuntimeError) as raised, making("growing"):
        torch.empty(2**55)
    assert memory_needed(raised.value) is not None
    assert raised.value.__notes__ == ["growing"]
    with pytest.raises(MemoryError) as raised, making("growing"):
        np.empty(2**55)
    assert "PiB" in memory_needed(raised.value)
    with pytest.raises(RuntimeError) as raised, making("growing"):
        raise RuntimeError("another error")
    assert memory_needed(raised.value) is None
    assert not hasattr(raised.value, "__notes__")
