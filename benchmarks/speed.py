"""What a step costs above its networks, and how fast predicting and generating are.

    python benchmarks/speed.py [--device cpu|cuda] [--threads 2] [--rounds 7] [--quick]
    # 7 to 15 minutes on one core; writes benchmarks/results/speed-<device>.md, and a plot of how the cost of a step grows

In every section the variants run in turn; the ratio of their times is taken in each round, and the median of these ratios is
shown. Other work on the machine slows down all variants; the minimum of CPU times is disturbed least.

The *floor* of a step is the same encoder and decoder with the mean of the output as loss: forward, backward, optimizer. The
*public way* is the paper's objective for labelled rows as one writes it down: the encoder run twice, 100 samples of the whole
label vector, distributions over images, images with channels first, torch's own layers and Adam.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch._inductor import metrics
from torch.utils.flop_counter import FlopCounterMode

from ccvae.data import arrays
from ccvae.data.loaders.batches import Batches
from ccvae.distributed.devices import has_bfloat16
from ccvae.distributed.memory import keep_memory
from ccvae.model.networks.layers import torch_layers
from ccvae.training.compilation import compiled
from ways import (
    ROWS,
    Arm,
    Case,
    as_on_accelerator,
    compiled_step,
    floor_step,
    inference,
    layer_forms,
    operations,
    our_step,
    out_of_place,
    parts,
    public_step,
)

RESULTS = Path(__file__).parent / "results"
MANY_LABELS = 512
ROWS_STORED = (2_000, 10_000, 50_000)
Pairs = dict[str, tuple[Arm, Arm]]
STEPS_AT_ONCE = {"cpu": 1, "cuda": 10}
"""Steps timed together: on a GPU one is over before the clock is read."""


class Clock:
    """Times ways in turns.

    Args:
        device: "cpu" or "cuda".
        rounds: how often each way is timed, after once to warm up.
    """

    def __init__(self, device: str, rounds: int) -> None:
        self.device, self.rounds, self.repeats = device, rounds, STEPS_AT_ONCE[device]

    def seconds(self, arm: Arm) -> tuple[float, float]:
        """Wall-clock and CPU seconds of one run."""
        self.wait()
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(self.repeats):
            arm()
        self.wait()
        return (time.perf_counter() - clock) / self.repeats, (time.process_time() - processor) / self.repeats

    def wait(self) -> None:
        """Until the device has done all."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def times(self, arms: dict[str, Arm]) -> dict[str, np.ndarray]:
        """Seconds of every way, `(rounds, 2)`."""
        for arm in arms.values():
            self.seconds(arm)
        rounds = [{name: self.seconds(arm) for name, arm in arms.items()} for _ in range(self.rounds)]
        return {name: np.array([found[name] for found in rounds]) for name in arms}


def peak(case: Case, device: str, kind: str) -> float:
    """Megabytes that two steps allocate beyond what was there; on a CPU measured in a separate process."""
    step = {
        "floor": lambda: floor_step(case, device),
        "ours": lambda: our_step(case, device, "mixed"),
        "public way": lambda: public_step(case, device),
    }[kind]()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(), step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = resident("VmRSS")
    step(), step()
    return resident("VmHWM") - before


def resident(which: str) -> float:
    """Megabytes of this process that are resident, now or at most, as Linux tells them."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[which].split()[0]) / 1e3


# ---------------------------------------------------------------------- sections of the report


def ratio(slow: np.ndarray, fast: np.ndarray) -> list[str]:
    """Medians over rounds of the ratios of wall-clock times and of CPU times, and the ratio of the minimum CPU times."""
    by_clock, by_processor = np.median(slow / fast, 0)
    return [f"{by_clock:.2f}", f"{by_processor:.2f}", f"{slow[:, 1].min() / fast[:, 1].min():.2f}"]


def milliseconds(times: np.ndarray) -> list[str]:
    clock, processor = 1e3 * np.median(times, 0)
    return [f"{clock:.2f}" if clock < 10 else f"{clock:.0f}", f"{processor:.2f}" if processor < 10 else f"{processor:.0f}"]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [" | ".join(row) for row in [head, ["---", *["---:"] * (len(head) - 1)], *rows]]
    return [*(f"| {line} |" for line in lines), ""]


def arithmetic(case: Case, device: str) -> tuple[float, float]:
    """Thousand millions of operations of a step's networks, and how many a second this device does in a product of matrices."""
    with FlopCounterMode(display=False) as counter:
        floor_step(case, device)()
    side = 2048 if device == "cpu" else 8192
    left, right = torch.rand(2, side, side, device=device)
    torch.set_float32_matmul_precision("high")  # as convolutions on a GPU compute
    times = Clock(device, 5).times({"product": lambda: left @ right})["product"]
    torch.set_float32_matmul_precision("highest")
    return counter.get_total_flops() / 1e9, 2 * side**3 / times[:, 0 if device == "cuda" else 1].min() / 1e9


