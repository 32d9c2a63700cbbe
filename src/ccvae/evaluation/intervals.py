"""How sure a number is: bootstrap intervals over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Estimate", "bootstrap", "mean_estimates", "resamples", "share_estimate"]

DRAWS = 200
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A number measured on some rows, with the interval that holds it in 95 % of the resamples of those rows.

    Args:
        value: the number, NaN where it cannot be computed.
        low: lower end of the interval.
        high: upper end.
        rows: how many rows it rests on.
    """

    value: float
    low: float
    high: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it; what is not a finite number becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()} | {"rows": self.rows}


def resamples(rows: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Row numbers `(draws, rows)`, each draw with replacement; the same for the same arguments, so that numbers can be paired."""
    return np.random.default_rng(seed).integers(rows, size=(draws, rows))


def bootstrap(statistics: Callable[[np.ndarray], dict[str, float]], rows: int, draws: int = DRAWS) -> dict[str, Estimate]:
    """Estimates of statistics that are computed from chosen rows.

    Args:
        statistics: named numbers of rows `(count,)`; those that are NaN in a resample are left out of their interval.
        rows: how many rows there are.
        draws: how many resamples.
    """
    if not rows:
        raise ValueError("bootstrap: there are no rows to measure on; choose a split that has some")
    values = statistics(np.arange(rows))
    drawn = [statistics(chosen) for chosen in resamples(rows, draws)]
    return {name: with_interval(value, np.array([each[name] for each in drawn]), rows) for name, value in values.items()}


def mean_estimates(values: np.ndarray, draws: int = DRAWS) -> list[Estimate]:
    """Estimates of the mean of every column of `(rows, columns)`; NaN entries do not count."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    counts = np.stack([np.bincount(chosen, minlength=len(values)) for chosen in resamples(len(values), draws)]).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(0) / known.sum(0)
        drawn = (counts @ filled) / (counts @ known)
    return [
        with_interval(float(mean), drawn[:, column], int(known[:, column].sum())) for column, mean in enumerate(means.tolist())
    ]


def share_estimate(hits: Sequence[bool] | np.ndarray) -> Estimate:
    """Estimate of the share of rows `(rows,)` that are true; NaN entries do not count."""
    return mean_estimates(np.asarray(hits, dtype=float)[:, None])[0]


def with_interval(value: float, drawn: np.ndarray, rows: int) -> Estimate:
    """An estimate from the statistic on all rows and on resamples."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), rows)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high), rows)
