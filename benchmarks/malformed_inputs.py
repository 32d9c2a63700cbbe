"""Seconds and memory that malformed inputs take to be refused: the tests of them, measured one by one.

    python benchmarks/malformed_inputs.py [--out benchmarks/results/malformed_inputs.md]

Each test may take 30 seconds and 2 GB; a test that hypothesis draws for has 25 inputs.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests" / "safety" / "test_malformed_inputs.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "measured"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
        done = subprocess.run(command, check=False, env=os.environ | {"CCVAE_MEASURED": str(measured)})
        rows = [line.split("\t") for line in measured.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for name, seconds, memory in rows:
        found[name.removeprefix("test_").replace("_", " ")].append((float(seconds), int(memory)))
    lines = [
        "# Refusing malformed inputs",
        "",
        f"`python benchmarks/malformed_inputs.py` on {platform.machine()}, Python {platform.python_version()}: "
        f"{len(rows)} tests, {'all passed' if done.returncode == 0 else 'NOT ALL PASSED'}. Memory is the peak of the process "
        "that runs the tests, with torch and all that is imported; those as processes are measured by the tests themselves.",
        "",
        "| tests | number | seconds at most | MB at most |",
        "|---|---:|---:|---:|",
    ]
    for name, values in found.items():
        seconds, memory = (max(column) for column in zip(*values, strict=True))
        lines.append(f"| {name} | {len(values)} | {seconds:.1f} | {memory:,} |")
    print("\n".join(lines))
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
