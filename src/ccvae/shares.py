"""A process's share of rows, where several processes have one task, and which of them is the first."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Share", "is_first_process", "launched_share"]

LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun
)
"""Environment variables with a process's number, how many there are, and its number on its machine."""


@dataclass(frozen=True)
class Share:
    """Which rows of a batch, or parts of another task, are one process's.

    With n processes it is every n-th, so that each holds its part of any kind of row.

    Args:
        total: rows of the whole batch.
        process: this process's number, from 0.
        processes: how many there are.

    >>> list(range(7))[Share(7, 1, 3).rows]
    [1, 4]
    """

    total: int
    process: int = 0
    processes: int = 1

    @property
    def rows(self) -> slice:
        """Where in the batch they are."""
        return slice(self.process, self.total, self.processes)


def launched_share(total: int) -> tuple[Share, int]:
    """This process's share of a task for which torchrun or srun started several, and its number on its machine.

    Without them, one process has it all.
    """
    for process, processes, on_machine in LAUNCHERS:
        if process in os.environ and processes in os.environ:
            return Share(total, int(os.environ[process]), int(os.environ[processes])), int(os.environ.get(on_machine, "0"))
    return Share(total), 0


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks, by the environment that torchrun, SLURM or Lightning gave it."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
