"""How the columns of a table become a vector: numbers and dates standardised, categories one number a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ccvae.labels.cells import first_few, means_missing
from ccvae.labels.kinds import UnusableColumnError
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.column_kinds import INPUT_KINDS, Category, Column, column_of, fitted
from ccvae.model.inputs.missing_cells import USUAL_RULE, Cells, MissingRule, cells_by_name

__all__ = ["InputColumns", "Missing", "MissingInputsError", "encoded", "fit_columns"]

Missing = Literal["refuse", "mean"]
"""What is done about missing inputs: refuse them, or put the column's mean in their place."""


class MissingInputsError(ValueError):
    """Inputs are missing, and that is refused."""


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

    columns: tuple[Column, ...]
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("a table needs at least one input column")
        if self.missing not in get_args(Missing):
            raise ValueError(f"missing must be one of {', '.join(get_args(Missing))}, not {self.missing!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale of every feature `(features,)`: features times scales plus means are in own units (dates: days)."""
        parts = [
            ([0.0] * len(column.values), [1.0] * len(column.values))
            if isinstance(column, Category)
            else ([column.mean], [column.scale])
            for column in self.columns
        ]
        means, scales = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        return means, scales

    @property
    def identity(self) -> bool:
        """Whether vectors are the columns' numbers as they are."""
        return all(not isinstance(column, Category) and (column.mean, column.scale) == (0, 1) for column in self.columns)

    @classmethod
    def fit(
        cls,
        table: pd.DataFrame,
        missing: Missing = "refuse",
        kinds: Mapping[str, str] | None = None,
        source: str = "table",
        rows: np.ndarray | None = None,
        rules: Mapping[str, MissingRule] | None = None,
    ) -> InputColumns:
        """Kinds and categories from a table's rows, means and scales from those of training.

        Args:
            table: the rows, one column an input.
            missing: what is to be done about missing inputs.
            kinds: "number", "category" or "date" by column, for those not to be guessed. A column of numbers is guessed to be
                numbers, one of dates or texts such as 2024-05-17 to be dates, any other to be categories, and so is one of true
                and false.
            source: what error messages call the table.
            rows: the rows of training; all if not given.
            rules: which cells are missing, by column, where that is not the usual rule.

        Raises:
            ValueError: a column is empty, mixes numbers and texts, or has too many categories.
        """
        return fit_columns(table, missing, kinds, source, rows, rules=rules)[0]

    def encode(self, table: pd.DataFrame, source: str = "table") -> np.ndarray:
        """Vectors of a table's rows, float32 `(rows, features)`; columns that are not inputs are ignored.

        Raises:
            ValueError: a column is not there, a cell is wrong, or missing though that is refused (`MissingInputsError`).
        """
        return encoded(self, table, source, cells_by_name(table))

    def with_rules(self, rules: Mapping[str, MissingRule]) -> InputColumns:
        """These columns with other rules for missing cells, by column."""
        return replace(
            self, columns=tuple(replace(column, rule=rules.get(column.name, column.rule)) for column in self.columns)
        )

    def decode(self, vectors: np.ndarray) -> pd.DataFrame:
        """Table of vectors `(rows, features)` in the columns' own units: numbers, and the category with the largest feature."""
        found: dict[str, Any] = {}
        first = 0
        for column in self.columns:
            part = np.asarray(vectors[:, first : first + len(column.features)], dtype=np.float64)
            first += len(column.features)
            found[column.name] = column.decode(part)
        return pd.DataFrame(found)

    def to_json(self) -> str:
        """JSON text, for `from_entries`."""
        return json.dumps({"missing": self.missing, "columns": [column.to_entry() for column in self.columns]}, indent=2)

    @classmethod
    def from_entries(cls, found: Any, source: str = "input columns") -> InputColumns:
        """The columns that `to_json` wrote, as read from its JSON, checked.

        Raises:
            ValueError: this is not what `to_json` writes.
        """
        try:
            if not isinstance(found, dict) or not isinstance(found.get("columns"), list) or "missing" not in found:
                raise ValueError(f"found no columns, or not what is done about missing inputs, in {str(found)[:100]}")
            columns = tuple(column_of(entry) for entry in found["columns"])
            names = [column.name for column in columns]
            if len(set(names)) != len(names):
                raise ValueError("column names must differ")
            return cls(columns, found["missing"])
        except KeyError as error:
            raise ValueError(f"{source}: expected JSON of input columns: a column lacks {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: expected JSON of input columns: {error}") from None


def words_hint(words: Mapping[str, str]) -> str:
    """What is said about words that were read as missing inputs, by column; nothing where there are none."""
    if not words:
        return ""
    shown = first_few([f"{word!r} in {name!r}" for name, word in words.items()])
    return f"; read as missing: {shown}; if that is a value, train with missing_values={{{next(iter(words))!r}: []}}"


def encoded(columns: InputColumns, table: pd.DataFrame, source: str, cells_of: Callable[[str], Cells]) -> np.ndarray:
    """Vectors of a table's rows (see `InputColumns.encode`); `cells_of` gives the cells of a column."""
    found = [str(column) for column in table.columns]
    absent = [column.name for column in columns.columns if column.name not in found]
    if absent:
        wanted = ", ".join(column.name for column in columns.columns)
        shown = first_few([f"{name}{did_you_mean(name, found)}" for name in absent])
        raise ValueError(f"{source} has no input column {shown}; it needs {wanted}, in any order")
    repeated = [column.name for column in columns.columns if found.count(column.name) > 1]
    if repeated:
        raise ValueError(f"{source}: column names must differ; repeated: {first_few(repeated)}")
    row_name = table.index.name or "row"
    parts: list[np.ndarray] = []
    holes: list[str] = []
    words: dict[str, str] = {}
    for column in columns.columns:
        cells = cells_of(column.name)
        missing = column.rule.of(cells)
        features, wrong = column.encode(cells, missing)
        if wrong:
            offenders = [f"{row_name} {table.index[row]}: {what}" for row, what in wrong.items()]
            raise ValueError(f"{source}, input {column.name!r}: {first_few(offenders)}")
        for row in np.flatnonzero(missing).tolist():
            holes.append(f"{column.name} in {row_name} {table.index[row]}")
            if isinstance(cells[row], str) and cells[row].strip() and not means_missing(cells[row], column.rule.values):
                words.setdefault(column.name, cells[row].strip())
        parts.append(features)
    if holes and columns.missing == "refuse":
        raise MissingInputsError(
            f"{source}: inputs are missing: {first_few(holes)}; fill them, leave these columns or rows out, or train with "
            f"missing='mean' (--data.options '{{\"missing\": \"mean\"}}'), which puts the column's mean in their place"
            f"{words_hint(words)}"
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which the data set refuses by row
        return np.concatenate(parts, axis=1).astype(np.float32)


def fit_columns(
    table: pd.DataFrame,
    missing: Missing = "refuse",
    kinds: Mapping[str, str] | None = None,
    source: str = "table",
    rows: np.ndarray | None = None,
    drop_unusable: bool = False,
    rules: Mapping[str, MissingRule] | None = None,
    cells_of: Callable[[str], Cells] | None = None,
) -> tuple[InputColumns, list[str]]:
    """Input columns (see `InputColumns.fit`), and notes.

    Args:
        table: see `InputColumns.fit`, as all below.
        missing: see there.
        kinds: see there.
        source: see there.
        rows: see there.
        drop_unusable: leave out columns without a value and of free text, with a note.
        rules: see there.
        cells_of: gives the cells of a column; the table's by default.
    """
    kinds, rules, cells_of = dict(kinds or {}), rules or {}, cells_of or cells_by_name(table)
    wrong = [f"{name}: {kind}" for name, kind in kinds.items() if kind not in INPUT_KINDS or name not in table]
    if wrong:
        raise ValueError(f"{source}: no such input column, or kind ({', '.join(INPUT_KINDS)}): {first_few(wrong)}")
    rows = np.arange(len(table)) if rows is None else rows
    columns: list[Column] = []
    unusable: dict[str, str] = {}
    offending: dict[str, str] = {}
    for name in map(str, table.columns):
        try:
            columns.append(fitted(name, cells_of(name), rows, kinds.get(name), rules.get(name, USUAL_RULE)))
        except UnusableColumnError as error:
            unusable[name] = str(error)
        except ValueError as error:
            offending[name] = str(error)
    if offending or (unusable and (not drop_unusable or not columns)):
        problems = offending | unusable
        shown = [f"input {name!r} {problem}" for name, problem in problems.items()]
        advice = f"; leave columns out with exclude={[*problems]}" if len(problems) > 1 else ""
        raise ValueError(f"{source}: {'; '.join(shown[:20])}{advice}")
    # they are left out, so that is no remedy
    left_out = [f"{name!r} {problem.removesuffix('; leave the column out')}" for name, problem in unusable.items()]
    notes = [f"inputs left out: {first_few(left_out)}"] if left_out else []
    return InputColumns(tuple(columns), missing), notes
