"""The kinds of input columns of a table: numbers and dates, which are standardised, and categories, one feature a value."""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels.cells import DECIMAL_COMMA, comma_meaning, comma_remedy, first_few, position_of, signs_in_numbers, text_of
from ccvae.labels.kinds import UnusableColumnError
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.dates import Date, all_ambiguous, all_dates, fitted_dates, is_date
from ccvae.model.inputs.missing_cells import USUAL_RULE, MissingRule, numbers_of
from ccvae.model.inputs.standardised import Standardised

__all__ = ["INPUT_KINDS", "Category", "Column", "Number", "column_of", "fitted"]

INPUT_KINDS = ("number", "category", "date")
"""Kinds of input columns, as users name them."""

MOST_CATEGORIES = 50
FEW_CATEGORIES = 10  # in a column where most rows differ, which may name the rows
FALSE_AND_TRUE = ("False", "True")
"""Values of a column of true and false: from a table in memory, or as text."""
ROUNDING = 1e-9  # a smaller share of the mean is no spread but an error of rounding
MOST_CODES = 5
"""Words among numbers that are named in advice."""
MOST_DAYS = 4e6  # of dates with a year of four digits, since 1970
SMALLEST_SPREAD = 1e-150  # its square, a variance, is still a number of full precision


@dataclass(frozen=True)
class Number(Standardised):
    """A column of numbers, which becomes one feature of mean 0 and variance 1.

    Args:
        name: the column's name.
        mean: what is taken away.
        scale: what the rest is divided by, unless it is 0, as for a column that is constant.
        rule: which cells are missing.
    """

    rule: MissingRule = USUAL_RULE

    def encode(self, cells: Sequence[Any], missing: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Features `(rows, 1)`, 0 (the mean) where missing; and what is wrong, by row."""
        numbers = numbers_of(cells)
        odd = np.flatnonzero(~missing & ~np.isfinite(numbers)).tolist()
        wrong = {row: f"expected a number, found {cells[row]!r}{comma_hint(cells[row])}" for row in odd}
        return self.standardise(numbers, missing), wrong

    def decode(self, features: np.ndarray) -> pd.Series[Any]:
        """Numbers of features `(rows, 1)`, in own units."""
        return pd.Series(self.quantities(features))

    def to_entry(self) -> dict[str, Any]:
        """Its JSON, for `column_of`."""
        return {"name": self.name, "mean": self.mean, "scale": self.scale, **self.rule.to_entry()}


@dataclass(frozen=True)
class Category:
    """A column of categories, which becomes one feature a value: 1 for the row's value, 0 for the others.

    Args:
        name: the column's name.
        values: the values, as text.
        shares: how frequent each value is.
        rule: which cells are missing.
    """

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]
    rule: MissingRule = USUAL_RULE

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        return tuple(f"{self.name}={value}" for value in self.values)

    def encode(self, cells: Sequence[Any], missing: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Features `(rows, values)`, the shares where missing; and what is wrong, by row."""
        positions: dict[str, int | None] = {}
        features = np.tile(np.array(self.shares), (len(cells), 1))
        wrong = {}
        for row in np.flatnonzero(~missing).tolist():
            text = self.text(cells[row])
            if text not in positions:
                positions[text] = position_of(text, self.values)
            position = positions[text]
            if position is None:
                shown = ", ".join(self.values[:12]) + (", …" if len(self.values) > 12 else "")
                wrong[row] = f"expected one of {shown}, found {cells[row]!r}{did_you_mean(cells[row], self.values)}"
            else:
                features[row] = np.eye(len(self.values))[position]
        return features, wrong

    @property
    def of_truth(self) -> bool:
        """Whether the values are false and true."""
        return self.values == FALSE_AND_TRUE

    def text(self, cell: Any) -> str:
        """A cell as text, as `values` has it."""
        text = text_of(cell)
        return FALSE_AND_TRUE[int(text)] if self.of_truth and text in ("0", "1") else text

    def decode(self, features: np.ndarray) -> pd.Series[Any]:
        """The value with the largest feature, of features `(rows, values)`."""
        values = [self.values[position] for position in features.argmax(axis=1)]
        if self.of_truth:
            return pd.Series([value == FALSE_AND_TRUE[1] for value in values], dtype=bool)
        return pd.Series(values, dtype=object)

    def to_entry(self) -> dict[str, Any]:
        """Its JSON, for `column_of`."""
        return {"name": self.name, "values": self.values, "shares": self.shares, **self.rule.to_entry()}


Column = Number | Category | Date


def column_of(entry: Any) -> Column:
    """A column from its JSON; raises `TypeError`, `KeyError` or `ValueError` if it is none."""
    if not isinstance(entry, dict) or not isinstance(entry["name"], str):
        raise TypeError(f"expected a column with a name, found {str(entry)[:100]}")
    rule = MissingRule.from_entry(entry)
    if "values" not in entry:
        numbers = [entry["mean"], entry["scale"]]
        if not all(is_number(number) for number in numbers) or numbers[1] < 0:
            raise ValueError(f"column {entry['name']!r}: expected a mean and a scale of at least 0, found {numbers}")
        mean, scale = map(float, numbers)
        if "unit" not in entry:
            return Number(entry["name"], mean, scale, rule)
        time, zone = entry["time"], entry["zone"]
        if not isinstance(time, bool) or not isinstance(zone, bool) or max(abs(mean), scale) > MOST_DAYS:
            raise ValueError(f"column {entry['name']!r}: expected days, and whether there are times and zones")
        return Date(entry["name"], mean, scale, time, zone, rule)
    values, shares = entry["values"], entry["shares"]
    if not isinstance(values, list) or not isinstance(shares, list) or not len(values) == len(shares) > 0:
        raise ValueError(f"column {entry['name']!r}: expected as many shares as values")
    if not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
        raise ValueError(f"column {entry['name']!r}: values must be texts that differ")
    if not all(is_number(share) and share >= 0 for share in shares):
        raise ValueError(f"column {entry['name']!r}: shares must be numbers of at least 0")
    return Category(entry["name"], tuple(values), tuple(map(float, shares)), rule)


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def fitted(name: str, cells: Sequence[Any], rows: np.ndarray, kind: str | None, rule: MissingRule = USUAL_RULE) -> Column:
    """One column: its kind and categories from all cells, the rest from those of some rows."""
    numbers, missing = numbers_of(cells), rule.of(cells)
    if rule.values and not rule.words and kind != "category":  # words among numbers are no values of theirs
        wider = replace(rule, words=True)
        if np.isfinite(numbers[~wider.of(cells)]).all():
            rule, missing = wider, wider.of(cells)
    rows = rows[~missing[rows]]
    if not len(rows):
        raise UnusableColumnError("has no value to learn from; leave the column out")
    present = np.flatnonzero(~missing).tolist()
    if kind == "date" or (kind is None and all_dates(cells, missing)):
        return fitted_dates(name, cells, missing, rows, rule)
    if kind is None and is_of_truth(cells, missing):
        return of_truth(name, [text_of(cells[row]).lower() in ("1", "true") for row in rows.tolist()], rule)
    odd = [cells[row] for row in np.flatnonzero(~missing & ~np.isfinite(numbers)).tolist()]
    texts = [text_of(cell) for cell in odd]
    if kind != "category":
        check_texts(texts, odd, len(present), kind, name, rule)
    if kind == "category" or texts:
        values = sorted({text_of(cells[row]) for row in present})
        if len(values) > (MOST_CATEGORIES if len(values) < len(present) / 2 else FEW_CATEGORIES):
            raise UnusableColumnError(f"has {len(values)} different texts ({first_few(values)}); leave the column out")
        counts = Counter(text_of(cells[row]) for row in rows.tolist())
        return Category(name, tuple(values), tuple(counts[value] / len(rows) for value in values), rule)
    mean, scale = float(numbers[rows].mean()), float(numbers[rows].std())
    return Number(name, mean, scale if scale > max(ROUNDING * abs(mean), SMALLEST_SPREAD) else 0.0, rule)


def check_texts(
    texts: Sequence[str], cells: Sequence[Any], present: int, kind: str | None, name: str, rule: MissingRule
) -> None:
    """Raise `ValueError` if cells that are no finite numbers are written in another way, stand among such, or are no values.

    Args:
        texts: the cells as text.
        cells: the cells.
        present: number of all cells that are not missing.
        kind: the kind that the user named.
        name: the column's name.
        rule: which cells are missing.
    """
    shown = first_few([repr(text) for text in sorted(set(texts))])
    some = ", ".join(repr(text) for text in sorted(set(texts))[:2])
    if texts and all(DECIMAL_COMMA.fullmatch(text) for text in texts):
        raise ValueError(f"holds numbers with a {comma_meaning(texts)} ({shown}); {comma_remedy(texts)}")
    if signs_in_numbers(sorted(set(texts))):
        raise ValueError(signs_in_numbers(sorted(set(texts))))
    if any(isinstance(cell, list | tuple | dict | set | np.ndarray) for cell in cells):
        raise UnusableColumnError(f"holds several values in a cell ({some}); give each of them a column of its own")
    if any(isinstance(cell, datetime.timedelta | np.timedelta64) for cell in cells):
        raise UnusableColumnError(f"holds durations ({some}); turn them into numbers, such as with .dt.total_seconds()")
    if kind is None and all_ambiguous(texts):
        raise UnusableColumnError(
            f"holds dates that may be read in several ways ({some}); write them as 2024-05-17, or pass a table in which "
            f"pandas.to_datetime has read them"
        )
    dates = {text for text in set(texts) if is_date(text, {})}
    others = sorted(set(texts) - dates)
    few = sum(text not in dates for text in texts)
    if kind is None and dates and len(texts) == present and few < present / 2:
        what, odd = "dates", others
    elif texts and (kind == "number" or len(texts) < present / 2):
        what, odd = "numbers", sorted(set(texts))
    else:
        return
    codes = [*rule.values, *odd[:MOST_CODES]]
    raise ValueError(
        f"holds {what}, but also {first_few([repr(text) for text in odd])}; if that means missing, pass "
        f"missing_values={codes if rule.words else {name: codes}}, or say that the column is a category with input_kinds"
    )


def is_of_truth(cells: Sequence[Any], missing: np.ndarray) -> bool:
    """Whether the cells that are not missing are true and false, as values or as text."""
    present = [cells[row] for row in np.flatnonzero(~missing).tolist()]
    return all(
        isinstance(cell, bool | np.bool_) or (isinstance(cell, str) and cell.strip().lower() in ("false", "true"))
        for cell in present
    )


def of_truth(name: str, cells: Sequence[bool], rule: MissingRule) -> Category:
    """The column of true and false with such cells in the rows of training."""
    share = sum(cells) / len(cells)
    return Category(name, FALSE_AND_TRUE, (1 - share, share), rule)


def comma_hint(cell: Any) -> str:
    """What is said about a cell that is a number with a comma in it; nothing about any other."""
    text = text_of(cell)
    return f", with a {comma_meaning([text])}; {comma_remedy([text])}" if DECIMAL_COMMA.fullmatch(text) else ""
