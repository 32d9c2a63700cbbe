"""How the columns of a table become a vector: numbers standardised, categories one number a value."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ccvae.labels.cells import DECIMAL_COMMA, comma_meaning, comma_remedy, first_few, is_missing, text_of
from ccvae.labels.kinds import UnusableColumnError

__all__ = ["Category", "InputColumns", "Missing", "Number", "fit_columns", "missing_of"]

Missing = Literal["refuse", "mean"]
"""What is done about missing inputs: refuse them, or put the column's mean in their place."""

MOST_CATEGORIES = 50
FEW_CATEGORIES = 10  # in a column where most rows differ, which may name the rows
ROUNDING = 1e-9  # a smaller share of the mean is no spread but an error of rounding


@dataclass(frozen=True)
class Number:
    """A column of numbers, which becomes one feature of mean 0 and variance 1.

    Args:
        name: the column's name.
        mean: what is taken away.
        scale: what the rest is divided by, unless it is 0, as for a column that is constant.
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
        """Whether all its numbers were the same."""
        return self.scale == 0

    def encode(self, cells: Sequence[Any], missing: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Features `(rows, 1)`, 0 (the mean) where missing; and what is wrong, by row."""
        numbers = numbers_of(cells)
        odd = np.flatnonzero(~missing & ~np.isfinite(numbers)).tolist()
        wrong = {row: f"expected a number, found {cells[row]!r}" for row in odd}
        return np.where(missing, 0, (numbers - self.mean) / (self.scale or 1))[:, None], wrong


