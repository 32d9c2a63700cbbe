"""What scikit-learn calls X: rows of numbers, their scales, and what is said about columns that are no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["SCALINGS", "columns_without_numbers", "scales"]

SCALINGS = ("auto", "each", "common")
SMALLEST_DEVIATION = 1e-12


def scales(X: np.ndarray, scaling: str) -> np.ndarray:
    """What features are divided by: their standard deviations, or the root mean square of these for all of them."""
    deviations = X.std(axis=0, dtype=np.float64)
    varies = deviations > SMALLEST_DEVIATION
    if varies.any() and (scaling == "common" or (scaling == "auto" and same_unit(X[:, varies]))):
        return np.full(len(deviations), np.sqrt(np.square(deviations[varies]).mean()))
    return np.where(varies, deviations, 1.0)


def same_unit(X: np.ndarray) -> bool:
    """Whether features look like measurements in one unit: one lowest value, and one highest for most of them."""
    lowest, highest = X.min(axis=0), X.max(axis=0)
    return bool((lowest == lowest.min()).all() and (highest == highest.max()).mean() > 0.5)


def columns_without_numbers(X: Any) -> list[str]:
    """Names of a table's columns that cannot be read as numbers."""
    if not isinstance(X, pd.DataFrame):
        return []
    return [str(name) for name, column in X.items() if holds_other_than_numbers(column)]


def holds_other_than_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column has a cell that is neither empty nor a number."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.api.types.is_datetime64_any_dtype(column) or bool((numbers.isna() & column.notna()).any())
