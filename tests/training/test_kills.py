"""A few trainings killed at random moments; `benchmarks/kill_soak.py --kills 50` does more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "kill_soak.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the soak forks processes")
def test_killed_trainings_end_as_if_they_had_not_been_killed():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, str(SOAK), "--kills", "5", "--seed", "3", "--no-figures"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 kills of" in done.stdout
