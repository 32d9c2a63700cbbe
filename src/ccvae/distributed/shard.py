"""A process's share of rows, where several processes have one task, and which of them is the first."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Shard", "is_first_process", "launched_shard"]

LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun
)
"""Environment variables with a process's number, how many there are, and its number on its machine."""


@dataclass(frozen=True)
class Shard:
    """Which rows of a batch, or parts of another task, are one process's.

    With n processes it is every n-th, so that each holds its part of any kind of row.

    Args:
        total: rows of the whole batch.
        process: this process's number, from 0.
        processes: how many there are.

    >>> list(range(7))[Shard(7, 1, 3).rows]
    [1, 4]
    """

    total: int
    rank: int = 0
    world_size: int = 1

    @property
    def rows(self) -> slice:
        """Where in the batch they are."""
        return slice(self.rank, self.total, self.world_size)


def launched_shard(total: int) -> tuple[Shard, int]:
    """This process's share of a task for which torchrun or srun started several, and its number on its machine.

    Without them, one process has it all.
    """
    for rank, world_size, local_rank in LAUNCHERS:
        if rank in os.environ and world_size in os.environ:
            return Shard(total, int(os.environ[rank]), int(os.environ[world_size])), int(os.environ.get(local_rank, "0"))
    return Shard(total), 0


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks, by the environment that torchrun, SLURM or Lightning gave it."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
