"""What scikit-learn calls y: labels with holes, marked in any of the usual ways, as the classes' numbers and NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import unique_labels

__all__ = ["class_numbers", "columns_of", "is_mark", "unlabelled_cells"]


def columns_of(y: Any, rows: int) -> tuple[list[np.ndarray], bool]:
    """The labels' columns, and whether `y` has one dimension or one column.

    Raises:
        ValueError: `y` has another number of rows or more dimensions, or infinite numbers.
    """
    cells = y if isinstance(y, np.ndarray) else np.asarray(y, dtype=object)
    if cells.ndim == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    if cells.ndim not in (1, 2) or len(cells) != rows:
        raise ValueError(f"y: expected shape ({rows},) or ({rows}, labels), found {cells.shape}")
    if cells.dtype.kind == "f" and np.isinf(cells).any():
        raise ValueError("Input y contains infinity; labels are classes, NaN or the mark of unlabelled rows")
    if cells.ndim == 1:
        return [cells], True
    return [cells[:, column] for column in range(cells.shape[1])], False


def unlabelled_cells(cells: np.ndarray, mark: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are NaN, None or NA, and which others are the mark of unlabelled rows."""
    missing = np.asarray(pd.isna(cells), dtype=bool)
    marked = np.zeros(len(cells), dtype=bool)
    marked[~missing] = [is_mark(cell, mark) for cell in cells[~missing].tolist()]
    return missing, marked


def class_numbers(cells: np.ndarray, mark: Any) -> tuple[np.ndarray, np.ndarray]:
    """Classes of one label, in order, and its cells as their positions, NaN where not observed.

    Of only two different cells the mark is a class: scikit-learn's data have classes -1 and 1, too.

    Raises:
        ValueError: the cells are no classes, or fewer than two.
    """
    missing, marked = unlabelled_cells(cells, mark)
    if len({*cells[~missing & ~marked].tolist()}) > 1:
        missing |= marked
    observed = cells[~missing]
    if observed.dtype == object:
        texts = [isinstance(cell, str) for cell in observed.tolist()]
        if any(texts) and not all(texts):
            text, other = observed[texts.index(True)], observed[texts.index(False)]
            raise ValueError(
                f"y: classes are all texts or all numbers, found {text!r} and {other!r}; convert them, for example with "
                f"astype(str), or say with unlabelled={text!r} which one means not labelled"
            )
        observed = np.array(observed.tolist())
    if observed.dtype.kind == "f" and (observed != np.floor(observed)).any():
        raise ValueError("Unknown label type: continuous; y holds numbers that are not whole, and a classifier needs classes")
    values = unique_labels(observed) if len(observed) else np.array([])
    if len(values) < 2:
        raise ValueError(f"y: a classifier needs at least two classes, found one class or none: {values.tolist()}")
    numbers = np.full(len(cells), np.nan, dtype=np.float32)
    numbers[~missing] = np.searchsorted(values, observed)
    return np.asarray(values), numbers


def is_mark(cell: Any, mark: Any) -> bool:
    """Whether a cell is the mark of unlabelled rows, and not merely a text that looks the same."""
    return isinstance(cell, str) == isinstance(mark, str) and bool(cell == mark)
