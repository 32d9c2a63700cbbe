"""Batches: sliced whole from the data, in an order that depends on seed and step alone, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.data.loaders.device_inputs import DeviceInputs, sent
from ccvae.data.soft_labels import drawn_classes
from ccvae.data.soft_targets import SoftTargets
from ccvae.data.stratification import balancing_weights
from ccvae.distributed.shard import Shard

__all__ = ["Batches", "SplitBatches"]

Step = TypeVar("Step")
Read = TypeVar("Read")


class Batches:
    """Endless training batches, an epoch at a time; a stateful loader in Lightning's sense.

    In distributed training each process gets its shard of every batch, so batches do not depend on the number of processes.

    Args:
        data: what to train on: its training split.
        batch_size: rows per batch over all processes; all rows, if there are fewer.
        seed: random seed of the order.
        labelled_share: minimum fraction of labelled rows per batch. Where fewer rows have labels, each batch takes this
            fraction from them and the rest from rows without, and an epoch is a pass over the latter. None samples uniformly.
        balanced: sample labelled rows (all rows, where they are not sampled separately) with replacement, and those of rare
            label values more often (see `ccvae.data.stratification.balancing_weights`).
        inputs: the data's inputs on the device that trains; on the CPU if not given.
        rank: rank of this process.
        world_size: number of processes.
        passes: number of passes over the rows in an epoch.
        targets: what missing labels are filled with; they stay missing if not given.

    Raises:
        ValueError: there are fewer than two rows, or no labels; the share leaves no room for either kind of row; or a batch has
            fewer rows than there are processes.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        seed: int = 0,
        labelled_share: float | None = None,
        balanced: bool = False,
        inputs: DeviceInputs | None = None,
        rank: int = 0,
        world_size: int = 1,
        passes: int = 1,
        targets: SoftTargets | None = None,
    ) -> None:
        rows = data.splits["train"]
        labelled = ~np.isnan(data.labels[rows]).all(axis=1)
        if len(rows) < 2:
            raise ValueError(f"training needs at least 2 rows, found {len(rows)}; make the other splits smaller")
        if not labelled.any():
            raise ValueError("no training row has an observed label; give some, or check that ids and table match")
        self.data, self.inputs = data, inputs or DeviceInputs(data)
        self.seed = seed
        self.passes, self.targets = passes, targets
        self.position = 0
        self.orders: dict[int, tuple[int, np.ndarray]] = {}
        if labelled_share is None or labelled.mean() >= labelled_share:
            self.pools, self.sizes = [rows], [min(batch_size, len(rows))]
        else:
            count = round(batch_size * labelled_share)
            if not 0 < count < batch_size:
                raise ValueError(
                    f"labelled_share: {labelled_share} of {batch_size} rows makes {count} labelled ones; "
                    "leave at least one row of either kind, or set it to None"
                )
            self.pools = [rows[~labelled], rows[labelled]]
            self.sizes = [min(batch_size - count, len(self.pools[0])), count]
        self.reached = np.cumsum(balancing_weights(data.labels[self.pools[-1]], data.space)) if balanced else None
        self.shard = Shard(sum(self.sizes), rank, world_size)
        if self.shard.total < world_size:
            raise ValueError(
                f"batch_size: a batch of {self.shard.total} rows cannot be shared by {world_size} processes; "
                "raise batch_size, or lower devices or num_nodes"
            )

    def __len__(self) -> int:
        return self.passes * (len(self.pools[0]) // self.sizes[0])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        steps = range(self.position, (self.position // len(self) + 1) * len(self))
        # an accelerator computes while the processor reads on
        batches = map(self.read, steps) if self.inputs.near else ahead(self.read, steps)
        for step, (inputs, labels) in zip(steps, batches, strict=True):
            self.position = step + 1
            yield self.inputs.floats(inputs), sent(labels, self.inputs.device)

    def read(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """This process's share of a batch: what of its inputs is to be sent to the device, and labels."""
        rows = self.rows(step)
        return self.inputs.read(rows[self.shard.rows]), self.labels(rows, step)[self.shard.rows]

    def labels(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Labels of a batch: drawn where a row has probabilities, and from the soft targets where they are missing."""
        labels = np.array(self.data.labels[rows])
        generator = np.random.default_rng([self.seed, len(self.pools), step])
        for name, probabilities in self.data.soft.items():
            drawn = drawn_classes(probabilities[rows], generator)
            column = self.data.space.index(name)
            labels[:, column] = np.where(np.isnan(labels[:, column]), np.nan, drawn)
        return labels if self.targets is None else self.targets.fill(labels, rows, generator)

    def rows(self, step: int) -> np.ndarray:
        """Rows of a batch, sorted: memory maps are read fastest in order."""
        return np.sort(np.concatenate([self.part(number, step) for number in range(len(self.pools))]))

    def part(self, number: int, step: int) -> np.ndarray:
        """The rows of a batch that come from one pool."""
        pool, size = self.pools[number], self.sizes[number]
        if self.reached is not None and number == len(self.pools) - 1:
            level = np.random.default_rng([self.seed, number, step]).random(size) * self.reached[-1]
            return np.asarray(pool[np.searchsorted(self.reached, level, side="right").clip(max=len(pool) - 1)])
        # whole batches of the first pool a pass; the second goes round and round, over the end of one pass into the next
        turn, place = divmod(step, len(pool) // size) if number == 0 else (0, step)
        first = turn * len(pool) + place * size
        return np.concatenate([self.shuffled(number, turn)[start:stop] for turn, start, stop in turns(first, size, len(pool))])

    def shuffled(self, number: int, turn: int) -> np.ndarray:
        """A pool in the order of one pass over it, kept until another is asked for."""
        if self.orders.get(number, (-1,))[0] != turn:
            self.orders[number] = (turn, np.random.default_rng([self.seed, number, turn]).permutation(self.pools[number]))
        return self.orders[number][1]

    def state_dict(self) -> dict[str, Any]:
        """How many batches there were."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after those."""
        self.position = state["position"]


def turns(first: int, count: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Passes over `length` places, with the first and last place in each, that hold places `first` to `first + count`."""
    while count > 0:
        turn, start = divmod(first, length)
        taken = min(count, length - start)
        yield turn, start, start + taken
        first, count = first + taken, count - taken


def ahead(read: Callable[[Step], Read], steps: Iterable[Step]) -> Iterator[Read]:
    """What a function reads of each step, by a thread that is one step ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for step in steps:
            following = pool.submit(read, step)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


class SplitBatches:
    """All rows of a split, in order.

    Args:
        data: whose rows.
        split: "train", "validation" or "test".
        batch_size: rows per batch over all processes; the last may have fewer.
        inputs: see `Batches`.
        rank: see `Batches`; the last batch's shard may be empty.
        world_size: see `Batches`.
    """

    def __init__(
        self,
        data: Dataset,
        split: str,
        batch_size: int = 200,
        inputs: DeviceInputs | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.data, self.rows, self.batch_size = data, data.splits[split], batch_size
        self.inputs = inputs or DeviceInputs(data)
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(len(self)):
            rows = self.rows[number * self.batch_size :][self.shard(number).rows]
            yield self.inputs.floats(self.inputs.read(rows)), sent(self.data.labels[rows], self.inputs.device)

    def shard(self, number: int) -> Shard:
        """Which rows of a batch are here."""
        return Shard(min(self.batch_size, len(self.rows) - number * self.batch_size), self.rank, self.world_size)
