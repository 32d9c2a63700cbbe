"""Line and branch coverage of the modules that must not be wrong, by their own tests; exit code 1 if one has less than 95 %.

    python benchmarks/coverage_table.py [--data FILE] [--out benchmarks/results/coverage.md]

It runs the tests of these modules (minutes). With `--data`, the coverage that was recorded in a file is taken instead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 0.95
MODULES = {
    "the bound": "src/ccvae/model/bound.py",
    "label blocks": "src/ccvae/model/label_blocks/",
    "distributions": "src/ccvae/distributions/",
    "labels": "src/ccvae/labels/",
    "the run folder": "src/ccvae/storage/run_folder.py",
    "data": "src/ccvae/data/",
}
TESTS = (
    "tests/distributions", "tests/labels", "tests/data", "tests/storage/test_run_folder.py",
    "tests/storage/test_damaged_runs.py", "tests/model/label_blocks", "tests/model/test_bound.py",
    "tests/model/test_numerics.py", "tests/model/test_label_weights.py",
    "src/ccvae/distributions", "src/ccvae/labels", "src/ccvae/data", "src/ccvae/model/label_blocks",
)  # fmt: skip


def recorded(file: Path) -> None:
    """Run the tests, and record in a file which lines and branches they reach."""
    include = ",".join(f"{module}*" if module.endswith("/") else module for module in MODULES.values())
    command = [sys.executable, "-m", "coverage", "run", "--branch", f"--data-file={file}", f"--include={include}"]
    if subprocess.run([*command, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False).returncode:
        sys.exit("tests fail; their coverage says nothing")


def summaries(file: Path) -> dict[str, dict[str, int]]:
    """Numbers of lines and branches, and of those reached, by path."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", f"--data-file={file}", "-q", "-o", str(found)]
        subprocess.run(command, cwd=ROOT, check=True)
        files = json.loads(found.read_text())["files"]
    return {path: about["summary"] for path, about in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="what coverage recorded before")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = (arguments.data or Path(folder) / "coverage").resolve()
        if arguments.data is None:
            recorded(file)
        files = summaries(file)
    lines = [
        "# Coverage",
        "",
        "`make coverage`: lines and branches that the modules' own tests reach, at least 95 % each.",
        "",
        "| | files | lines | reached | branches | reached |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    low = []
    for name, module in MODULES.items():
        chosen = [summary for path, summary in files.items() if path.startswith(module)]
        cells = [str(len(chosen))]
        for every, reached in (("num_statements", "covered_lines"), ("num_branches", "covered_branches")):
            count, found = (sum(summary[key] for summary in chosen) for key in (every, reached))
            share = found / max(count, 1)
            cells += [f"{count:,}", f"{share:.1%}" if count else ""]
            low += [f"{name}: {share:.1%}"] if count and share < LEAST else []
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1])
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if low:
        sys.exit(f"less than {LEAST:.0%}: {', '.join(low)}")


if __name__ == "__main__":
    main()