def steps_section(clock: Clock, cases: list[Case]) -> Iterator[str]:
    head = ["ms", "processor ms", "over the floor", "processor", "least processor"]
    for case in cases:
        device = clock.device
        many = replace(case, labels=MANY_LABELS)
        arms: dict[str, Arm] = {
            "floor": floor_step(case, device),
            "labelled": our_step(case, device, "labelled"),
            "unlabelled": our_step(case, device, "unlabelled"),
            "mixed": our_step(case, device, "mixed"),
            "the paper's estimator, mixed": our_step(case, device, "mixed", "paper"),
            "the public way, labelled": public_step(case, device),
            f"floor, {MANY_LABELS} labels": floor_step(many, device),
            f"mixed, {MANY_LABELS} labels": our_step(many, device, "mixed"),
        }
        if has_bfloat16(torch.device(device)):
            arms["floor, bf16"] = floor_step(case, device, mixed=True)
            arms["mixed, bf16"] = our_step(case, device, "mixed", mixed=True)
        if device == "cuda":
            arms["mixed, compiled"] = compiled_step(case, device)
        times = clock.times(arms)
        floors = dict.fromkeys(arms, "floor") | {name.replace("floor", "mixed"): name for name in arms if "floor" in name}
        rows = [[name, *milliseconds(found), *ratio(found, times[floors[name]])] for name, found in times.items()]
        yield f"## A step: `{case.network}`, {case.size}×{case.size}, batch {case.batch}, {case.labels} labels\n"
        yield from table(["step", *head], rows)
        operations, fastest = arithmetic(case, device)
        floor = times["floor"][:, 0 if device == "cuda" else 1].min()
        share = operations / fastest / floor
        faster = " / ".join(ratio(times["the public way, labelled"], times["labelled"]))
        images = case.batch / np.median(times["mixed"][:, 0])
        if "mixed, bf16" in times:
            also = " / ".join(ratio(times["the public way, labelled"], times["mixed, bf16"]))
            yield f"In bf16 ours is {also} times faster than the public way in single precision."
        yield f"The public way takes {faster} times ours (clock / processor / least); ours does {images:,.0f} images/s."
        least = 1e3 * operations / fastest
        yield f"The networks' {operations:.1f} GFLOP would take {least:.3g} ms at the {fastest:,.0f} GFLOP/s"
        yield f"of a product of large matrices: {share:.0%} of the floor's {1e3 * floor:.3g} ms.\n"


def times_of_pairs(clock: Clock, make: Callable[..., Pairs], *arguments: Any) -> dict[str, dict[str, np.ndarray]]:
    """Times of pairs of ways, by name."""
    return {name: clock.times({"plain": plain, "ours": ours}) for name, (plain, ours) in make(*arguments).items()}


def times_apart(threads: int, *arguments: Any) -> dict[str, dict[str, np.ndarray]]:
    """The same in this process, started for it: what ran before would change where its memory comes from."""
    torch.set_num_threads(threads)
    return times_of_pairs(*arguments)


def pairs_section(clock: Clock, title: str, first: str, make: Callable[..., Pairs], *arguments: Any) -> Iterator[str]:
    if clock.device == "cpu":
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found = fresh.submit(times_apart, torch.get_num_threads(), clock, make, *arguments).result()
    else:
        found = times_of_pairs(clock, make, *arguments)
    rows = []
    for name, times in found.items():
        rows.append([name, *milliseconds(times["plain"]), *milliseconds(times["ours"]), *ratio(times["plain"], times["ours"])])
    yield f"## {title}\n"
    head = ["plain ms", "processor", "our ms", "processor", "times faster", "processor", "least processor"]
    yield from table([first, *head], rows)


def levers_section(clock: Clock) -> Iterator[str]:
    case, device = Case("paper", 64), clock.device

    def torch_s(step: Arm) -> Arm:
        def arm() -> None:
            with torch_layers():
                step()

        return arm

    times = clock.times({
        "the public way": public_step(case, device),
        "one encoder pass, exact label terms, no distributions over images": public_step(case, device, lean=True),
        "channels last, fused Adam": torch_s(our_step(case, device, "labelled", model=out_of_place(case.model(device)))),
        "rectified in place": torch_s(our_step(case, device, "labelled")),
        "layers in faster forms": our_step(case, device, "labelled"),
    })  # fmt: skip
    yield "## What each lever gives: `paper`, 64×64, labelled, each with those above it\n"
    first = times["the public way"]
    rows = [[name, *milliseconds(found), *ratio(first, found)] for name, found in times.items()]
    yield from table(["step", "ms", "processor ms", "times faster", "processor", "least processor"], rows)


