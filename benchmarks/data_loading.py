"""How long it takes to feed training: images decoded once into the cache, against decoding them in every epoch.

    python benchmarks/data_loading.py [--images 4000] [--rounds 5] [--out benchmarks/results/data_loading.md]

JPEG files of 178×218 pixels are drawn at random, of the size in bytes that photographs of faces have. They are in the system's
page cache, so that decoding is measured and not the disk. Ways of reading take turns, and medians are told: of time, and of the
processors' time, on which other work on the machine has less influence.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ccvae.data.dataset import Dataset
from ccvae.data.images.image_cache import decoded_files
from ccvae.data.loaders.batches import Batches
from ccvae.data.splits import split_rows
from ccvae.labels import Binary, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.model.inputs.decoding import Framing

WIDTH, HEIGHT, SIZE, BATCH, CORES = 178, 218, 64, 200, 2
SPACE = LabelSpace((Binary("label"),))
MANY = 200_000
STEPS = 12
PASSES = 10
"""Epochs from the cache a round, for one takes too short a time to tell."""


class Files(TorchDataset[Tensor]):
    """The plain way: every image is decoded, resized and made a tensor whenever it is asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.paths[row]) as image:
            pixels = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(pixels).copy()).permute(2, 0, 1).float() / 255


def draw(folder: Path, count: int) -> list[Path]:
    """Write JPEG files: smooth colours with some grain."""
    generator = np.random.default_rng(0)
    for row in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (14, 11, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32)
        grain = generator.normal(0, 3, (HEIGHT, WIDTH, 1))
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{row:06}.jpg", quality=85)
    return sorted(folder.iterdir())


def data_of(images: np.ndarray) -> Dataset:
    """Images with labels, all of them to train on."""
    labels = np.random.default_rng(0).integers(0, 2, (len(images), 1)).astype(np.float32)
    ids = np.arange(len(images)).astype(str)
    return Dataset(images, labels, SPACE, ids, split_rows(len(images), 0, 0))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of some work: by the clock, and of processors in this process and those that it started and waited for."""

    def spent() -> tuple[float, float]:
        others = os.times()
        return time.perf_counter(), time.process_time() + others.children_user + others.children_system

    before = spent()
    work()
    after = spent()
    return after[0] - before[0], after[1] - before[1]


def epoch_from_files(paths: list[Path], workers: int) -> None:
    for _ in DataLoader(Files(paths), BATCH, shuffle=True, num_workers=workers):
        pass


def epochs_from_cache(data: Dataset) -> None:
    batches = Batches(data, BATCH)
    for _ in range(PASSES):
        for _ in batches:
            pass


def timed(folder: Path, paths: list[Path], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds, by the clock and of processors, of every way to read all images, by round."""
    names = [path.name for path in paths]
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ("plain", f"plain, {CORES} workers", "decode", "cache")}
    framing = Framing(SIZE, SIZE, "stretch")
    for number in range(rounds):
        os.environ["CCVAE_CACHE"] = str(folder.parent / f"cache{number}")
        times["plain"].append(seconds(lambda: epoch_from_files(paths, 0)))
        times[f"plain, {CORES} workers"].append(seconds(lambda: epoch_from_files(paths, CORES)))
        times["decode"].append(seconds(lambda: decoded_files(folder, names, framing, 3)))
        data = data_of(decoded_files(folder, names, framing, 3)[0])
        clock, processors = seconds(partial(epochs_from_cache, data))
        times["cache"].append((clock / PASSES, processors / PASSES))
    return times


