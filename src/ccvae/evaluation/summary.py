"""The few numbers of an evaluation to look at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ccvae.evaluation.metrics.image_measures import PICTURE_MEASURES
from ccvae.evaluation.metrics.measure import INPUT_MEASURES

__all__ = ["MEASURES", "find", "summary"]

MEASURES = (*INPUT_MEASURES, *PICTURE_MEASURES)
"""All measures that a summary may hold, in order."""


def find(results: Mapping[str, Any], path: str) -> Any:
    """What is at a path of the results, None where there is nothing."""
    found: Any = results
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def summary(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measures that the results have: each its path, title, meaning and better way, with value, low and high."""
    rows = []
    for measure in MEASURES:
        found = find(results, measure.path)
        numbers = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
        if numbers.get("value") is not None:
            rows.append({**asdict(measure), **{name: numbers.get(name) for name in ("value", "low", "high")}})
    return rows
