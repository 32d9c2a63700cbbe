"""Positive parameters: scales, stored as unconstrained numbers."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["SMALLEST_SCALE", "positive", "softplus_inverse"]

SMALLEST_SCALE = 1e-3
"""No scale is smaller: densities stay finite."""


def positive(raw: Tensor) -> Tensor:
    """Softplus (Dugas et al. 2001) plus `SMALLEST_SCALE`, in the shape of the unconstrained numbers.

    >>> import torch
    >>> positive(torch.tensor([-100.0, softplus_inverse(2.0)]))
    tensor([1.0000e-03, 2.0010e+00])
    """
    return softplus(raw) + SMALLEST_SCALE


def softplus_inverse(value: float) -> float:
    """The number whose softplus is a positive value, also for large values, where expm1 would overflow.

    >>> round(math.log1p(math.exp(softplus_inverse(0.5))), 6)
    0.5
    """
    return value + math.log(-math.expm1(-value))