def memory() -> tuple[float, float]:
    """Megabytes of this process that are resident: all, and without pages of files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1e3, int(lines["RssAnon"].split()[0]) / 1e3


def growth(folder: Path) -> tuple[float, float, float]:
    """Megabytes by which memory grows at the most while many images go by once, and those that are not pages of files; and how
    many seconds that takes.
    """
    path = folder / "many.npy"
    many = np.lib.format.open_memmap(path, "w+", np.uint8, (MANY, SIZE, SIZE, 3))
    block = np.random.default_rng(0).integers(0, 256, (10_000, SIZE, SIZE, 3), dtype=np.uint8)
    for start in range(0, MANY, len(block)):
        many[start : start + len(block)] = block
    many.flush()
    del many, block
    batches = Batches(data_of(np.load(path, mmap_mode="r")), BATCH)
    next(iter(batches))
    before, most = memory(), (0.0, 0.0)
    started = time.perf_counter()
    for _ in batches:
        now = memory()
        most = (max(most[0], now[0] - before[0]), max(most[1], now[1] - before[1]))
    took = time.perf_counter() - started
    path.unlink()
    return *most, took


def waiting(images: np.ndarray) -> tuple[float, float]:
    """Median seconds of a training step of the standard model, and of waiting for its batch."""
    model = CCVAE(SPACE, (3, SIZE, SIZE))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    steps, waits = [], []
    while len(steps) < STEPS:
        started = time.perf_counter()
        for x, y in Batches(data_of(images), BATCH):
            ready = time.perf_counter()
            optimizer.zero_grad()
            (-bound(model, x, y).weighted().mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            waits.append(ready - started)
            steps.append(time.perf_counter() - started)
            if len(steps) == STEPS:
                break
            started = time.perf_counter()
    return statistics.median(steps), statistics.median(waits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="how many files")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is timed")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(CORES)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        paths = draw(folder, arguments.images)
        size = statistics.mean(path.stat().st_size for path in paths)
        times = timed(folder, paths, arguments.rounds)
        images, _ = decoded_files(folder, [path.name for path in paths], Framing(SIZE, SIZE, "stretch"), 3)
        step, wait = waiting(images)
        # in a process of its own, whose memory nothing else has been through
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            grown, grown_own, took = fresh.submit(growth, Path(name)).result()

    def ratio(what: str, slow: str, *fast: str) -> str:
        told = []
        for kind in (0, 1):
            each = [found[kind] / sum(times[way][number][kind] for way in fast) for number, found in enumerate(times[slow])]
            told.append(f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})")
        least = min(found[1] for found in times[slow]) / sum(min(found[1] for found in times[way]) for way in fast)
        return f"| {what} | {told[0]} | {told[1]} | {least:.1f} |"

    def row(what: str, way: str) -> str:
        clock, processors = (statistics.median(kind) for kind in zip(*times[way], strict=True))
        count = arguments.images
        return f"| {what} | {clock:.2f} | {count / clock:,.0f} | {1e3 * processors * BATCH / count:.1f} |"

    parallel = f"plain, {CORES} workers"
    command = f"python benchmarks/data_loading.py --images {arguments.images} --rounds {arguments.rounds}"
    lines = [
        "# Feeding training",
        "",
        f"`{command}`, with {os.cpu_count()} cores (load average {load:.1f} at the start), torch {torch.__version__}.",
        f"{arguments.images:,} JPEG files of {WIDTH}×{HEIGHT} pixels, {size / 1e3:.1f} kB each, are brought to {SIZE}×{SIZE};",
        f"batches have {BATCH} images.",
        "",
        "| one pass over all images | s | images/s | processor ms a batch |",
        "|---|---:|---:|---:|",
        row("decoded again, in the process itself", "plain"),
        row(f"decoded again, by a `DataLoader` with {CORES} workers", parallel),
        row("first decode into the cache", "decode"),
        row("from the cache, in the process itself", "cache"),
        "",
        "| ratio, median of rounds (least to greatest) | of time | of processors' time | of the least processors' times |",
        "|---|---:|---:|---:|",
        ratio("decoding in the process itself / from the cache", "plain", "cache"),
        ratio(f"decoding with {CORES} workers / from the cache", parallel, "cache"),
        ratio(f"first epoch: decoding with {CORES} workers / into the cache and from it", parallel, "decode", "cache"),
        "",
        f"A training step of the standard model on {SIZE}×{SIZE} images, batch {BATCH}, takes {step:.2f} s on this CPU;",
        f"{1e3 * wait:.1f} ms of it ({wait / step:.2%}) are spent waiting for the batch.",
        "",
        f"While {MANY:,} images of {SIZE}×{SIZE} ({MANY * SIZE * SIZE * 3 / 1e9:.2f} GB) go by once, in {took:.0f} s,",
        f"resident memory grows by {grown:.0f} MB at the most, {grown_own:.0f} MB of them not pages of files.",
    ]
    text = "\n".join(lines) + "\n"
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
