"""Bootstrap confidence intervals over rows (Efron and Tibshirani, "An introduction to the bootstrap", 1993)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

__all__ = ["Estimate", "average", "bootstrap", "grand_mean", "mean_estimates", "plain", "resamples", "share_estimate"]

Name = TypeVar("Name", bound=Hashable)

DRAWS = 200
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval.

    Args:
        value: the number, NaN where it is undefined.
        low: lower end of the interval.
        high: upper end.
        rows: number of rows it is computed from.
    """

    value: float
    low: float
    high: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        """As in `metrics.json`; NaN and infinity become null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()} | {"rows": self.rows}


def resamples(rows: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Row numbers `(draws, rows)` drawn with replacement; the same for the same arguments."""
    return np.random.default_rng(seed).integers(rows, size=(draws, rows))


def bootstrap(statistics: Callable[[np.ndarray], dict[Name, float]], rows: int, draws: int = DRAWS) -> dict[Name, Estimate]:
    """Estimates of statistics computed from rows.

    Args:
        statistics: maps row numbers `(count,)` to named numbers; resamples in which a number is NaN do not count for it.
        rows: number of rows.
        draws: number of resamples.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("bootstrap: there are no rows to measure on; choose a split that has rows")
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


def grand_mean(values: np.ndarray, draws: int = DRAWS) -> Estimate:
    """Estimate of the mean of the columns' means of `(rows, columns)`; NaN entries do not count."""
    known = ~np.isnan(values)
    used = known.any(0)
    if not used.any():
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    known, filled = known[:, used], np.where(known, values, 0.0)[:, used]
    counts = np.stack([np.bincount(chosen, minlength=len(values)) for chosen in resamples(len(values), draws)]).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (counts @ filled) / (counts @ known)
    return with_interval(float((filled.sum(0) / known.sum(0)).mean()), drawn.mean(1), int(known.any(1).sum()))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of the estimates that are finite; the interval is conservative, as if all errors were perfectly correlated."""
    numbers = [each for each in estimates if np.isfinite(each.value)]
    if not numbers:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    value, low, high = (float(np.mean([getattr(each, end) for each in numbers])) for end in ("value", "low", "high"))
    return Estimate(value, low, high, sum(each.rows for each in numbers))


def share_estimate(hits: Sequence[bool] | np.ndarray) -> Estimate:
    """Estimate of the fraction of true entries `(rows,)`; NaN entries do not count."""
    return mean_estimates(np.asarray(hits, dtype=float)[:, None])[0]


def with_interval(value: float, drawn: np.ndarray, rows: int) -> Estimate:
    """An estimate from the statistic on all rows and on resamples.

    Some statistics, such as the calibration error, are biased on resamples; the interval is shifted back by the bias.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), rows)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + value - drawn.mean()
    # fractions stay within [0, 1], distances above 0
    low = max(low, 0.0) if drawn.min() >= 0 else low
    high = min(high, 1.0) if drawn.max() <= 1 else high
    return Estimate(float(value), float(low), float(high), rows)


def plain(results: Any) -> Any:
    """Results as JSON types: estimates as objects, arrays as lists, and null for NaN and infinity."""
    if isinstance(results, Estimate):
        return results.to_json()
    if isinstance(results, Mapping):
        return {str(name): plain(value) for name, value in results.items()}
    if isinstance(results, np.ndarray):
        return plain(results.tolist())
    if isinstance(results, list | tuple):
        return [plain(value) for value in results]
    if isinstance(results, float | np.floating):
        return float(results) if np.isfinite(results) else None
    return int(results) if isinstance(results, np.integer) else results
