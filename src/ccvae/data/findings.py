"""Cells that list several findings, such as "Edema|Mass" or ["cat", "dog"]: one binary label for each finding."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ccvae.data.missing_values import spellings, words_read_as_missing
from ccvae.labels.cells import first_few, is_empty, is_missing, means_missing, text_of, texts_only
from ccvae.labels.nearest import did_you_mean

__all__ = ["Delimiter", "Findings", "with_findings"]

Delimiter = str | Mapping[str, str] | None
"""What separates the findings in a cell: one text for all label columns in which it occurs, or by column."""

MOST_FINDINGS = 500
LONGEST_LIST = 10_000
"""Characters of a cell that is read as a list."""


@dataclass(frozen=True)
class Findings:
    """A table in which columns of lists are replaced by one column for each finding.

    Args:
        table: the table.
        columns: the findings' columns, by the column they came from.
        notes: what was decided, in sentences for people.
        warnings: what should be looked at.
    """

    table: pd.DataFrame
    columns: Mapping[str, Sequence[str]]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def with_findings(
    table: pd.DataFrame,
    delimiter: Delimiter,
    candidates: Sequence[str],
    source: str,
    codes: Mapping[str, Sequence[Any]] | None = None,
    exact: Iterable[str] = (),
    taken: Iterable[str] = (),
) -> Findings:
    """A table in which columns of lists are replaced by one column of 0 and 1 for each finding.

    An empty or missing cell leaves all findings of its column missing; an empty list says that none is present. Where a list
    has a code for *not observed* among its findings, those it names are present, and all others are missing.

    Args:
        table: the table.
        delimiter: what separates the findings in cells that are texts; cells that are lists, or texts such as '["cat"]', need
            none. Lists of 0 and 1 that are equally long have one label for each place.
        candidates: columns that may be labels.
        source: what error messages call the table.
        codes: by column, values that mean *not observed* within a list.
        exact: columns in which words such as "None" are findings.
        taken: names that no finding's column can have.

    Raises:
        ValueError: no column has the delimiter, or a column has too many findings.
    """
    named = check_delimiter(delimiter, table, source)
    found: dict[str, list[str]] = {}
    content, notes, warnings = table, [], []
    for column in map(str, table.columns):
        if column not in candidates:
            continue
        separator = named.get(column) if isinstance(delimiter, Mapping) else delimiter
        if separator is None and column not in named and no_lists(table[column]):
            continue
        cells = parsed_lists(table[column].tolist())
        nested = any(is_list(cell) for cell in cells)
        split = separator is not None and any(isinstance(cell, str) and separator in cell for cell in cells)
        if not nested and not (split or column in named):
            continue
        missing = is_empty if column in exact else is_missing
        if is_multi_hot(cells):
            lists = [None if not is_list(cell) else frozenset(places_of(cell, column)) for cell in cells]
            names = [f"{column} {place + 1}" for place in range(len(next(cell for cell in cells if is_list(cell))))]
        else:
            lists = [None if not is_list(cell) and missing(cell) else parts_of(cell, separator) for cell in cells]
            names = sorted({finding for each in lists if each is not None for finding in each})
        incomplete = [name for name in names if means_missing(name, (codes or {}).get(column, ()))]
        names = [name for name in names if name not in incomplete]
        if not names:
            raise ValueError(f"{source}: column {column!r} lists no finding in any row; leave it out")
        if len(names) > MOST_FINDINGS:
            raise ValueError(
                f"{source}: column {column!r} lists {len(names)} different findings ({first_few(names)}); leave it out, or "
                f"check its delimiter"
            )
        others = {*content.columns, *taken} - {column}
        titles = [f"{column}: {name}" if name in others else name for name in names]
        columns = {
            title: pd.Series([presence(name, each, incomplete) for each in lists], index=table.index, dtype=object)
            for name, title in zip(names, titles, strict=True)
        }
        place = [str(name) for name in content.columns].index(column)
        before, after = content.iloc[:, :place], content.iloc[:, place + 1 :]
        content = pd.concat([before, pd.DataFrame(columns, index=table.index), after], axis=1)
        content.index.name = table.index.name
        found[column] = titles
        notes.append(f"column {column!r} lists findings: {len(names)} binary labels ({first_few(titles)})")
        warnings += spellings(column, names)
        if column not in exact:
            warnings += words_read_as_missing(column, Counter(cell for cell in cells if isinstance(cell, str)))
    if isinstance(delimiter, str) and not found:
        raise ValueError(f"{source}: no cell of a label column has the delimiter {delimiter!r}")
    return Findings(content, found, tuple(notes), tuple(warnings))


def check_delimiter(delimiter: Delimiter, table: pd.DataFrame, source: str) -> dict[str, str]:
    """Delimiters by column, where they are given so; raises `ValueError` if one is empty, or a column does not exist."""
    named = dict(delimiter) if isinstance(delimiter, Mapping) else {}
    absent = [f"{column!r}{did_you_mean(column, table.columns)}" for column in named if column not in table.columns]
    if absent:
        raise ValueError(f"{source}: delimiter names no column {first_few(absent)}")
    given = [*named.values()] if isinstance(delimiter, Mapping) else [delimiter]
    if any(each is not None and not (isinstance(each, str) and each) for each in given):
        raise ValueError(f"{source}: delimiter: expected a text that is not empty, such as '|', found {given}")
    return named


def no_lists(column: pd.Series[Any]) -> bool:
    """Whether all cells of a column are texts or missing, and no text starts as a list; much faster than looking at each."""
    cells = set(column.tolist()) if texts_only(column) else {"["}
    return not any(isinstance(cell, str) and cell.lstrip().startswith("[") for cell in cells)


def is_list(cell: Any) -> bool:
    """Whether a cell has several values."""
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def parsed_lists(cells: list[Any]) -> list[Any]:
    """Cells in which texts such as '["cat", "dog"]' are lists, if all texts of the column are."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and not is_missing(cell)]
    if not texts or not all(text.startswith("[") and text.endswith("]") for text in texts):
        return cells
    parsed = {text: parsed_list(text) for text in set(texts)}
    if any(each is None for each in parsed.values()):
        return cells
    return [parsed.get(cell.strip(), cell) if isinstance(cell, str) else cell for cell in cells]


