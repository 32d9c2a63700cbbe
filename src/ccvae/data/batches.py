"""Batches: sliced whole from the data, in an order that depends on seed and step alone, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Dataset

__all__ = ["Batches", "SplitBatches"]


class Batches:
    """Endless training batches, an epoch at a time; a stateful loader in Lightning's sense.

    Args:
        data: what to train on: its training split.
        batch_size: rows a batch; all there are, if fewer.
        seed: what decides the order.
        labelled_share: where fewer rows than this share have labels, this share of each batch is drawn from them and the rest
            from those without; an epoch is then a pass over the latter. None draws all rows alike.

    Raises:
        ValueError: there are fewer than two rows, or no labels; or the share leaves no room for either kind of row.
    """

    def __init__(self, data: Dataset, batch_size: int, seed: int = 0, labelled_share: float | None = None) -> None:
        rows = data.splits["train"]
        labelled = ~np.isnan(data.labels[rows]).all(axis=1)
        if len(rows) < 2:
            raise ValueError(f"training needs at least 2 rows, found {len(rows)}; make the other splits smaller")
        if not labelled.any():
            raise ValueError("no training row has an observed label; give some, or check that ids and table match")
        self.data = data
        self.seed = seed
        self.epoch = 0
        self.step = 0
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

    def __len__(self) -> int:
        return len(self.pools[0]) // self.sizes[0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.step >= len(self):
            self.epoch, self.step = self.epoch + 1, 0
        while self.step < len(self):
            rows = self.rows(self.epoch * len(self) + self.step)
            self.step += 1
            yield self.data.tensor(rows), torch.tensor(self.data.labels[rows])

    def rows(self, step: int) -> np.ndarray:
        """Rows of a batch, sorted: memory maps are read fastest in order."""
        parts = []
        for number, (pool, size) in enumerate(zip(self.pools, self.sizes, strict=True)):
            # whole batches of the first pool a pass; the second goes round and round, over the end of one pass into the next
            first = step // len(self) * len(pool) + step % len(self) * size if number == 0 else step * size
            parts.append(
                np.concatenate([self.shuffled(number, turn)[start:stop] for turn, start, stop in turns(first, size, len(pool))])
            )
        return np.sort(np.concatenate(parts))

    def shuffled(self, number: int, turn: int) -> np.ndarray:
        """A pool in the order of one pass over it."""
        return np.random.default_rng([self.seed, number, turn]).permutation(self.pools[number])

    def state_dict(self) -> dict[str, Any]:
        """Where in training this is."""
        return {"epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.epoch, self.step = state["epoch"], state["step"]


def turns(first: int, count: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Passes over `length` places, with the first and last place in each, that hold places `first` to `first + count`."""
    while count > 0:
        turn, start = divmod(first, length)
        taken = min(count, length - start)
        yield turn, start, start + taken
        first, count = first + taken, count - taken


class SplitBatches:
    """All rows of a split, in order.

    Args:
        data: whose rows.
        split: "train", "validation" or "test".
        batch_size: rows a batch; the last may have fewer.
    """

    def __init__(self, data: Dataset, split: str, batch_size: int = 200) -> None:
        self.data, self.rows, self.batch_size = data, data.splits[split], batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            yield self.data.tensor(rows), torch.tensor(self.data.labels[rows])
