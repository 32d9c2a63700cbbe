"""Comparison of runs: their summaries side by side, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ccvae.storage.metrics import interval, read_metrics

__all__ = ["compare_runs", "comparison"]


def compare_runs(runs: list[Path]) -> pd.DataFrame:
    """Summaries of runs side by side.

    Args:
        runs: run folders that have been evaluated.

    Returns:
        One row per metric that at least one run has: "measure", "better", and a column per run such as "0.962 [0.958, 0.966]"
        with the 95 % bootstrap interval over rows. A star marks the best run if its interval overlaps with no other's.

    Raises:
        ValueError: fewer than two runs, one has not been evaluated, or they were evaluated on different data or splits.
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
    metrics = {path: row for rows_of in reversed(by_run.values()) for path, row in rows_of.items()}
    rows = []
    for path in ordered([list(rows_of) for rows_of in by_run.values()]):
        found = {name: rows_of.get(path) for name, rows_of in by_run.items()}
        better, digits = metrics[path]["better"], metrics[path]["digits"]
        winner = best(found, better)
        texts = {name: text(row, digits) + (" *" if name == winner else "") for name, row in found.items()}
        rows.append({"measure": metrics[path]["title"], "better": better, **texts})
    return pd.DataFrame(rows)


def ordered(sequences: Sequence[Sequence[str]]) -> list[str]:
    """Members of all sequences; what only a later sequence has comes after its predecessor there."""
    found: list[str] = []
    for sequence in sequences:
        place = 0
        for member in sequence:
            if member in found:
                place = found.index(member) + 1
            else:
                found.insert(place, member)
                place += 1
    return found


def best(found: Mapping[str, Mapping[str, Any] | None], better: str) -> str | None:
    """The run that is better than all others with disjoint intervals, if there is one."""
    if len(found) < 2 or better not in ("higher", "lower") or any(row is None or row["low"] is None for row in found.values()):
        return None
    sign = 1 if better == "higher" else -1
    ends = {name: sorted((sign * row["low"], sign * row["high"])) for name, row in found.items() if row is not None}
    leader = max(ends, key=lambda name: ends[name][0])
    others: Sequence[float] = [high for name, (_, high) in ends.items() if name != leader]
    return leader if all(ends[leader][0] > high for high in others) else None


def text(row: Mapping[str, Any] | None, digits: int) -> str:
    """A number with its interval, or a dash."""
    return "–" if row is None else interval(row, digits)
