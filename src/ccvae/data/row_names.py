"""Columns that name or count the rows of a table, and so are neither inputs nor labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccvae.model.inputs.missing_cells import numbers_of

__all__ = ["counters", "is_named_like_id", "note_on_ids"]

UNNAMED = re.compile(r"|Unnamed: \d+(_level_\d+)?|\.\.\.1|X\.?|V1")
"""What tools call a column of row numbers that they wrote: pandas, readr and R."""
ID = re.compile(r"(?i:(^|[\s_.-])(ids?|uuid|guid|identifier)$)|(?<=[a-z])I[Dd]$")


def counters(table: pd.DataFrame) -> list[str]:
    """Columns that count the rows from 0 or 1, and have no name of their own, as pandas and R write an index."""
    rows = np.arange(len(table))
    return [
        str(name)
        for place, name in enumerate(table.columns)
        if UNNAMED.fullmatch(str(name)) and counts(table.iloc[:, place].tolist(), rows)
    ]


def counts(cells: Sequence[Any], rows: np.ndarray) -> bool:
    """Whether cells are the numbers of rows, from 0 or 1."""
    numbers = numbers_of(cells)
    return bool((numbers == rows).all() or (numbers == rows + 1).all())


def is_named_like_id(name: str) -> bool:
    """Whether a column's name says that it names rows, persons or the like.

    >>> [is_named_like_id(name) for name in ("Patient ID", "patient_id", "PatientID", "id", "said", "humid", "ID3")]
    [True, True, True, True, False, False, False]
    """
    return ID.search(name) is not None


def note_on_ids(name: str, what: str) -> str:
    """A warning about an input or label whose name says that it names rows, persons or the like."""
    return (
        f"{what} {name!r} seems to name rows or groups of them; leave it out with exclude=[{name!r}], name the rows by it with "
        f"id_column={name!r}, or keep groups whole with group_column={name!r}"
    )
