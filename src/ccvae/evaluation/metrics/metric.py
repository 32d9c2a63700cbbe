"""What an evaluation reports: metrics for the summary, and tables by label. Each metric module lists its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Better", "LabelTable", "Metric"]

Better = Literal["higher", "lower", "beaten", "as it is"]
"""Which way is better; "beaten" is a baseline to exceed, "as it is" a reference value."""


@dataclass(frozen=True)
class Metric:
    """One number of the summary.

    Args:
        path: where it is in the results: names joined by dots.
        title: short name.
        meaning: what it says, in one sentence.
        better: which way is better.
        group: heading under which it is shown.
        digits: decimals.
    """

    path: str
    title: str
    meaning: str
    better: Better
    group: str
    digits: int = 3


@dataclass(frozen=True)
class LabelTable:
    """A table of the evaluation page with one row per label.

    Args:
        title: heading.
        sentence: how to read the table.
        path: where its rows are in the results: names joined by dots.
        columns: path in a row by column heading; every number of the row if None.
        uses_oracle: whether the oracle's own accuracy is stated beside the table.
    """

    title: str
    sentence: str
    path: str
    columns: Mapping[str, str] | None = None
    uses_oracle: bool = False
