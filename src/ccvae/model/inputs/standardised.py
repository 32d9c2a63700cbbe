"""What input columns of numbers and of dates have in common: one feature of mean 0 and variance 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Standardised"]


@dataclass(frozen=True)
class Standardised:
    """A column of quantities, which becomes one feature of mean 0 and variance 1.

    Args:
        name: the column's name.
        mean: what is taken away.
        scale: what the rest is divided by, unless it is 0, as for a column that is constant.

    >>> Standardised("age", 40.0, 10.0).standardise(np.array([50.0, 0.0]), np.array([False, True]))
    array([[1.],
           [0.]])
    """

    name: str
    mean: float
    scale: float

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        return (self.name,)

    @property
    def constant(self) -> bool:
        """Whether all its cells were the same."""
        return self.scale == 0

    def standardise(self, quantities: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Features `(rows, 1)` of quantities `(rows,)`: 0, the mean, where missing."""
        return np.where(missing, 0, (quantities - self.mean) / (self.scale or 1))[:, None]

    def quantities(self, features: np.ndarray) -> np.ndarray:
        """Quantities `(rows,)` of features `(rows, 1)`."""
        found: np.ndarray = features[:, 0] * self.scale + self.mean
        return found
