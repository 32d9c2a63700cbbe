"""How long the command line and the package take to start, each in a fresh process.

    python benchmarks/startup.py [--runs 11]

The first start after installing is slower, since Python compiles what it imports; here it is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STARTS = {
    "python alone": "pass",
    "import ccvae": "import ccvae",
    "ccvae --help": "import ccvae.cli.main; ccvae.cli.main.main(['--help'])",
    "ccvae train --help": "import ccvae.cli.main; ccvae.cli.main.main(['train', '--help'])",
    "import ccvae.labels": "import ccvae.labels",
    "ccvae.data.readers.avatars": "import ccvae; ccvae.data.avatars",
    "ccvae.CCVAE": "import ccvae; ccvae.CCVAE",
    "ccvae.fit": "import ccvae; ccvae.fit",
}


def seconds(code: str) -> float:
    """Time of one process that runs some code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11, help="processes a row")
    runs = parser.parse_args().runs
    sys.stdout.write(f"{'what':22}{'median s':>10}{'best s':>10}\n")
    for name, code in STARTS.items():
        seconds(code)
        times = [seconds(code) for _ in range(runs)]
        sys.stdout.write(f"{name:22}{statistics.median(times):>10.3f}{min(times):>10.3f}\n")


if __name__ == "__main__":
    main()
