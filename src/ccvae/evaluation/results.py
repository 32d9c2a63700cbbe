"""Reading the results of an evaluation, as in `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccvae.storage.files import read_json

__all__ = ["FORM", "find", "read_metrics"]

FORM = 2
"""Version of the format of `metrics.json`; it is increased when a number moves or changes its meaning."""


def find(results: Mapping[str, Any], path: str) -> Any:
    """The entry at a path of names joined by dots, or None if there is none."""
    found: Any = results
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def read_metrics(run: Path) -> dict[str, Any]:
    """A run's `metrics.json`.

    Raises:
        ValueError: there is none, it is not JSON, or it has another format.
    """
    path = Path(run) / "metrics.json"
    if not path.exists():
        raise ValueError(f"{run} has no metrics.json; evaluate the run first: ccvae evaluate {run}")
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; evaluate the run again: ccvae evaluate {run}") from None
    if not isinstance(found, dict) or found.get("form") != FORM:
        raise ValueError(f"{path} has an unknown format; evaluate the run again with this version: ccvae evaluate {run}")
    return found
