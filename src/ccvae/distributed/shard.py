"""Ranks and shards: which rows of a batch, or parts of another task, belong to this process."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["ProcessRank", "Shard", "is_first_process", "process_rank"]

LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun
)
"""Environment variables with rank, world size and local rank, by launcher."""


@dataclass(frozen=True)
class Shard:
    """The rows of a batch, or parts of another task, that belong to one process.

    Of n processes each takes every n-th row, so that rows of each kind are spread evenly.

    Args:
        total: number of rows in the whole batch.
        rank: number of this process, from 0.
        world_size: number of processes.

    >>> list(range(7))[Shard(7, 1, 3).rows]
    [1, 4]
    """

    total: int
    rank: int = 0
    world_size: int = 1

    @property
    def rows(self) -> slice:
        """Slice of the batch that selects this process's rows."""
        return slice(self.rank, self.total, self.world_size)


@dataclass(frozen=True)
class ProcessRank:
    """A process among those that a launcher started.

    Args:
        rank: its number among all processes, from 0.
        world_size: number of processes.
        local_rank: its number among those on its machine, from 0.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def process_rank() -> ProcessRank:
    """The rank that torchrun or srun gave to this process; a process that was started alone has rank 0 of 1."""
    for rank, world_size, local_rank in LAUNCHERS:
        if rank in os.environ and world_size in os.environ:
            return ProcessRank(*(int(os.environ.get(name, "0")) for name in (rank, world_size, local_rank)))
    return ProcessRank()


def is_first_process() -> bool:
    """Whether this process is the one that writes files and messages, whether torchrun, srun or Lightning started it."""
    process = process_rank()
    if process.world_size > 1:
        return process.rank == 0
    # Lightning numbers the processes that it starts itself by machine and within each machine
    return all(os.environ.get(name, "0") == "0" for name in ("NODE_RANK", "LOCAL_RANK"))
