"""Cells that list several findings, such as "Edema|Mass" or ["cat", "dog"]: one binary label for each finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels.cells import first_few, is_missing, text_of

__all__ = ["Delimiter", "with_findings"]

Delimiter = str | Mapping[str, str] | None
"""What separates the findings in a cell: one text for all label columns in which it occurs, or by column."""

MOST_FINDINGS = 500


def with_findings(
    table: pd.DataFrame, delimiter: Delimiter, candidates: Sequence[str], source: str
) -> tuple[pd.DataFrame, dict[str, list[str]], tuple[str, ...]]:
    """A table in which columns of lists are replaced by one column of 0 and 1 for each finding.

    Args:
        table: the table. An empty or missing cell leaves all findings of its column missing; an empty list says that none is
            present.
        delimiter: what separates the findings in cells that are texts; cells that are lists need none.
        candidates: columns that may be labels.
        source: what error messages call the table.

    Returns:
        The table; the findings by the column they came from; and notes.

    Raises:
        ValueError: no column has the delimiter, or a column has too many findings.
    """
    named = dict(delimiter) if isinstance(delimiter, Mapping) else {}
    absent = [repr(column) for column in named if column not in table.columns]
    if absent:
        raise ValueError(f"{source}: delimiter names no column {first_few(absent)}")
    found: dict[str, list[str]] = {}
    content, notes = table, []
    for column in map(str, table.columns):
        if column not in candidates:
            continue
        separator = named.get(column) if isinstance(delimiter, Mapping) else delimiter
        cells = table[column].tolist()
        lists = [listed(cell, separator) for cell in cells]
        nested = any(isinstance(cell, list | tuple | set | np.ndarray) for cell in cells)
        split = separator is not None and any(isinstance(cell, str) and separator in cell for cell in cells)
        if not nested and not (split or column in named):
            continue
        names = sorted({finding for each in lists if each is not None for finding in each})
        if not names:
            raise ValueError(f"{source}: column {column!r} lists no finding in any row; leave it out")
        if len(names) > MOST_FINDINGS:
            raise ValueError(
                f"{source}: column {column!r} lists {len(names)} different findings ({first_few(names)}); leave it out, or "
                f"check its delimiter"
            )
        titles = [name if name not in content.columns else f"{column}: {name}" for name in names]
        columns = {
            title: pd.Series([None if each is None else int(name in each) for each in lists], index=table.index, dtype=object)
            for name, title in zip(names, titles, strict=True)
        }
        place = [str(name) for name in content.columns].index(column)
        before, after = content.iloc[:, :place], content.iloc[:, place + 1 :]
        content = pd.concat([before, pd.DataFrame(columns, index=table.index), after], axis=1)
        content.index.name = table.index.name
        found[column] = titles
        notes.append(f"column {column!r} lists findings: {len(names)} binary labels ({first_few(titles)})")
    if isinstance(delimiter, str) and not found:
        raise ValueError(f"{source}: no cell of a label column has the delimiter {delimiter!r}")
    return content, found, tuple(notes)


def listed(cell: Any, separator: str | None) -> frozenset[str] | None:
    """Findings of a cell; None if it is missing."""
    if isinstance(cell, list | tuple | set | np.ndarray):
        return frozenset(text_of(each) for each in cell)
    if is_missing(cell):
        return None
    parts = text_of(cell).split(separator) if separator else [text_of(cell)]
    return frozenset(part.strip() for part in parts if part.strip())
