"""Seconds and memory of `ccvae data check` on tables of many labels, as a process that reads the CSV file.

    python benchmarks/data_check.py [--out benchmarks/results/data_check.md]

Each table has ten features and as many binary labels as the row says, of which one in ten cells is missing, and pairs that go
together. The first has the size of CelebA's table.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SIZES = ((40, 200_000), (250, 20_000), (250, 60_000), (1_000, 7_500), (2_000, 7_500))
"""Labels and rows; a table may have 16 million cells."""
FEATURES = 10
MISSING = 0.1


def write_table(path: Path, labels: int, rows: int) -> None:
    """A CSV file of features and labels, drawn with a seed."""
    rng = np.random.default_rng(labels)
    cells = rng.integers(0, 2, (rows, labels)).astype(object)
    cells[:, 1] = np.where(rng.random(rows) < 0.9, cells[:, 0], 1 - cells[:, 0])  # a pair that goes together
    cells[rng.random((rows, labels)) < MISSING] = ""
    features = pd.DataFrame(rng.normal(size=(rows, FEATURES)).round(4), columns=[f"feature{n}" for n in range(FEATURES)])
    table = pd.concat([features, pd.DataFrame(cells, columns=[f"label{n}" for n in range(labels)])], axis=1)
    table.to_csv(path, index=False)


def measured(path: Path, labels: int) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and peak gigabytes of one check."""
    names = ",".join(f"label{number}" for number in range(labels))
    command = [sys.executable, "-m", "ccvae", "data", "check", str(path), "--data.labels", names]
    before, used = time.monotonic(), cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - before
    if done.returncode:
        sys.exit(f"{path}: exit code {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return seconds, cpu_seconds() - used, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def cpu_seconds() -> float:
    """Seconds of CPU that the commands so far have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    arguments = parser.parse_args()
    lines = [
        "# Checking data with many labels",
        "",
        f"`python benchmarks/data_check.py`: one core of {platform.machine()}, Python {platform.python_version()}. "
        "The seconds are of the whole command, from its start to its end, while other work ran on the machine. "
        "Memory is the largest of the processes so far.",
        "",
        "| labels | rows | seconds | of CPU | GB at most |",
        "|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for labels, rows in SIZES:
            path = Path(folder) / "table.csv"
            write_table(path, labels, rows)
            seconds, cpu, memory = measured(path, labels)
            lines.append(f"| {labels:,} | {rows:,} | {seconds:.1f} | {cpu:.1f} | {memory:.1f} |")
            print(lines[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
