"""Which labels go together: Pearson's r of pairs of labels and their values, the strongest pairs only."""

from __future__ import annotations

import numpy as np

from ccvae.data.checks.findings import Correlation
from ccvae.labels import Categorical, LabelSpace

__all__ = ["correlated"]

FEWEST_ROWS = 10
"""Rows that a pair needs in common."""
STRONGEST = 200
"""Pairs that are given, and computed over all rows where there are too many for all of them."""
MOST_PRODUCTS = 4_000_000_000
"""Rows times pairs of columns that are multiplied; with more, only some rows are looked at first."""


def correlated(
    labels: np.ndarray, space: LabelSpace, most_products: int = MOST_PRODUCTS
) -> tuple[tuple[Correlation, ...], int]:
    """The strongest correlations between values of different labels, over all rows that have both.

    With up to about 140 labels and 200,000 rows, all pairs are computed. With more, all pairs are computed over a sample of the
    rows, drawn with a fixed seed, of such a size that the time does not grow with the number of labels; then the strongest 200
    of them over all rows. A pair whose correlation rests on few rows can be missed then.

    Args:
        labels: `(rows, labels)`, NaN where missing.
        space: the labels; a categorical label counts as one column for each of its values.
        most_products: rows times pairs that may be multiplied.

    Returns:
        At most 200 pairs, the strongest first; and the number of rows over which all pairs were compared.
    """
    names, columns = indicators(space)
    rows = np.arange(len(labels))
    affordable = max(most_products // len(names) ** 2, FEWEST_ROWS)
    if affordable < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(len(rows), affordable, replace=False))
    owner = np.array([column for column, _ in columns])
    matrix = coefficients(values_of(labels[rows], columns))
    matrix[owner[:, None] == owner[None, :]] = np.nan
    first, second = np.tril_indices(len(names), -1)
    strength = np.abs(matrix[first, second])
    order = np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable")[:STRONGEST]
    order = order[~np.isnan(strength[order])]
    found = []
    for one, two in zip(first[order].tolist(), second[order].tolist(), strict=True):
        coefficient = matrix[one, two]
        if len(rows) < len(labels):
            coefficient = coefficients(values_of(labels, [columns[one], columns[two]]))[0, 1]
        if not np.isnan(coefficient):
            found.append(Correlation(names[one], names[two], float(coefficient)))
    return tuple(sorted(found, key=lambda pair: -abs(pair.coefficient))), len(rows)


def indicators(space: LabelSpace) -> tuple[list[str], list[tuple[int, int | None]]]:
    """Names of the columns that are correlated; and for each, the label's position, and the value's if it is categorical."""
    names: list[str] = []
    columns: list[tuple[int, int | None]] = []
    for column, label in enumerate(space):
        if isinstance(label, Categorical):
            names += [f"{label.name}={value}" for value in label.values]
            columns += [(column, position) for position in range(len(label.values))]
        else:
            names.append(label.name)
            columns.append((column, None))
    return names, columns


def values_of(labels: np.ndarray, columns: list[tuple[int, int | None]]) -> np.ndarray:
    """Numbers `(rows, columns)` of labels and indicators of values, NaN where missing."""
    values = labels[:, [column for column, _ in columns]].astype(np.float64)
    for place, (_, position) in enumerate(columns):
        if position is not None:
            values[:, place] = np.where(np.isnan(values[:, place]), np.nan, values[:, place] == position)
    return values


def coefficients(values: np.ndarray) -> np.ndarray:
    """Pearson's r of all pairs of columns over the rows that have both; NaN for a constant column, or too few rows."""
    present = ~np.isnan(values)
    weights = present.astype(np.float64)
    counts = np.maximum(present.sum(axis=0), 1)
    centered = np.where(present, values - np.where(present, values, 0).sum(axis=0) / counts, 0)  # for precision
    both = weights.T @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = centered.T @ weights
        covariance = centered.T @ centered - sums * sums.T / both
        squares = (centered**2).T @ weights - sums**2 / both
        scale = np.sqrt(squares * squares.T)
        found = np.where((scale > 1e-9 * both) & (both >= FEWEST_ROWS), covariance / scale, np.nan)
    return np.asarray(np.clip(found, -1, 1))
