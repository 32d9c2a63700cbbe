"""Runs side by side: their summaries, with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ccvae.evaluation.summary import MEASURES

__all__ = ["compare_runs", "comparison", "read_metrics"]

MEASURE_COLUMNS = ("measure", "better")


def read_metrics(run: Path) -> dict[str, Any]:
    """A run's `metrics.json`; raises `ValueError` if there is none, or of another form."""
    path = Path(run) / "metrics.json"
    if not path.exists():
        raise ValueError(f"{run} has no metrics.json; evaluate the run first: ccvae evaluate {run}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); evaluate the run anew: ccvae evaluate {run}") from None
    if not isinstance(found, dict) or found.get("form") != 1:
        raise ValueError(f"{path} is of a form that this version does not know; evaluate the run anew: ccvae evaluate {run}")
    return found


def compare_runs(runs: list[Path]) -> pd.DataFrame:
    """Summaries of runs side by side.

    Args:
        runs: run folders that have been evaluated.

    Returns:
        A row a measure that at least one run has: "measure", "better", and a column a run such as "0.962 [0.958, 0.966]",
        the 95 % bootstrap interval over rows. Where the best run's interval overlaps with no other's, it bears a star.

    Raises:
        ValueError: fewer than two runs, one has not been evaluated, or they were measured on different data or splits.
    """
    if len(runs) < 2:
        raise ValueError(f"runs: name at least two to compare, found {len(runs)}")
    found = [read_metrics(run) for run in runs]
    for run, metrics in zip(runs, found, strict=True):
        for part in ("name", "split", "labels"):
            ours, theirs = found[0]["data"][part], metrics["data"][part]
            if ours != theirs:
                raise ValueError(f"{run} was measured on {part} {theirs}, {runs[0]} on {ours}; they cannot be compared")
    names = [Path(run).resolve().name for run in runs]
    titles = [name if names.count(name) == 1 else str(run) for name, run in zip(names, runs, strict=True)]
    return comparison(dict(zip(titles, found, strict=True)))


def comparison(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Summaries of several results side by side, by name: see `compare_runs`."""
    by_run = {name: {row["path"]: row for row in each["summary"]} for name, each in results.items()}
    rows = []
    for measure in MEASURES:
        found = {name: rows_of.get(measure.path) for name, rows_of in by_run.items()}
        if not any(found.values()):
            continue
        winner = best(found, measure.better)
        texts = {name: text(row, measure.digits) + (" *" if name == winner else "") for name, row in found.items()}
        rows.append({"measure": measure.title, "better": measure.better, **texts})
    return pd.DataFrame(rows)


def best(found: Mapping[str, Mapping[str, Any] | None], better: str) -> str | None:
    """The run that is better than all others beyond their intervals, if there is one."""
    if len(found) < 2 or better not in ("higher", "lower") or any(row is None or row["low"] is None for row in found.values()):
        return None
    sign = 1 if better == "higher" else -1
    ends = {name: sorted((sign * row["low"], sign * row["high"])) for name, row in found.items() if row is not None}
    leader = max(ends, key=lambda name: ends[name][0])
    others: Sequence[float] = [high for name, (_, high) in ends.items() if name != leader]
    return leader if all(ends[leader][0] > high for high in others) else None


def text(row: Mapping[str, Any] | None, digits: int) -> str:
    """A number with its interval."""
    if row is None:
        return "–"
    value = f"{row['value']:.{digits}f}"
    return value if row["low"] is None else f"{value} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