def gap_section(clock: Clock, cases: list[Case]) -> Iterator[str]:
    yield "## What a step does beside its floor\n"
    yield "Parts alone, forward and backward; the rest is a step's time less all others': noise, the posterior's scales, blocks"
    yield "put into place, and whatever is slower together. Mixed rows.\n"
    rows = []
    for case in cases:
        arms = {"floor": floor_step(case, clock.device), **parts(case, clock.device)}
        times = clock.times({"step": our_step(case, clock.device, "mixed"), **arms})
        least = {name: 1e3 * float(found[:, 0 if clock.device == "cuda" else 1].min()) for name, found in times.items()}
        rest = 2 * least["step"] - sum(least.values())
        numbers = [*least.values(), rest]
        rows.append([f"`{case.network}`, {case.size}×{case.size}, {case.labels} labels", *(f"{ms:.1f}" for ms in numbers)])
    yield from table(["least ms" if clock.device == "cuda" else "least processor ms", "step", *arms, "rest"], rows)


def operations_section(device: str) -> Iterator[str]:
    case = Case()
    with as_on_accelerator():
        counts = {
            "floor": operations(floor_step(case, device)),
            "ours, mixed": operations(our_step(case, device, "mixed")),
            "the public way, labelled": operations(public_step(case, device)),
            "label terms alone": operations(parts(case, device)["label terms"]),
        }
        model = case.model(device)
        metrics.reset()
        with compiled(model, networks=False):
            parts(case, device, model)["label terms"]()
        counts["label terms alone, compiled"] = metrics.generated_kernel_count  # what the compiler made of them
    yield "## Operations that a step starts\n"
    yield "On a GPU a step at 32×32 takes as long as its operations take to be started. Of `conv` with 18 labels, as on a GPU:"
    yield ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ".\n"


def loading_section(clock: Clock, case: Case) -> Iterator[str]:
    arms: dict[str, Arm] = {"step": our_step(case, clock.device, "mixed")}
    with tempfile.TemporaryDirectory() as name:
        for rows in ROWS_STORED:
            path = Path(name) / f"{rows}.npy"
            stored = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, case.size, case.size, 3))
            stored[:] = np.random.default_rng(0).integers(0, 256, stored.shape[1:], dtype=np.uint8)
            stored.flush()
            labels = {f"label {number}": np.arange(rows) % 2 for number in range(case.labels)}
            batches = Batches(arrays(np.load(path, mmap_mode="r"), labels, validation=0, test=0), case.batch)
            endless = (batch for batches in repeat(batches) for batch in batches)
            arms[f"{rows:,}"] = partial(next, endless)
        times = clock.times(arms)
    step = times.pop("step")
    yield f"## Feeding: a batch from a memory map of bytes, {case.size}×{case.size}\n"
    head = ["rows of data", "ms", "processor ms", f"a step of `{case.network}` takes times as long", "processor"]
    yield from table(head, [[rows, *milliseconds(found), *ratio(step, found)[:2]] for rows, found in times.items()])
    yield "The expected order is constant: a batch has the same number of rows, wherever they are stored.\n"


def memory_section(device: str, cases: list[Case]) -> Iterator[str]:
    rows = []
    for case in cases:
        found = []
        for kind in ("floor", "ours", "public way"):
            if device == "cuda":
                found.append(peak(case, device, kind))
            else:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                    found.append(fresh.submit(peak, case, device, kind).result())
        rows.append([f"`{case.network}`, {case.size}×{case.size}", *(f"{megabytes:.0f}" for megabytes in found)])
    yield "## Most memory that a step needs beyond weights and batch, MB\n"
    yield from table(["networks", "floor", "ours, mixed", "public way"], rows)


def least_seconds(case: Case, way: str) -> float:
    """Minimum CPU time of a few steps, in a separate process."""
    torch.set_num_threads(1)
    if way == "ours, kept" and not keep_memory():
        return math.nan
    step = public_step(case, "cpu") if way == "public way" else our_step(case, "cpu", "labelled")
    return float(Clock("cpu", 4).times({way: step})[way][:, 1].min())


def allocation_section() -> Iterator[str]:
    rows = []
    for case in (Case("conv", 64), Case("paper", 64), Case("paper", 64, batch=256)):
        least = dict.fromkeys(("public way", "ours", "ours, kept"), math.inf)
        for way in list(least) * 2:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                least[way] = min(least[way], fresh.submit(least_seconds, case, way).result())
        public, given_back, kept = least.values()
        times = [f"{1e3 * found:.0f}" for found in least.values()]
        rows.append([f"`{case.network}`, {case.batch} rows", *times, f"{given_back / kept:.2f}", f"{public / kept:.2f}"])
    yield "## Memory kept by the process (`ccvae.distributed.memory`): a labelled step at 64×64, one thread, least CPU ms\n"
    head = ["networks", "public way", "ours", "ours, memory kept", "times faster by keeping it", "than the public way"]
    yield from table(head, rows)


