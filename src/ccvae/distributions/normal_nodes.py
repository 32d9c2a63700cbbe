"""Nodes for integrals over a standard Normal in several dimensions: a lattice, or randomised Sobol points.

A lattice is nearly exact, but its size grows exponentially with the dimensions; here it serves one to three. Sobol points serve
any number of dimensions. Shifted by a random vector (Cranley and Patterson 1976; L'Ecuyer and Lemieux 2002), every single point
is uniformly distributed, so the mean of a function over the points is an unbiased estimate of its integral.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["LATTICES", "lattice", "normal_nodes", "shifted_nodes", "sobol_points"]

LATTICES = {1: (0.1, 7.0), 2: (0.5, 6.0), 3: (1.0, 5.0)}
"""Spacing and radius of a lattice by dimensions, in standard deviations."""


def lattice(size: int) -> tuple[Tensor, Tensor]:
    """Nodes of a lattice in a ball, and the weights that a standard Normal gives them, in float64.

    A softmax has poles near the real axis; for such functions sums over a lattice converge much faster than Gauss–Hermite's
    rule (Trefethen and Weideman 2014, The exponentially convergent trapezoidal rule).

    Args:
        size: dimensions, 1 to 3.

    Returns:
        Nodes `(count, size)` and weights `(count,)`, which sum to 1.

    >>> nodes, weights = lattice(2)
    >>> (weights @ nodes.square()).round(decimals=6)  # the variances
    tensor([1., 1.], dtype=torch.float64)
    """
    spacing, radius = LATTICES[size]
    steps = round(radius / spacing)
    axis = spacing * torch.arange(-steps, steps + 1, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
    nodes = nodes[nodes.square().sum(-1) <= radius**2 + 1e-9]
    return nodes, (-nodes.square().sum(-1) / 2).softmax(0)


def sobol_points(size: int, count: int) -> Tensor:
    """The first points of a scrambled Sobol sequence (Owen 1998), always the same, in float64.

    Args:
        size: dimensions.
        count: how many points; best a power of two.

    Returns:
        Points in [−1, 1), `(count, size)`.

    >>> sobol_points(3, 256).abs().mean(0).round(decimals=2)
    tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    uniform = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(count, dtype=torch.float64)
    return 2 * uniform - 1


def normal_nodes(points: Tensor) -> Tensor:
    """Nodes of a standard Normal: the Normal quantiles of points in (−1, 1), in their shape.

    >>> normal_nodes(torch.tensor([-0.682689, 0.0, 0.682689]))
    tensor([-1.0000,  0.0000,  1.0000])
    """
    largest = 1 - torch.finfo(points.dtype).eps
    return math.sqrt(2) * torch.erfinv(points.clamp(-largest, largest))


def shifted_nodes(points: Tensor, noise: Tensor) -> Tensor:
    """Nodes of a standard Normal, randomised by a shift for each cell.

    Args:
        points: `(count, size)`, in [−1, 1).
        noise: standard Normal numbers `(…, size)`: where each cell's node for a point at zero lies.

    Returns:
        Nodes `(count, …, size)`. Each of them is a standard Normal vector if `noise` is.

    >>> shifted_nodes(torch.tensor([[0.0], [0.5]]), torch.tensor([1.0])).T
    tensor([[ 1.0000, -1.3325]])
    """
    shift = torch.erf(noise / math.sqrt(2))
    points = points.view(len(points), *[1] * (noise.ndim - 1), -1)
    return normal_nodes((points + (shift + 1)).remainder(2) - 1)
