"""Processes that share an evaluation: who does what, how the first gets what others found, and an end for all when one ends.

They talk through torch's store, a dictionary that torchrun or the first process serves. It needs no files that all see, and
whoever leaves it without a word is noticed.
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

from ccvae.distributed.shard import launched_shard

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

__all__ = ["Team", "launched_team"]

Made = TypeVar("Made")

LONGEST_START = 600.0
"""Seconds that processes wait for each other to start."""
LONGEST_SILENCE = 30.0
"""Seconds after which a process that has not been heard of is lost; each says every second that it is there."""
SECONDS_BETWEEN_LOOKS = 1.0
MOST_CHARACTERS = 2**22
"""Of a text in the store, whose values may take 8 MiB."""
FIRST_PORT, PORTS = 15_000, 10_000
"""Where processes that srun started meet, of which it says only how many there are."""


@dataclass(frozen=True)
class Team:
    """The processes that share one evaluation.

    Args:
        process: this one's number, from 0.
        processes: how many there are.
        on_machine: this one's number on its machine.
        store: through which they talk; one alone has none.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    store: Store | None = None
    parting: threading.Event = field(default_factory=threading.Event, init=False)
    """Set once this process needs the others no more."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def turns(self, parts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """This process's parts, each with its place among all: the next one goes to whoever is free first."""
        if self.store is None:
            yield from enumerate(parts)
            return
        while (place := self.store.add("taken", 1) - 1) < len(parts):
            yield place, parts[place]

    def after_the_first(self, make: Callable[[], Made]) -> Made:
        """What a function gives; it is called in the first process, and when it is done there, in the others."""
        if self.store is None:
            return make()
        if not self.first:
            self.wait_for("first has made it")
        made = make()
        if self.first:
            self.store.add("first has made it", 1)
        return made

    def gathered(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """In the first process what all have found, when all have; in the others nothing, and they may leave.

        Args:
            found: what this process has found, by name, as JSON can hold it.
        """
        if self.store is None:
            return dict(found)
        if not self.first:
            text = json.dumps(found)
            pieces = range(0, len(text), MOST_CHARACTERS)
            for number, start in enumerate(pieces):
                self.store.set(f"found {self.rank}.{number}", text[start : start + MOST_CHARACTERS])
            self.parting.set()  # nobody looks for it, or it for the first one, when it is through
            self.store.add(f"pieces {self.rank}", len(pieces))
            return {}
        everything = dict(found)
        for other in range(1, self.world_size):
            pieces = range(self.wait_for(f"pieces {other}"))
            texts = [self.store.get(f"found {other}.{number}").decode() for number in pieces]
            everything |= json.loads("".join(texts))
        return everything

    def wait_for(self, name: str) -> int:
        """A number in the store, once it is no longer 0."""
        assert self.store is not None
        while not (number := self.store.add(name, 0)):
            time.sleep(0.1)
        return number

    def watch(self) -> None:
        """Say that this process is there, and end it when another is lost; until it parts from them."""
        assert self.store is not None
        others = range(1, self.world_size) if self.first else range(1)
        heard = dict.fromkeys(others, 0)
        when = dict.fromkeys(others, time.monotonic())
        while not self.parting.wait(SECONDS_BETWEEN_LOOKS):
            try:
                self.store.add(f"beat {self.rank}", 1)
                if self.store.add("failed", 0):
                    self.end(self.store.get("failure").decode())
                for other in others:
                    beat, now = self.store.add(f"beat {other}", 0), time.monotonic()
                    if beat != heard[other] or self.store.add(f"pieces {other}", 0):
                        heard[other], when[other] = beat, now
                    elif now - when[other] > (LONGEST_SILENCE if beat else LONGEST_START):
                        self.end(f"process {other} of this evaluation has not been heard of for {now - when[other]:.0f} s")
            except RuntimeError as error:
                self.end(unreachable(error))

    def end(self, reason: str) -> None:
        """End this process, whatever it is at, unless it has parted from the others meanwhile."""
        if self.parting.is_set():
            return
        sys.stderr.write(f"ccvae evaluate: {reason}; this one ends too\n")
        sys.stderr.flush()
        os._exit(1)


@contextmanager
def launched_team() -> Iterator[Team]:
    """The processes that torchrun or srun started for one evaluation, or this one alone.

    Within, this process ends with a message, whatever it is at, when another has ended or is lost.

    Raises:
        ConnectionError: they did not find each other, or have lost the first.
    """
    shard, local_rank = launched_shard(1)
    if shard.world_size == 1:
        yield Team(local_rank=local_rank)
        return
    from torch.distributed import DistError

    team = Team(shard.rank, shard.world_size, local_rank, meeting(shard.rank, shard.world_size))
    watching = threading.Thread(target=team.watch, daemon=True)
    watching.start()
    try:
        yield team
    except BaseException as error:
        report(team, error)
        if isinstance(error, DistError):
            raise ConnectionError(unreachable(error)) from error
        raise
    finally:
        team.parting.set()
        watching.join()


def report(team: Team, error: BaseException) -> None:
    """Tell the other processes why this one ends."""
    if team.store is None or team.parting.is_set():
        return
    team.parting.set()
    try:
        team.store.set("failure", f"process {team.rank} of this evaluation has failed ({first_line(error)})")
        team.store.add("failed", 1)
    except RuntimeError:
        return  # they are gone as well
    if team.first:
        time.sleep(2 * SECONDS_BETWEEN_LOOKS)  # the store may end with this process; the others read it before


def meeting(rank: int, world_size: int) -> Store:
    """The store of the processes that torchrun or srun started, when all are there."""
    from torch.distributed import rendezvous  # type: ignore[attr-defined]

    if "MASTER_ADDR" not in os.environ and "SLURM_JOB_ID" in os.environ:
        from lightning.fabric.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]

        machines = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        os.environ["MASTER_ADDR"] = SLURMEnvironment.resolve_root_node_address(machines)
    if "MASTER_PORT" not in os.environ and "SLURM_JOB_ID" in os.environ:
        step = int(os.environ["SLURM_JOB_ID"]) + int(os.environ.get("SLURM_STEP_ID", "0"))
        os.environ["MASTER_PORT"] = str(FIRST_PORT + step % PORTS)
    try:
        store: Store = next(rendezvous("env://", rank, world_size, timeout=timedelta(seconds=LONGEST_START)))[0]
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        raise ConnectionError(
            f"the {world_size} processes of this evaluation do not find each other at {place} ({first_line(error)}); "
            "the variables MASTER_ADDR and MASTER_PORT say where they meet: a free port of the first one's machine"
        ) from error
    store.set_timeout(timedelta(seconds=LONGEST_SILENCE))
    return store


def unreachable(error: BaseException) -> str:
    """What it means that the store gives an error."""
    return f"the first process of this evaluation cannot be reached any more ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """What an error says, without what torch adds for its developers."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
