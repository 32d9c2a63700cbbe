"""Batches: sliced whole from the data, in an order that depends on seed and step alone, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.data.soft_labels import drawn_classes
from ccvae.data.strata import balancing_weights

__all__ = ["Batches", "SplitBatches"]


class Batches:
    """Endless training batches, an epoch at a time; a stateful loader in Lightning's sense.

    Args:
        data: what to train on: its training split.
        batch_size: rows a batch; all there are, if fewer.
        seed: what decides the order.
        labelled_share: where fewer rows than this share have labels, this share of each batch is drawn from them and the rest
            from those without; an epoch is then a pass over the latter. None draws all rows alike.
        balanced: draw labelled rows (all rows, where they are not drawn apart) with replacement, and those of rare label values
            more often (see `ccvae.data.strata.balancing_weights`).

    Raises:
        ValueError: there are fewer than two rows, or no labels; or the share leaves no room for either kind of row.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        seed: int = 0,
        labelled_share: float | None = None,
        balanced: bool = False,
    ) -> None:
        rows = data.splits["train"]
        labelled = ~np.isnan(data.labels[rows]).all(axis=1)
        if len(rows) < 2:
            raise ValueError(f"training needs at least 2 rows, found {len(rows)}; make the other splits smaller")
        if not labelled.any():
            raise ValueError("no training row has an observed label; give some, or check that ids and table match")
        self.data = data
        self.seed = seed
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

    def __len__(self) -> int:
        return len(self.pools[0]) // self.sizes[0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(self.position, (self.position // len(self) + 1) * len(self)):
            rows = self.rows(step)
            self.position = step + 1
            yield self.data.tensor(rows), torch.tensor(self.labels(rows, step))

    def labels(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Labels of a batch; where a row knows probabilities, a value is drawn by them."""
        labels = np.array(self.data.labels[rows])
        generator = np.random.default_rng([self.seed, len(self.pools), step])
        for name, probabilities in self.data.soft.items():
            drawn = drawn_classes(probabilities[rows], generator)
            column = self.data.space.index(name)
            labels[:, column] = np.where(np.isnan(labels[:, column]), np.nan, drawn)
        return labels

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
        first = step // len(self) * len(pool) + step % len(self) * size if number == 0 else step * size
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