GROWTH: dict[str, tuple[str, list[int], str]] = {
    "batch": ("batch", [50, 100, 200, 400, 800], "rows: linear"),
    "labels": ("labels", [2, 8, 32, 128, 512], "constant networks + linear label terms"),
    "style": ("style dimensions", [8, 32, 128, 512], "constant + linear in two small layers"),
    "block": ("dimensions of each of 18 blocks", [1, 2, 4, 8, 16], "constant: classifiers see one direction; + linear"),
    "size": ("side of images", [16, 32, 64, 128], "pixels: square of the side, with few channels at the finest"),
}


def growth_section(clock: Clock, quick: bool) -> Iterator[str]:
    figure, axes = plt.subplots(1, len(GROWTH), figsize=(3 * len(GROWTH), 3.2), layout="constrained")
    measured_by = "least processor time" if clock.device == "cpu" else "least time"
    rows = []
    for axis, (field, (title, values, order)) in zip(axes, GROWTH.items(), strict=True):
        values = values[:2] if quick else values
        lines: dict[str, list[float]] = {"step": [], "floor": []}
        for value in values:
            case = replace(Case(batch=50 if field == "size" else 200), **{field: value})
            times = clock.times({
                "step": our_step(case, clock.device, "mixed"), "floor": floor_step(case, clock.device)
            })  # fmt: skip
            for name, found in times.items():
                lines[name].append(1e3 * float(found[:, 1 if clock.device == "cpu" else 0].min()))
        slope = math.log(lines["step"][-1] / lines["step"][-2]) / math.log(values[-1] / values[-2])
        for name, measured in lines.items():
            axis.plot(values, measured, "o-" if name == "step" else "s--", label=name)
            shown = [
                f"{value}: {ms:.1f}" if ms < 10 else f"{value}: {ms:.0f}" for value, ms in zip(values, measured, strict=True)
            ]
            rows.append(
                [title, name, ", ".join(shown), order if name == "step" else "", f"{slope:.2f}" if name == "step" else ""]
            )
        axis.set_xscale("log")
        axis.set(xlabel=title, xticks=values, xticklabels=values)
        if field in ("batch", "size"):
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, 1.2 * max(lines["step"]))
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend(frameon=False)
    axes[0].set_ylabel(f"ms a step ({measured_by})")
    path = RESULTS / f"speed-{clock.device}-growth.png"
    if not quick:
        figure.savefig(path, dpi=110)
    yield "## How a step grows\n"
    yield f"`conv` at 32×32, 18 labels, batch 200 (50 where images grow), mixed; {measured_by}, ms. The last column is the"
    yield "power with which the last two grow.\n"
    yield from table(["grows", "", "ms", "expected order", "power"], rows)
    yield f"![Time of a step as batch, labels, latent vector, blocks and images grow]({path.name})\n"


def machine(device: str, threads: int) -> str:
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {platform.machine()}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({vectors}, {os.cpu_count()} cores, {load}), {threads} threads, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(STEPS_AT_ONCE), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round at 32×32; prints only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    described = machine(arguments.device, arguments.threads)
    clock = Clock(arguments.device, 1 if arguments.quick else arguments.rounds)
    sizes = (32,) if arguments.quick else (32, 64)
    cases = [Case(network, size) for size in sizes for network in ("conv", "paper")]
    lines = [f"# Speed on {'a GPU' if arguments.device == 'cuda' else 'a processor'}", ""]
    lines += [
        f"`python benchmarks/speed.py --device {arguments.device} --threads {arguments.threads} --rounds {clock.rounds}`:"
    ]
    lines += [f"{described}. Medians of {clock.rounds} rounds.", "", *(__doc__ or "").splitlines()[5:], ""]

    def sections() -> Iterator[str]:
        yield from steps_section(clock, cases)
        if not arguments.quick:
            yield from levers_section(clock)
        if clock.device == "cpu":
            yield from pairs_section(clock, "Layers of `paper`: torch's and ours", "layer, 200 rows", layer_forms, clock.device)
        for case in cases:
            title = f"{ROWS} rows, evaluation: `{case.network}`, {case.size}×{case.size}"
            yield from pairs_section(clock, title, "work", inference, case, clock.device)
        yield from gap_section(clock, [Case(), Case(labels=MANY_LABELS)])
        yield from operations_section(clock.device)
        yield from loading_section(clock, cases[-2])
        yield from memory_section(clock.device, cases[-2:])
        if clock.device == "cpu" and not arguments.quick:
            yield from allocation_section()
        yield from growth_section(clock, arguments.quick)

    for line in sections():
        print(line, flush=True)
        lines.append(line)
    lines.append(f"All of it took {(time.perf_counter() - started) / 60:.0f} minutes.")
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"speed-{arguments.device}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
