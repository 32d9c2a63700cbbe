"""Tables of points along the direction that a binary classifier sees, for `ccvae.distributions.tilted_normal` and
`ccvae.distributions.logistic_normal`.

A table's points e_j = c + r sinh(t_j), with t_j equally spaced, crowd around c, near where the sigmoid turns, at
e = −beta / alpha: there its poles come nearest to the real axis. The trapezoid rule in t is spectrally accurate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LOG2_E", "LOG_ROOT_TWO_PI", "Grid", "found_where", "on_accelerator", "product", "row_chunks", "sums_to_middles"]

STRETCH = 3.5
"""The largest t: how much closer the points are at c than at the ends."""
ROWS_AT_ONCE, ROWS_ON_ACCELERATOR = 1 << 12, 1 << 18
"""Rows of a table made together, so that it stays in a processor's cache and memory does not grow with the labels."""
LOG_ROOT_TWO_PI = math.log(2 * math.pi) / 2
LOG2_E = 1 / math.log(2)


class Grid(NamedTuple):
    """The points, as functions of their index: `(points,)`."""

    offset: Tensor  # e − c
    powers: Tensor  # of that, from 0 to 3, (4, points)
    spacing: Tensor  # de / dj
    bend: Tensor  # d log spacing / dj
    log_weights: Tensor  # log spacing − (e − c)² / 2; less c (e − c), how a standard Normal weighs points, but for a factor
    margin: float  # how far c may leave the mode of what is integrated

    @classmethod
    def like(cls, tensor: Tensor) -> Grid:
        """The grid for a tensor's precision, on its device; it covers eight, or six, standard deviations around all mass."""
        points, reach, margin = (64, 11.0, 3.0) if tensor.dtype == torch.float64 else (40, 8.5, 2.5)
        t = torch.linspace(-STRETCH, STRETCH, points, dtype=tensor.dtype, device=tensor.device)
        step, radius = 2 * STRETCH / (points - 1), reach / math.sinh(STRETCH)
        offset, spacing = radius * t.sinh(), radius * step * t.cosh()
        powers = torch.stack([offset**power for power in range(4)])
        return cls(offset, powers, spacing, step * t.tanh(), spacing.log() - offset.square() / 2, margin)


def on_accelerator(tensor: Tensor) -> bool:
    """Whether to compute as on an accelerator, without waiting for values: on one, and in graphs that are exported."""
    return tensor.device.type != "cpu" or torch.compiler.is_exporting()


def row_chunks(tensor: Tensor) -> Iterator[slice]:
    """A few rows at a time; at least one chunk, however empty."""
    if torch.compiler.is_exporting():  # the number of rows is not known
        yield slice(None)
        return
    count = ROWS_ON_ACCELERATOR if on_accelerator(tensor) else ROWS_AT_ONCE
    for start in range(0, max(len(tensor), 1), count):
        yield slice(start, start + count)


def found_where(where: Tensor, count: int, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """What a function finds in some cells, `(count, *cells)`, and zeros in the rest.

    Args:
        where: which cells.
        count: how many quantities it finds.
        function: from arguments `(rows,)` to `(count, rows)`.
        arguments: of the cells' shape.
    """
    flat, given = where.flatten(), [argument.flatten() for argument in arguments]
    if on_accelerator(where):
        # it would have to be waited for to know which rows they are; to it, all of them cost no more
        found = torch.where(flat, function(*given), 0)
    else:
        found, rows = given[0].new_zeros(count, len(flat)), flat.nonzero()[:, 0]
        if len(rows):
            found.index_copy_(1, rows, function(*(argument[rows] for argument in given)))
    return found.view(count, *where.shape)


def product(few: Tensor, table: Tensor) -> Tensor:
    """Matrices multiplied, in full precision: an accelerator may have been told to round what it multiplies as matrices."""
    if on_accelerator(table):
        return torch.stack([(row[:, None] * table).sum(0) for row in few])
    return few @ table


def sums_to_middles(table: Tensor) -> Tensor:
    """Of each point in a table, the sum over all before it and half its own: in its shape."""
    if on_accelerator(table):
        return table.cumsum(0).sub_(table, alpha=0.5)
    index = torch.arange(len(table), dtype=table.dtype)
    return (index[:, None] - index + 0.5).clamp(0, 1) @ table  # faster there
