"""A work queue shared by the processes of one evaluation.

Each process claims the next task, the first process gathers all results, and when one process ends, all end. Processes talk
through torch's store, a dictionary served by torchrun or by the first process: it needs no shared file system, and a process
that disappears is noticed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ccvae.distributed.shard import process_rank

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

__all__ = ["WorkQueue", "launched_work_queue"]

Result = TypeVar("Result")

STARTUP_TIMEOUT = 600.0
"""Seconds that processes wait for each other to start."""
HEARTBEAT_TIMEOUT = 30.0
"""Seconds without a heartbeat after which a process counts as lost."""
SECONDS_BETWEEN_HEARTBEATS = 1.0
MOST_CHARACTERS = 2**22
"""Longest text written to the store at once; its values may take 8 MiB."""
FIRST_PORT, PORTS = 15_000, 10_000
"""Ports at which processes started by srun meet: srun gives them no port."""


@dataclass(frozen=True)
class WorkQueue:
    """Tasks shared by several processes; without a store, this process does them all.

    Args:
        rank: number of this process, from 0.
        world_size: number of processes.
        local_rank: number of this process among those on its machine.
        store: torch's store through which the processes talk; None for a single process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    store: Store | None = None
    finished: threading.Event = field(default_factory=threading.Event, init=False)
    """Set once this process no longer depends on the others, nor they on it."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def claimed(self, tasks: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Tasks for this process, each with its index: the next task goes to the first process that is free."""
        if self.store is None:
            yield from enumerate(tasks)
            return
        while (index := self.store.add("claimed", 1) - 1) < len(tasks):
            yield index, tasks[index]

    def first_process_first(self, function: Callable[[], Result]) -> Result:
        """Result of a function that the first process calls before the others do, for example to fill a cache."""
        if self.store is None:
            return function()
        if not self.is_first:
            self.wait_for("first process done")
        result = function()
        if self.is_first:
            self.store.add("first process done", 1)
        return result

    def gather(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """In the first process, the results of all processes, once all have finished; an empty dictionary in the others.

        Args:
            results: results of this process by name, as JSON stores them.
        """
        if self.store is None:
            return dict(results)
        if not self.is_first:
            text = json.dumps(results)
            pieces = range(0, len(text), MOST_CHARACTERS)
            for number, start in enumerate(pieces):
                self.store.set(f"results {self.rank}.{number}", text[start : start + MOST_CHARACTERS])
            self.finished.set()  # the first process has all it needs from this one
            self.store.add(f"pieces {self.rank}", len(pieces))
            return {}
        gathered = dict(results)
        for other in range(1, self.world_size):
            pieces = range(self.wait_for(f"pieces {other}"))
            texts = [self.store.get(f"results {other}.{number}").decode() for number in pieces]
            gathered |= json.loads("".join(texts))
        return gathered

    def wait_for(self, name: str) -> int:
        """A number in the store, as soon as it is not 0."""
        assert self.store is not None
        while not (number := self.store.add(name, 0)):
            time.sleep(0.1)
        return number

    def watch(self) -> None:
        """Send heartbeats until `finished` is set, and end this process when another is lost or has failed."""
        assert self.store is not None
        others = range(1, self.world_size) if self.is_first else range(1)
        beats = dict.fromkeys(others, 0)
        last_heard = dict.fromkeys(others, time.monotonic())
        while not self.finished.wait(SECONDS_BETWEEN_HEARTBEATS):
            try:
                self.store.add(f"beat {self.rank}", 1)
                if self.store.add("failed", 0):
                    self.exit(self.store.get("failure").decode())
                for other in others:
                    beat, now = self.store.add(f"beat {other}", 0), time.monotonic()
                    if beat != beats[other] or self.store.add(f"pieces {other}", 0):
                        beats[other], last_heard[other] = beat, now
                    elif now - last_heard[other] > (HEARTBEAT_TIMEOUT if beat else STARTUP_TIMEOUT):
                        self.exit(f"process {other} of this evaluation has not responded for {now - last_heard[other]:.0f} s")
            except RuntimeError as error:
                self.exit(unreachable(error))

    def exit(self, reason: str) -> None:
        """End this process at once, unless it no longer depends on the others."""
        if self.finished.is_set():
            return
        sys.stderr.write(f"ccvae evaluate: {reason}; this one ends too\n")
        sys.stderr.flush()
        os._exit(1)


@contextmanager
def launched_work_queue() -> Iterator[WorkQueue]:
    """The work queue of the processes that torchrun or srun started, or of this process alone.

    Within, this process ends with a message as soon as another one has failed or is lost.

    Raises:
        ConnectionError: the processes do not find each other, or the first one is lost.
    """
    process = process_rank()
    if process.world_size == 1:
        yield WorkQueue(local_rank=process.local_rank)
        return
    from torch.distributed import DistError

    store = shared_store(process.rank, process.world_size)
    queue = WorkQueue(process.rank, process.world_size, process.local_rank, store)
    watcher = threading.Thread(target=queue.watch, daemon=True)
    watcher.start()
    try:
        yield queue
    except BaseException as error:
        report_failure(queue, error)
        if isinstance(error, DistError):
            raise ConnectionError(unreachable(error)) from error
        raise
    finally:
        queue.finished.set()
        watcher.join()


def report_failure(queue: WorkQueue, error: BaseException) -> None:
    """Tell the other processes why this one fails."""
    if queue.store is None or queue.finished.is_set():
        return
    queue.finished.set()
    try:
        queue.store.set("failure", f"process {queue.rank} of this evaluation has failed ({first_line(error)})")
        queue.store.add("failed", 1)
    except RuntimeError:
        return  # the others have ended too
    if queue.is_first:
        time.sleep(2 * SECONDS_BETWEEN_HEARTBEATS)  # the store may end with this process: let the others read it first


def shared_store(rank: int, world_size: int) -> Store:
    """The store shared by the processes that torchrun or srun started; waits until all are connected."""
    from torch.distributed import rendezvous  # type: ignore[attr-defined]

    if "MASTER_ADDR" not in os.environ and "SLURM_JOB_ID" in os.environ:
        from lightning.fabric.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]

        machines = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        os.environ["MASTER_ADDR"] = SLURMEnvironment.resolve_root_node_address(machines)
    if "MASTER_PORT" not in os.environ and "SLURM_JOB_ID" in os.environ:
        step = int(os.environ["SLURM_JOB_ID"]) + int(os.environ.get("SLURM_STEP_ID", "0"))
        os.environ["MASTER_PORT"] = str(FIRST_PORT + step % PORTS)
    try:
        store: Store = next(rendezvous("env://", rank, world_size, timeout=timedelta(seconds=STARTUP_TIMEOUT)))[0]
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        raise ConnectionError(
            f"the {world_size} processes of this evaluation cannot connect to each other at {place} ({first_line(error)}); "
            "set MASTER_ADDR and MASTER_PORT to the first process's machine and a free port on it"
        ) from error
    store.set_timeout(timedelta(seconds=HEARTBEAT_TIMEOUT))
    return store


def unreachable(error: BaseException) -> str:
    """Message for an error of the store: the process that serves it is gone."""
    return f"the first process of this evaluation cannot be reached ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """First line of an error's message, without the stack trace that torch adds."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
