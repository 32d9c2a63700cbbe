"""A report on data as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ccvae.data.checks.findings import Findings, LabelSummary
from ccvae.data.splits import SPLITS

__all__ = ["text_of_report", "values_text"]

MOST_VALUES = 6


def text_of_report(report: Findings) -> str:
    """The report as lines of text."""
    lines = [f"{report.name}: {report.rows:,} rows, {report.inputs}"]
    lines += [f"  {note}" for note in report.notes]
    if report.groups is not None:
        lines.append(f"  {report.groups:,} groups, none in two splits")
    lines += ["", *aligned([["split", "rows", "labelled"], *split_rows_of(report)], right=(1, 2))]
    rows = [
        [label.name, label.kind, f"{label.observed['train']:,}", f"{label.missing:.0%}", values_text(label)]
        for label in report.labels
    ]
    header = ["label", "kind", "in training", "missing", "values in training"]
    lines += ["", *aligned([header, *rows], right=(2, 3))]
    if report.correlations:
        pairs = [[f"{pair.coefficient:+.2f}", f"{pair.first} and {pair.second}"] for pair in report.correlations[:5]]
        lines += ["", "strongest correlations", *(f"  {line}" for line in aligned(pairs))]
    for title, found in (("worth a look", report.warnings), ("problems", report.problems)):
        if found:
            lines += ["", title, *(f"  - {one}" for one in found)]
    if not report.problems:
        lines += ["", "no problems found"]
    return "\n".join(lines) + "\n"


def split_rows_of(report: Findings) -> list[list[str]]:
    """One row for each split: its name, its number of rows, and how many of them are labelled."""
    return [[split, f"{report.splits[split]:,}", f"{report.labelled[split]:,}"] for split in SPLITS]


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def values_text(label: LabelSummary) -> str:
    """Shares of a label's values, or the range of its numbers."""
    if label.numbers is not None:
        least, mean, spread, most = label.numbers
        return f"{least:.4g} to {most:.4g}, mean {mean:.4g}, sd {spread:.3g}"
    total = sum(label.counts.values())
    if not total:
        return "never observed"
    shares = [f"{value} {count / total:.1%}" for value, count in label.counts.items()]
    return ", ".join(shares[:MOST_VALUES]) + (f", and {len(shares) - MOST_VALUES} more" if len(shares) > MOST_VALUES else "")
