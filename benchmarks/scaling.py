"""How training scales from one process to two, with one thread each, and how much they communicate.

    python benchmarks/scaling.py               # about 12 minutes on two cores; writes benchmarks/results/scaling.md

The default model with the bound alone, on random pixels with 16 binary labels; half of the rows have no label. One process,
two processes with the same batch, and two with twice the batch run in turn. Of each run the median step is kept, and of all
rounds the median and the minimum. Two more measurements: the time gloo takes to sum a tensor as large as all gradients over
two processes, and the number of operations per image.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import distributed, nn
from torch.utils.flop_counter import FlopCounterMode

from ccvae.data import arrays
from ccvae.data.dataset import Dataset
from ccvae.distributed.shutdown import exit_now
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "scaling.md"
BATCH, LABELS, STEPS, WARM_UP = 200, 16, 13, 3
CASES = ((1, BATCH), (2, BATCH), (2, 2 * BATCH))
SIZES = (32, 64)
REDUCTIONS = 30
KINDS = ((statistics.median, "step"), (min, "step"), (statistics.median, "processor"))


class Clock(lightning.Callback):
    """Records when each step ended, in wall-clock time and CPU time."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: object) -> None:
        """Record the end of a step."""
        self.ends.append((time.perf_counter(), time.process_time()))

    def medians(self) -> dict[str, float]:
        """Wall-clock and CPU seconds of a step, without the first few steps."""
        seconds, processor = np.median(np.diff(self.ends, axis=0)[WARM_UP:], axis=0).tolist()
        return {"step": seconds, "processor": processor}


def pixels(size: int, rows: int) -> Dataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (rows, size, size, 3), dtype=np.uint8)
    labels = generator.integers(0, 2, (rows, LABELS)).astype(float)
    labels[rows // 2 :] = np.nan
    return arrays(images, {f"label {column}": labels[:, column] for column in range(LABELS)}, validation=0, test=0)


def measured(size: int, batch: int, processes: int) -> dict[str, float]:
    """Seconds of a step, and of a sum of all gradients over all processes; runs in each of them."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = pixels(size, batch * STEPS)
    model = CCVAE.for_data(data, network="conv")
    clock = Clock()
    strategy = "ddp" if processes > 1 else "auto"
    fit(
        model, data, epochs=1, batch_size=batch, callbacks=[clock], progress=False,
        accelerator="cpu", devices=processes, strategy=strategy, intervention_weight=0.0,
    )  # fmt: skip
    found = clock.medians()
    if processes > 1:
        gradients = torch.zeros(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
        times = []
        for _ in range(REDUCTIONS):
            distributed.barrier()
            start = time.perf_counter()
            distributed.all_reduce(gradients)
            times.append(time.perf_counter() - start)
        found["reduction"] = statistics.median(times)
    return found


def run(size: int, batch: int, processes: int) -> dict[str, float]:
    """Results of `measured` in separate processes."""
    command = [sys.executable, __file__, "--measure", str(size), str(batch), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def counted(size: int) -> dict[str, float]:
    """Counts: bytes that a process sends to the others in each step, and operations per image."""
    data = pixels(size, 64)
    model = CCVAE.for_data(data, network="conv")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    with FlopCounterMode(display=False) as counter:
        bound(model, data.tensor(), torch.tensor(data.labels)).total.mean().backward()
    return {
        "parameters": sum(parameter.numel() for parameter in trained),
        "gradients": sum(4 * parameter.numel() for parameter in trained),
        "norms": len(norms),
        "statistics": sum(2 * 4 * (2 * norm.num_features + 1) for norm in norms),
        "buffers": sum(buffer.nbytes for buffer in model.buffers()),
        "operations": counter.get_total_flops() / len(data),
    }


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *rows])


def main(rounds: int) -> None:
    load = os.getloadavg()[0]
    found: dict[tuple[int, int, int], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for size in SIZES:
            for processes, batch in CASES:
                found.setdefault((size, processes, batch), []).append(run(size, batch, processes))
    speeds = []
    for (size, processes, batch), runs in found.items():
        alone = found[size, *CASES[0]]
        step, least, spent = (pick(each[name] for each in runs) for pick, name in KINDS)
        gains = [
            batch / BATCH * pick(each[name] for each in alone) / value
            for (pick, name), value in zip(KINDS, (step, least, spent), strict=True)
        ]
        speeds.append([
            f"{size}×{size}", str(processes), str(batch), *(f"{1e3 * value:.0f}" for value in (step, least, spent)),
            *(f"{gain:.2f}" for gain in gains),
        ])  # fmt: skip
    sizes = []
    for size in SIZES:
        count = counted(size)
        reduction = min(each["reduction"] for each in found[size, *CASES[1]])
        sizes.append([
            f"{size}×{size}", f"{count['parameters'] / 1e6:.2f} M", f"{count['gradients'] / 1e6:.2f} MB",
            f"{count['statistics'] / 1e3:.1f} kB in {2 * count['norms']:.0f}", f"{count['buffers'] / 1e3:.1f} kB",
            f"{1e3 * reduction:.1f}", f"{count['operations'] / 1e9:.3f}",
        ])  # fmt: skip
    speed_head = [
        "images",
        "processes",
        "batch, over all",
        "ms a step",
        "least",
        "processor ms",
        "gain",
        "by least",
        "by processor",
    ]
    size_head = [
        "images",
        "parameters",
        "gradients",
        "statistics of batch normalisation",
        "buffers",
        "ms a sum, least",
        "10⁹ operations",
    ]
    about = f"{os.cpu_count()} cores ({platform.machine()}; load average {load:.1f} at the start), torch {torch.__version__}"
    page = f"""# From one process to two

`python benchmarks/scaling.py --rounds {rounds}`, with {about},
gloo, one thread a process. The default model, {LABELS} binary labels, half of the rows without any; the bound alone, in single
precision.

{table(speed_head, speeds)}

Wall-clock time of a step, as the median and the minimum of {rounds} rounds, and the CPU time that a process spends on it.
Gains are images per second relative to one process: by medians, by minima, and by CPU time, which is the gain of two cores
that never wait. Where other work shares the cores, processes that wait for each other at every step are slowed down most, and
the first gain says more about that work than about this package.

Bytes that a process sends to the others in each step, counted; the time gloo takes to sum the gradients over two processes;
and operations per image in a step, forward and backward, counted in matrix products and convolutions (a multiplication and an
addition are two operations).

{table(size_head, sizes)}"""
    RESULTS.write_text(page + "\n", encoding="utf-8")
    print(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        result = measured(*arguments.measure)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(json.dumps(result))
        exit_now()
    else:
        main(arguments.rounds)
