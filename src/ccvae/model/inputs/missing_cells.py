"""Which cells of an input column are missing: empty ones, words such as "NA", and the codes that the user named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels.cells import is_empty, is_missing, means_missing, number_of

__all__ = ["USUAL_RULE", "Cells", "MissingRule", "cells_by_name", "numbers_of"]


@dataclass(frozen=True)
class MissingRule:
    """Which cells of a column are missing, besides empty ones; kept for new rows.

    Args:
        values: codes for missing, such as -999 or "?". Numbers are compared as numbers, texts without regard to case.
        words: whether words such as "NA" and "None" mean missing too.

    >>> MissingRule((-999, "?")).of(["1.5", "-999.0", "?", "NA"]).tolist()
    [False, True, True, True]
    """

    values: tuple[str | int | float, ...] = ()
    words: bool = True

    def of(self, cells: Sequence[Any]) -> np.ndarray:
        """Whether each of some cells is missing."""
        numbers = numbers_of(cells)
        missing: np.ndarray = np.isnan(numbers)
        empty = is_missing if self.words else is_empty
        known: dict[str, bool] = {}  # a column has few distinct texts, and comparing one takes time
        for row in np.flatnonzero(missing).tolist():
            cell = cells[row]
            if isinstance(cell, str):
                if cell not in known:
                    known[cell] = empty(cell) or means_missing(cell, self.values)
                missing[row] = known[cell]
            else:
                missing[row] = empty(cell) or means_missing(cell, self.values)
        codes = [number for number in map(number_of, self.values) if number is not None]
        if codes:
            missing |= np.isin(numbers, codes)
        return missing

    def to_entry(self) -> dict[str, Any]:
        """What JSON of a column says of this rule; nothing of the usual one."""
        if self == USUAL_RULE:
            return {}
        return {"missing_values": list(self.values), "missing_words": self.words}

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> MissingRule:
        """The rule of a column's JSON; raises `ValueError` if it is none."""
        values, words = entry.get("missing_values", []), entry.get("missing_words", True)
        plain = isinstance(values, list) and all(isinstance(each, str | int | float) for each in values)
        if not plain or not isinstance(words, bool):
            raise ValueError(f"column {entry.get('name')!r}: expected texts and numbers as missing_values, and missing_words")
        return cls(tuple(values), words)


USUAL_RULE = MissingRule()
"""Empty cells and words such as "NA" are missing."""


def numbers_of(cells: Sequence[Any]) -> np.ndarray:
    """Cells as numbers, NaN where they are none."""
    return cells.numbers if isinstance(cells, Cells) else read_numbers(cells)


def read_numbers(cells: Sequence[Any]) -> np.ndarray:
    """The same, of any cells."""
    found = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce")
    return np.asarray(found.to_numpy(dtype=np.float64, na_value=np.nan))


class Cells(list[Any]):
    """The cells of a column that does not change, whose numbers are read once: to read millions of texts takes seconds."""

    @cached_property
    def numbers(self) -> np.ndarray:
        """Cells as numbers, NaN where they are none."""
        return read_numbers(self)


def cells_by_name(table: pd.DataFrame) -> Callable[[str], Cells]:
    """A function from the name of a table's column to its cells, which takes each column from the table once."""

    @cache
    def cells(name: str) -> Cells:
        return Cells(table[name].tolist())

    return cells