def parsed_list(text: str) -> list[Any] | None:
    """The list that a text writes, as JSON or as Python does, of texts and numbers only; None if it is none."""
    if len(text) > LONGEST_LIST:
        return None
    for read in (json.loads, ast.literal_eval):  # neither runs anything
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(each, str | int | float) for each in found):
            return found
    return None


def is_multi_hot(cells: Sequence[Any]) -> bool:
    """Whether lists have one place for each label: all are equally long, of 0 and 1 only, and no lists of different classes."""
    lists = [list(cell) for cell in cells if is_list(cell) and not isinstance(cell, set | frozenset)]
    lengths = {len(each) for each in lists}
    if len(lengths) != 1 or lengths <= {0, 1}:
        return False
    places = [place for each in lists for place in each]
    return all(isinstance(place, int | float | np.number | np.bool_) and place in (0, 1) for place in places) and any(
        len(set(each)) < len(each) for each in lists
    )


def places_of(cell: Any, column: str) -> list[str]:
    """Names of the places in which a list of 0 and 1 has 1."""
    return [f"{column} {place + 1}" for place, present in enumerate(cell) if present]


def parts_of(cell: Any, separator: str | None) -> frozenset[str]:
    """Findings of a cell."""
    if is_list(cell):
        return frozenset(text_of(each) for each in cell if not is_empty(each))
    parts = text_of(cell).split(separator) if separator else [text_of(cell)]
    return frozenset(part.strip() for part in parts if part.strip())


def presence(name: str, findings: frozenset[str] | None, incomplete: Sequence[str]) -> int | None:
    """1 if a finding is present, 0 if not, None where that is not known."""
    if findings is None:
        return None
    if name in findings:
        return 1
    return None if findings & set(incomplete) else 0
