"""Trainings killed at random moments and resumed: weights and metrics must be those of the training that was never killed.

    python benchmarks/kill_soak.py --kills 50 [--out benchmarks/results/kill_soak.md]

Each training starts with an empty cache: it draws faces into the cache, trains, and draws figures. Kills (SIGKILL) come at
random times, before or after a rename, before a file is flushed to disk, and in the middle of writing a file: checkpoints,
weights, metrics, the cache. A training may be killed again while it is resumed. The run folder is in memory (/dev/shm) where
the system has it, so that it is on another file system than the temporary folder. Exit code 1 if any result differs by a bit.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("time", "time", "rename", "flush", "write")
COMPARED = ("model.safetensors", "metrics.csv", "labels.json", "splits.csv", "calibration.json", "config.yaml")
ARGUMENTS = [
    *["train", "avatars", "--data.options", '{"count": 300}', "--data.size", "16", "--data.labelled", "50"],
    *[
        "--data.validation",
        "30",
        "--data.test",
        "30",
        "--model.width",
        "2",
        "--training.epochs",
        "4",
        "--training.batch_size",
        "40",
    ],
    *["--training.accelerator", "cpu", "--training.teachers", "1", "--training.teacher_steps", "20"],
    *["--training.student_steps", "20"],
]


@dataclass(frozen=True)
class Kill:
    """When a process is killed.

    Args:
        kind: "time", "rename", "flush" or "write".
        moment: seconds, or number of calls before.
        after: whether a rename is still done.
    """

    kind: str
    moment: float
    after: bool = False


def train(folder: Path, kill: Kill | None, figures: bool, counts: Path | None = None) -> int | None:
    """Train in a forked process, from an earlier start if there was one; its exit code, or None if it was killed."""
    process = os.fork()
    if not process:
        code = 1
        try:
            code = child(folder, kill, figures, counts)
        finally:
            os._exit(code)
    if kill is not None and kill.kind == "time":
        deadline = time.monotonic() + kill.moment
        while time.monotonic() < deadline and not os.waitpid(process, os.WNOHANG)[0]:
            time.sleep(0.002)
        else:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                return 0
    try:
        status = os.waitpid(process, 0)[1]
    except ChildProcessError:  # it had finished before
        return 0
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def child(folder: Path, kill: Kill | None, figures: bool, counts: Path | None) -> int:
    """In the forked process: the command line, with calls counted that a kill may come at."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["CCVAE_CACHE"] = str(folder / "cache")
    calls: Counter[str] = Counter()
    watch(calls, kill)
    from ccvae.cli.main import main

    out = folder / "run"
    words = [*ARGUMENTS, "--out", str(out), "--figures", str(figures).lower()]
    code = main([*words, "--resume"] if out.exists() else words)
    if counts is not None:
        counts.write_text(" ".join(f"{kind}={number}" for kind, number in calls.items()))
    return code


def watch(calls: Counter[str], kill: Kill | None) -> None:
    """Count renames, flushes and writes of this process, and kill it at the given one."""

    def wrapped(kind: str, function: Callable[..., Any], halfway: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[kind] += 1
            now = kill is not None and kill.kind == kind and calls[kind] > kill.moment
            if now and halfway is not None:
                halfway(*arguments)
            if now and kill is not None and not kill.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    def write_half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])

    os.replace = wrapped("rename", os.replace)
    os.rename = wrapped("rename", os.rename)
    os.fsync = wrapped("flush", os.fsync)
    Path.write_bytes = wrapped("write", Path.write_bytes, write_half)  # type: ignore[method-assign]


def stage(folder: Path) -> str:
    """How far a killed training had come."""
    run = folder / "run"
    if (run / "report.html").exists():
        return "report written"
    if (run / "model.safetensors").exists():
        return "drawing figures"
    if list(run.glob("checkpoints/*.ckpt")):
        return "after the first checkpoint"
    return "before the first checkpoint" if run.exists() else "building the cache"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-figures", action="store_true", help="train only, which is quicker")
    parser.add_argument("--out", type=Path, help="Markdown file for the summary")
    arguments = parser.parse_args()
    figures = not arguments.no_figures
    rng = random.Random(arguments.seed)
    # imported once, before the processes are forked
    import torch

    import ccvae.cli.main
    import ccvae.cli.train
    import ccvae.data.open
    import ccvae.training.fit  # noqa: F401
    from ccvae.data import avatars  # noqa: F401

    torch.set_num_threads(1)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="ccvae-kills-") as name:
        root = Path(name)
        reference = root / "reference"
        reference.mkdir()
        started = time.monotonic()
        if train(reference, None, figures, root / "counts"):
            sys.stderr.write((reference / "log").read_text())
            return 1
        seconds = time.monotonic() - started
        counts = {kind: int(number) for kind, number in (pair.split("=") for pair in (root / "counts").read_text().split())}
        rows, wrong, kills = [], 0, 0
        while kills < arguments.kills:
            folder, places = root / f"killed-{kills}", []
            folder.mkdir()
            kill: Kill | None = random_kill(rng, seconds, counts)
            while kill is not None:
                code = train(folder, kill, figures)
                if code is None:
                    kills += 1
                    places.append(f"{kill.kind}: {stage(folder)}")
                again = kills < arguments.kills and rng.random() < 0.3
                kill = random_kill(rng, seconds / 2, counts) if again else None
            code = train(folder, None, figures)
            same = code == 0 and all(
                (folder / "run" / n).read_bytes() == (reference / "run" / n).read_bytes() for n in COMPARED
            )
            left = [path.name for path in (folder / "run").rglob("*.partial")]
            if not same or left:
                wrong += 1
                sys.stderr.write(f"{places}: exit code {code}, left over {left}\n{(folder / 'log').read_text()[-3000:]}\n")
            if places:
                rows.append((", then ".join(places), "yes" if same else "NO"))
            shutil.rmtree(folder)
        tally = Counter(place for row in rows for place in row[0].split(", then "))
        lines = [
            "# Kills",
            "",
            f"`python benchmarks/kill_soak.py {' '.join(sys.argv[1:])}`, {platform.machine()}, torch {torch.__version__}; "
            f"runs in {base}.",
            "",
            f"{kills} kills of {len(rows)} trainings; {len(rows) - wrong} of {len(rows)} gave "
            f"{', '.join(COMPARED)} equal to the last bit.",
            "",
            "| killed at | kills |",
            "|---|---:|",
            *(f"| {place} | {number} |" for place, number in sorted(tally.items())),
        ]
    print("\n".join(lines))
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def random_kill(rng: random.Random, seconds: float, counts: dict[str, int]) -> Kill:
    """A kill of a random kind at a random moment."""
    kind = rng.choice(KINDS)
    if kind == "time":
        return Kill(kind, rng.uniform(0, seconds))
    return Kill(kind, rng.randrange(max(1, counts.get(kind, 1))), after=rng.random() < 0.5)


if __name__ == "__main__":
    sys.exit(main())