@dataclass(frozen=True)
class Category:
    """A column of categories, which becomes one feature a value: 1 for the row's value, 0 for the others.

    Args:
        name: the column's name.
        values: the values, as text.
        shares: how frequent each value is.
    """

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        return tuple(f"{self.name}={value}" for value in self.values)

    def encode(self, cells: Sequence[Any], missing: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Features `(rows, values)`, the shares where missing; and what is wrong, by row."""
        positions = {value: position for position, value in enumerate(self.values)}
        features = np.tile(np.array(self.shares), (len(cells), 1))
        wrong = {}
        for row in np.flatnonzero(~missing).tolist():
            position = positions.get(text_of(cells[row]))
            if position is None:
                wrong[row] = f"expected one of {', '.join(self.values[:12])}, found {cells[row]!r}"
            else:
                features[row] = np.eye(len(self.values))[position]
        return features, wrong


@dataclass(frozen=True)
class InputColumns:
    """How the columns of a table become a vector; made by `fit`, and kept for new rows.

    Args:
        columns: the columns, in order.
        missing: "refuse" missing inputs, or put the column's "mean" in their place: 0 for a number, and for a category the
            share of every value.

    >>> table = pd.DataFrame({"height": [1.6, 1.8], "sex": ["f", "m"]})
    >>> InputColumns.fit(table).encode(table)
    array([[-1.,  1.,  0.],
           [ 1.,  0.,  1.]], dtype=float32)
    """

    columns: tuple[Number | Category, ...]
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("a table needs at least one input column")
        if self.missing not in get_args(Missing):
            raise ValueError(f"missing must be one of {', '.join(get_args(Missing))}, not {self.missing!r}")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale of every feature `(features,)`: features times scales plus means are in the columns' own units."""
        parts = [
            ([column.mean], [column.scale])
            if isinstance(column, Number)
            else ([0.0] * len(column.values), [1.0] * len(column.values))
            for column in self.columns
        ]
        means, scales = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        return means, scales

    @property
    def identity(self) -> bool:
        """Whether vectors are the columns' numbers as they are."""
        return all(isinstance(column, Number) and (column.mean, column.scale) == (0, 1) for column in self.columns)

    @classmethod
    def fit(
        cls,
        table: pd.DataFrame,
        missing: Missing = "refuse",
        kinds: Mapping[str, str] | None = None,
        source: str = "table",
        rows: np.ndarray | None = None,
    ) -> InputColumns:
        """Kinds and categories from a table's rows, means and scales from those of training.

        Args:
            table: the rows, one column an input.
            missing: what is to be done about missing inputs.
            kinds: "number" or "category" by column, for those not to be guessed. A column of numbers, or of true and false, is
                guessed to be numbers, any other to be categories.
            source: what error messages call the table.
            rows: the rows of training; all if not given.

        Raises:
            ValueError: a column is empty, mixes numbers and texts, or has too many categories.
        """
        return fit_columns(table, missing, kinds, source, rows)[0]

    def encode(self, table: pd.DataFrame, source: str = "table") -> np.ndarray:
        """Vectors of a table's rows, float32 `(rows, features)`; columns that are not inputs are ignored.

        Raises:
            ValueError: a column is not there, a cell is wrong, or missing though that is refused.
        """
        absent = [column.name for column in self.columns if column.name not in table.columns]
        if absent:
            wanted = ", ".join(column.name for column in self.columns)
            raise ValueError(f"{source} has no input column {first_few(absent)}; it needs {wanted}, in any order")
        row_name = table.index.name or "row"
        parts, holes = [], []
        for column in self.columns:
            cells = table[column.name].tolist()
            missing = missing_of(cells)
            features, wrong = column.encode(cells, missing)
            if wrong:
                offenders = [f"{row_name} {table.index[row]}: {what}" for row, what in wrong.items()]
                raise ValueError(f"{source}, input {column.name!r}: {first_few(offenders)}")
            holes += [f"{column.name} in {row_name} {table.index[row]}" for row in np.flatnonzero(missing).tolist()]
            parts.append(features)
        if holes and self.missing == "refuse":
            raise ValueError(
                f"{source}: inputs are missing: {first_few(holes)}; fill them, leave these columns or rows out, "
                f"or say missing='mean' to put the column's mean in their place"
            )
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which the data set refuses by row
            return np.concatenate(parts, axis=1).astype(np.float32)

    def decode(self, vectors: np.ndarray) -> pd.DataFrame:
        """Table of vectors `(rows, features)` in the columns' own units: numbers, and the category with the largest feature."""
        found: dict[str, Any] = {}
        first = 0
        for column in self.columns:
            part = np.asarray(vectors[:, first : first + len(column.features)], dtype=np.float64)
            first += len(column.features)
            if isinstance(column, Number):
                found[column.name] = part[:, 0] * column.scale + column.mean
            else:
                found[column.name] = pd.Series([column.values[position] for position in part.argmax(axis=1)], dtype=object)
        return pd.DataFrame(found)

    def to_json(self) -> str:
        """JSON text, for `from_entries`."""
        return json.dumps({"missing": self.missing, "columns": [asdict(column) for column in self.columns]}, indent=2)

    @classmethod
    def from_entries(cls, found: Any, source: str = "input columns") -> InputColumns:
        """The columns that `to_json` wrote, as read from its JSON, checked.

        Raises:
            ValueError: this is not what `to_json` writes.
        """
        try:
            columns = tuple(column_of(entry) for entry in found["columns"])
            names = [column.name for column in columns]
            if len(set(names)) != len(names):
                raise ValueError("column names must differ")
            return cls(columns, found["missing"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{source}: expected JSON of input columns: {type(error).__name__}: {error}") from None


def column_of(entry: Any) -> Number | Category:
    """A column from its JSON; raises `TypeError`, `KeyError` or `ValueError` if it is none."""
    if not isinstance(entry, dict) or not isinstance(entry["name"], str):
        raise TypeError(f"expected a column with a name, found {str(entry)[:100]}")
    if "values" not in entry:
        numbers = [entry["mean"], entry["scale"]]
        if not all(is_number(number) for number in numbers) or numbers[1] < 0:
            raise ValueError(f"column {entry['name']!r}: expected a mean and a scale of at least 0, found {numbers}")
        return Number(entry["name"], *map(float, numbers))
    values, shares = entry["values"], entry["shares"]
    if not isinstance(values, list) or not isinstance(shares, list) or not len(values) == len(shares) > 0:
        raise ValueError(f"column {entry['name']!r}: expected as many shares as values")
    if not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
        raise ValueError(f"column {entry['name']!r}: values must be texts that differ")
    if not all(is_number(share) and share >= 0 for share in shares):
        raise ValueError(f"column {entry['name']!r}: shares must be numbers of at least 0")
    return Category(entry["name"], tuple(values), tuple(map(float, shares)))


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fit_columns(
    table: pd.DataFrame,
    missing: Missing = "refuse",
    kinds: Mapping[str, str] | None = None,
    source: str = "table",
    rows: np.ndarray | None = None,
    drop_unusable: bool = False,
) -> tuple[InputColumns, list[str]]:
    """Input columns (see `InputColumns.fit`), and notes.

    Args:
        table: see `InputColumns.fit`, as all below.
        missing: see there.
        kinds: see there.
        source: see there.
        rows: see there.
        drop_unusable: leave out columns without a value and of free text, with a note.
    """
    kinds = dict(kinds or {})
    wrong = [f"{name}: {kind}" for name, kind in kinds.items() if kind not in ("number", "category") or name not in table]
    if wrong:
        raise ValueError(f"{source}: no such input column, or kind (number, category): {first_few(wrong)}")
    rows = np.arange(len(table)) if rows is None else rows
    columns: list[Number | Category] = []
    unusable: dict[str, str] = {}
    offending: dict[str, str] = {}
    for name in map(str, table.columns):
        try:
            columns.append(fitted(name, table[name].tolist(), rows, kinds.get(name)))
        except UnusableColumnError as error:
            unusable[name] = str(error)
        except ValueError as error:
            offending[name] = str(error)
    if offending or (unusable and (not drop_unusable or not columns)):
        problems = offending | unusable
        shown = [f"input {name!r} {problem}" for name, problem in problems.items()]
        advice = f"; leave columns out with exclude={[*problems]}" if len(problems) > 1 else ""
        raise ValueError(f"{source}: {'; '.join(shown[:20])}{advice}")
    notes = [f"inputs left out: {first_few([f'{name!r} {problem}' for name, problem in unusable.items()])}"] if unusable else []
    return InputColumns(tuple(columns), missing), notes


def fitted(name: str, cells: Sequence[Any], rows: np.ndarray, kind: str | None) -> Number | Category:
    """One column: its kind and categories from all cells, the rest from those of some rows."""
    numbers, missing = numbers_of(cells), missing_of(cells)
    rows = rows[~missing[rows]]
    if not len(rows):
        raise UnusableColumnError("has no value to learn from; leave the column out")
    texts = [text_of(cells[row]) for row in np.flatnonzero(~missing & ~np.isfinite(numbers)).tolist()]
    shown = first_few([repr(text) for text in sorted(set(texts))])
    if kind != "category" and texts and all(DECIMAL_COMMA.fullmatch(text) for text in texts):
        raise ValueError(f"holds numbers with a {comma_meaning(texts)} ({shown}); {comma_remedy(texts)}")
    present = int((~missing).sum())
    if texts and kind != "category" and (kind == "number" or len(texts) < present / 2):
        raise ValueError(f"holds numbers, but also {shown}; empty these cells, or say that the column is a category")
    if kind == "category" or texts:
        values = sorted({text_of(cells[row]) for row in np.flatnonzero(~missing).tolist()})
        if len(values) > (MOST_CATEGORIES if len(values) < present / 2 else FEW_CATEGORIES):
            raise UnusableColumnError(f"has {len(values)} different texts ({first_few(values)}); leave the column out")
        counts = Counter(text_of(cells[row]) for row in rows.tolist())
        return Category(name, tuple(values), tuple(counts[value] / len(rows) for value in values))
    mean, scale = float(numbers[rows].mean()), float(numbers[rows].std())
    return Number(name, mean, scale if scale > ROUNDING * abs(mean) else 0.0)


def numbers_of(cells: Sequence[Any]) -> np.ndarray:
    """Cells as numbers, NaN where they are none."""
    found = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce")
    return np.asarray(found.to_numpy(dtype=np.float64, na_value=np.nan))


def missing_of(cells: Sequence[Any]) -> np.ndarray:
    """Whether cells are missing."""
    missing: np.ndarray = np.isnan(numbers_of(cells))
    missing[missing] = [is_missing(cells[row]) for row in np.flatnonzero(missing).tolist()]
    return missing
