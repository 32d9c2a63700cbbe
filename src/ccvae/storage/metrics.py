"""Results of an evaluation in a run folder: `metrics.json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccvae.storage.files import is_there, read_json

__all__ = ["FORM", "find", "interval", "read_metrics"]

FORM = 2
"""Version of the format of `metrics.json`; it is increased when a number moves or changes its meaning."""
ABOUT: dict[str, type] = {"name": str, "split": str, "rows": int, "labels": list}
"""What every result says of its data."""
TEXTS = ("path", "title", "meaning", "better", "group")
"""Texts of a row of the summary."""
LARGEST_DIGITS = 10


def find(results: Mapping[str, Any], path: str) -> Any:
    """The entry at a path of names joined by dots, or None if there is none."""
    found: Any = results
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def interval(row: Mapping[str, Any], digits: int) -> str:
    """A number with its 95 % interval, if it has one.

    >>> interval({"value": 0.9512, "low": 0.94, "high": 0.9633}, 3)
    '0.951 [0.940, 0.963]'
    """
    value = f"{row['value']:.{digits}f}"
    return value if row["low"] is None else f"{value} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def read_metrics(run: Path) -> dict[str, Any]:
    """A run's `metrics.json`; of its content, "data" and "summary" are checked.

    Raises:
        ValueError: there is none, it is not JSON, or it has another format.
    """
    path = Path(run) / "metrics.json"
    if not is_there(path):
        raise ValueError(f"{run} has no metrics.json; evaluate the run first: ccvae evaluate {run}")
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; evaluate the run again: ccvae evaluate {run}") from None
    if not isinstance(found, dict) or found.get("form") != FORM:
        raise ValueError(f"{path} has an unknown format; evaluate the run again with this version: ccvae evaluate {run}")
    about, rows = found.get("data"), found.get("summary")
    complete = isinstance(about, dict) and all(isinstance(about.get(name), kind) for name, kind in ABOUT.items())
    if not (complete and isinstance(rows, list) and all(map(is_row, rows))):
        raise ValueError(f"{path} is damaged: its data or summary are incomplete; evaluate the run again: ccvae evaluate {run}")
    return found


def is_row(row: Any) -> bool:
    """Whether a value is a row of a summary: see `ccvae.evaluation.summary`."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in TEXTS):
        return False
    ends = (row.get("low"), row.get("high"))
    numbers = (row.get("value"), *(() if ends == (None, None) else ends))
    digits = row.get("digits")
    return (
        all(isinstance(number, int | float) and abs(number) <= sys.float_info.max for number in numbers)
        and isinstance(digits, int)
        and 0 <= digits <= LARGEST_DIGITS
    )
