"""Quadrature along one direction, for `ccvae.distributions.tilted_normal` and `ccvae.distributions.logistic_normal`.

The points e_j = c + r sinh(t_j), with equally spaced t_j, are dense around c, which is near e = −beta / alpha, where the logit
is
zero: there the poles of the sigmoid are nearest to the real axis. The trapezoidal rule in t converges exponentially (Takahasi
and Mori 1974; Trefethen and Weideman 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LOG2_E", "LOG_ROOT_TWO_PI", "Grid", "found_where", "on_accelerator", "product", "row_chunks", "sums_to_middles"]

STRETCH = 3.5
"""The largest t: how much denser the points are at c than at the ends."""
ROWS_AT_ONCE, ROWS_ON_ACCELERATOR = 1 << 12, 1 << 18
"""Rows of a table computed together, so that it stays in the CPU cache and memory does not grow with the number of labels."""
LOG_ROOT_TWO_PI = math.log(2 * math.pi) / 2
LOG2_E = 1 / math.log(2)


class Grid(NamedTuple):
    """The points and what depends on them alone: `(points,)` each, unless noted.

    >>> grid = Grid.like(torch.zeros(1))
    >>> round((grid.log_weights.exp().sum() / math.sqrt(2 * math.pi)).item(), 4)  # integrates a standard Normal
    1.0
    """

    offset: Tensor  # e − c
    powers: Tensor  # powers 0 to 3 of the offset, (4, points)
    spacing: Tensor  # de / dj
    bend: Tensor  # d log spacing / dj
    log_weights: Tensor  # log spacing − (e − c)² / 2; minus c (e − c): log weight under a standard Normal, up to a constant
    margin: float  # how far c may be from the mode of the integrand

    @classmethod
    def like(cls, tensor: Tensor) -> Grid:
        """The grid for a tensor's precision, on its device: 64 points for float64, 40 for float32."""
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
    """A few rows at a time; at least one chunk, even if there are no rows."""
    if torch.compiler.is_exporting():  # the number of rows is not known
        yield slice(None)
        return
    count = ROWS_ON_ACCELERATOR if on_accelerator(tensor) else ROWS_AT_ONCE
    for start in range(0, max(len(tensor), 1), count):
        yield slice(start, start + count)


def found_where(where: Tensor, count: int, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """Evaluate a function in some cells only; zeros in the rest.

    Args:
        where: which cells, booleans of any shape `(*cells)`.
        count: number of quantities that the function gives.
        function: from arguments `(rows,)` to `(count, rows)`.
        arguments: tensors `(*cells)`.

    Returns:
        `(count, *cells)`.

    >>> found_where(torch.tensor([True, False]), 1, lambda x: x.log()[None], torch.tensor([1.0, -1.0]))
    tensor([[0., 0.]])
    """
    flat, given = where.flatten(), [argument.flatten() for argument in arguments]
    if on_accelerator(where):
        # selecting rows would need a synchronisation, which takes longer than to compute all of them
        found = torch.where(flat, function(*given), 0)
    else:
        found, rows = given[0].new_zeros(count, len(flat)), flat.nonzero()[:, 0]
        if len(rows):
            found.index_copy_(1, rows, function(*(argument[rows] for argument in given)))
    return found.view(count, *where.shape)


def product(few: Tensor, table: Tensor) -> Tensor:
    """Matrix product of a few rows and a table, in full precision, which accelerators may lower."""
    if on_accelerator(table):
        return torch.stack([(row[:, None] * table).sum(0) for row in few])
    return few @ table


def sums_to_middles(table: Tensor) -> Tensor:
    """Cumulative sums to the middle of each entry: the sum over all entries before it and half its own, in the table's shape.

    >>> sums_to_middles(torch.tensor([[2.0], [4.0]])).T
    tensor([[1., 4.]])
    """
    if on_accelerator(table):
        return table.cumsum(0).sub_(table, alpha=0.5)
    index = torch.arange(len(table), dtype=table.dtype)
    return (index[:, None] - index + 0.5).clamp(0, 1) @ table  # faster there
