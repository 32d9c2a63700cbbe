"""Exported ONNX graphs beside PyTorch: the largest difference of their results, and images per second, on the CPU.

    python benchmarks/onnx_graphs.py [--threads 1] [--rounds 7]     # two minutes; writes benchmarks/results/onnx_graphs.md

Models have random weights, which cost as much as trained ones. PyTorch and onnxruntime run in turn, round by round, with the
same number of threads; the median over rounds of images per second of CPU time is shown, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import ccvae
from ccvae.integrations.onnx import export_onnx
from ccvae.model.interventions import sample_noise

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 64)
MODELS = {
    "faces 3×64×64, conv, 20 labels": ((3, 64, 64), "conv", 20),
    "faces 3×64×64, attentive, 20 labels": ((3, 64, 64), "attentive", 20),
    "digits 1×16×16, conv, 2 labels": ((1, 16, 16), "conv", 2),
    "table of 30 columns, mlp, 5 labels": ((30,), "mlp", 5),
}


def model_of(shape: tuple[int, ...], network: str, labels: int) -> ccvae.CCVAE:
    """A model with random weights and labels of all kinds."""
    torch.manual_seed(0)
    kinds: list[ccvae.Binary | ccvae.Categorical | ccvae.Continuous]
    kinds = [ccvae.Categorical("kind", tuple("abcde")), ccvae.Continuous("amount")]
    kinds += [ccvae.Binary(f"label {number}") for number in range(labels - 2)]
    return ccvae.CCVAE(ccvae.LabelSpace(tuple(kinds)), shape, ccvae.ModelConfig(network=network)).eval()


def cases(model: ccvae.CCVAE, folder: Path, rows: int, threads: int) -> dict[str, tuple[Callable, Callable]]:
    """What is computed, by PyTorch and by a graph: functions that return one array."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    sessions = {path.stem: onnxruntime.InferenceSession(str(path), options) for path in folder.glob("*.onnx")}
    x = torch.rand(rows, *model.input_shape)
    changes = {"kind": "b"}
    labels = np.repeat(model.space.encode_row(changes)[None], rows, 0)
    empty = np.repeat(model.space.encode_row({})[None], rows, 0)
    strength = np.full(rows, 0.5, np.float32)
    noise, uniform = (part.numpy() for part in sample_noise(model, rows, 0))
    inputs = x.numpy()
    return {
        "label probabilities": (
            lambda: model.predict_proba(x).to_numpy(),
            lambda: sessions["classifier"].run(["probabilities"], {"inputs": inputs})[0],
        ),
        "intervention": (
            lambda: model.intervene(x, changes).numpy(),
            lambda: sessions["intervene"].run(None, {"inputs": inputs, "labels": labels, "strength": strength})[0],
        ),
        "generation": (
            lambda: model.generate(rows, seed=0).numpy(),
            lambda: sessions["generate"].run(None, {"labels": empty, "noise": noise, "uniform": uniform})[0],
        ),
    }


def per_second(compute: Callable, rows: int) -> float:
    """Images per second of CPU time, which other work on the machine hardly changes; over a tenth of a second."""
    started, times = time.process_time(), 0
    while (passed := time.process_time() - started) < 0.1 or not times:
        compute()
        times += 1
    return times * rows / passed


def measured(rounds: int, threads: int) -> list[list[str]]:
    """Rows of the table."""
    lines = []
    for name, (shape, network, labels) in MODELS.items():
        model = model_of(shape, network, labels)
        with tempfile.TemporaryDirectory() as place:
            paths = export_onnx(model, place, ["classifier", "intervene", "generate"])
            size = sum(path.stat().st_size for path in paths) / 1e6
            for rows in BATCHES:
                for what, (ours, theirs) in cases(model, Path(place), rows, threads).items():
                    difference = float(np.abs(ours() - theirs()).max())
                    pairs = [(per_second(ours, rows), per_second(theirs, rows)) for _ in range(rounds)]
                    medians = [statistics.median(values) for values in zip(*pairs, strict=True)]
                    ratio = statistics.median(there / here for here, there in pairs)
                    lines.append([name, what, str(rows), f"{difference:.1e}", *(f"{m:,.0f}" for m in medians), f"{ratio:.1f}×"])
                    print(*lines[-1], sep=" | ", flush=True)
        print(f"{name}: the three graphs have {size:.1f} MB", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lines = measured(given.rounds, given.threads)
    heads = [
        "model",
        "what",
        "batch",
        "largest difference",
        "PyTorch, per CPU second",
        "ONNX, per CPU second",
        "ONNX to PyTorch",
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {given.threads} thread(s)"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "onnxscript", "numpy"))
    text = [
        "# ONNX graphs beside PyTorch",
        "",
        f"`python benchmarks/onnx_graphs.py --threads {given.threads} --rounds {given.rounds}` on {machine}; {packages}.",
        "",
        "PyTorch is the public call (`predict_proba`, `intervene`, `generate`) with tensors, which also checks inputs, draws",
        "noise and makes tables; for single images that is a large part of its time. Differences are the largest of all",
        "numbers in the result. Models have the default settings, with the network named and blocks of 8 latents per label for",
        "attentive networks, 2 for others; weights are random. Which takes longer depends on the processor.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
    ]
    (RESULTS / "onnx_graphs.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
