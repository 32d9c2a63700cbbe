"""A report on data as text for a terminal, and as a page with pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS

if TYPE_CHECKING:
    from ccvae.data.checks.check import LabelSummary, Report

__all__ = ["page_of_report", "text_of_report"]

EXAMPLES = 24
EXAMPLES_A_VALUE = 8
MOST_VALUES = 6
SHOWN_PIXELS = 96

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; --fair: #b7791f; --good: #2e7d4f; --bar: #4a7fb5; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; } th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
tr + tr { border-top: 1px solid var(--line); } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); } .fair { color: var(--fair); } .good { color: var(--good); }
.bar { display: inline-block; height: .6em; background: var(--bar); margin-right: .5em; }
.bar.negative { background: var(--bad); }
figure { display: inline-block; margin: 0 .6rem .8rem 0; vertical-align: top; width: 7rem; }
figure img, td img { image-rendering: pixelated; max-width: 100%; } figcaption { font-size: 12px; overflow-wrap: anywhere; }
"""


def text_of_report(report: Report) -> str:
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


def split_rows_of(report: Report) -> list[list[str]]:
    """One row a split: its name, how many rows it has, and how many of them are labelled."""
    return [[split, f"{report.splits[split]:,}", f"{report.labelled[split]:,}"] for split in SPLITS]


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines whose columns stand below each other."""
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


def page_of_report(report: Report) -> str:
    """The report as a page of HTML that needs nothing else."""
    name = html.escape(report.name)
    lists = [
        f'<h2>{title}</h2><ul class="{tone}">{"".join(f"<li>{html.escape(one)}</li>" for one in found)}</ul>'
        for title, tone, found in (("Problems", "bad", report.problems), ("Worth a look", "fair", report.warnings))
        if found
    ]
    verdict = "" if report.problems else '<p class="good">No problems found.</p>'
    notes = [*report.notes, *([] if report.groups is None else [f"{report.groups:,} groups, none in two splits"])]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style><h1>{name}</h1><p>{report.rows:,} rows, {html.escape(report.inputs)}</p>",
        "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>" if notes else "",
        verdict,
        *lists,
        "<h2>Splits</h2>",
        table_of([["split", "rows", "labelled"], *split_rows_of(report)], numbers=(1, 2)),
        "<h2>Labels</h2>",
        labels_table(report),
        correlations_table(report),
        contact_sheet(report.data) if report.data.inputs.ndim == 4 else features_table(report.data),
    ]
    return "\n".join(part for part in parts if part) + "\n</html>\n"


def table_of(rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of texts, the first row as its head."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if column in numbers else ''}>{html.escape(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )

    head, *body = rows
    return f"<table><tr>{cells(head, 'th')}</tr>" + "".join(f"<tr>{cells(row, 'td')}</tr>" for row in body) + "</table>"


def labels_table(report: Report) -> str:
    """One row a label, with a bar and pictures for every value."""
    pictured = report.data.inputs.ndim == 4
    rows = []
    for column, label in enumerate(report.labels):
        observed = ", ".join(f"{label.observed[split]:,} {split}" for split in SPLITS if report.splits[split])
        about = f"<b>{html.escape(label.name)}</b><br>{label.kind}<br>{observed}<br>{label.missing:.0%} missing"
        total = sum(label.counts.values())
        if label.numbers is not None or not total:
            shown = [(html.escape(values_text(label)), strip(report.data, column, None) if pictured else "")]
        else:
            shown = [
                (
                    f"{bar(6 * count / total)}{html.escape(value)} {count / total:.1%}",
                    strip(report.data, column, position) if pictured else "",
                )
                for position, (value, count) in enumerate(label.counts.items())
            ]
        first, *others = (f"<td>{text}</td><td>{pictures}</td>" for text, pictures in shown)
        rows.append(
            f'<tr><td rowspan="{len(shown)}">{about}</td>{first}</tr>' + "".join(f"<tr>{cells}</tr>" for cells in others)
        )
    return "<table>" + "".join(rows) + "</table>"


def bar(length: float) -> str:
    """A bar of a length in letters, of another colour if it is negative."""
    return f'<span class="bar{" negative" if length < 0 else ""}" style="width:{abs(length):.2f}em"></span>'


def correlations_table(report: Report) -> str:
    """The strongest correlations with bars."""
    rows = [
        f'<tr><td class="number">{pair.coefficient:+.2f}</td><td>{bar(8 * pair.coefficient)}</td>'
        f"<td>{html.escape(pair.first)} and {html.escape(pair.second)}</td></tr>"
        for pair in report.correlations
    ]
    return f"<h2>Strongest correlations</h2><table>{''.join(rows)}</table>" if rows else ""


def strip(data: Dataset, column: int, position: int | None) -> str:
    """Training images with one value of a label, side by side; for a continuous one, from its least to its greatest."""
    train = data.splits["train"]
    entries = data.labels[train, column]
    if position is None:
        known = train[~np.isnan(entries)]
        ordered = known[np.argsort(data.labels[known, column], kind="stable")]
        rows = ordered[np.linspace(0, len(ordered) - 1, min(EXAMPLES_A_VALUE, len(ordered))).astype(int)]
    else:
        rows = train[np.floor(entries + 0.5) == position][:EXAMPLES_A_VALUE]
    return image_tag(np.concatenate([data.inputs[row] for row in rows.tolist()], axis=1)) if len(rows) else ""


def contact_sheet(data: Dataset) -> str:
    """Some rows with their ids and labels, drawn at random."""
    # not the seed of the splits, with which all would be of one split
    rows = np.sort(np.random.default_rng([0, EXAMPLES]).permutation(len(data))[:EXAMPLES])
    decoded = data.space.decode(data.labels[rows]).astype(object)
    split_of = data.split_table()["split"]
    figures = []
    for row, (_, values) in zip(rows.tolist(), decoded.iterrows(), strict=True):
        known = [
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.dropna().items()
        ]
        caption = "<br>".join(
            [f"<b>{html.escape(str(data.ids[row]))}</b>", split_of[row] or "no split", *map(html.escape, known)]
        )
        figures.append(f"<figure>{image_tag(data.inputs[row])}<figcaption>{caption}</figcaption></figure>")
    return "<h2>Examples</h2>" + "".join(figures)


def features_table(data: Dataset) -> str:
    """Ranges of the first features in training."""
    names: Iterable[str] = (
        data.columns.features if data.columns is not None else (f"feature {number}" for number in range(data.inputs.shape[1]))
    )
    trained = data.inputs[data.splits["train"]]
    rows = [
        [name, *(f"{number:.3g}" for number in (values.min(), values.mean(), values.std(), values.max()))]
        for name, values in zip(names, trained.T, strict=True)
    ]
    shown = table_of([["feature", "least", "mean", "sd", "greatest"], *rows[:EXAMPLES]], numbers=(1, 2, 3, 4))
    more = f"<p>and {len(rows) - EXAMPLES} more</p>" if len(rows) > EXAMPLES else ""
    return f"<h2>Inputs in training</h2>{shown}{more}"


def image_tag(pixels: np.ndarray) -> str:
    """An image inside the page, small ones enlarged by whole factors."""
    enlarge = max(1, SHOWN_PIXELS // pixels.shape[0])
    image = Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)
    content = io.BytesIO()
    image.save(content, "PNG")
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="" width="{image.width * enlarge}" src="data:image/png;base64,{encoded}">'
