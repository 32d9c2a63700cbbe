"""A report on data as a page with pictures that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from markupsafe import Markup

from ccvae.data.checks.findings import Findings, LabelSummary
from ccvae.data.checks.text import values_text
from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.drawing.html import Section, inline_image, page, paragraphs, render, table, table_section

__all__ = ["page_of_report"]

EXAMPLES = 24
EXAMPLES_PER_VALUE = 8


def page_of_report(report: Findings) -> str:
    """The report as a complete HTML page."""
    notes = [*report.notes, *([] if report.groups is None else [f"{report.groups:,} groups, none in two splits"])]
    sections = [
        Section(title, render("data/checks/templates/list.html", sentences=found, tone=tone))
        for title, tone, found in (
            ("Problems", "bad", report.problems or ()),
            ("Worth a look", "fair", report.warnings),
            ("Notes", "", notes),
        )
        if found
    ]
    if not report.problems:
        sections.insert(0, Section("No problems found", paragraphs([])))
    sections += [
        Section("Splits", table(splits_table(report))),
        Section("Labels", render("data/checks/templates/labels.html", labels=list(label_rows(report)))),
    ]
    if report.correlations:
        rows = {f"{pair.first} and {pair.second}": pair.coefficient for pair in report.correlations}
        frame = pd.DataFrame({"correlation": pd.Series(rows)}).rename_axis("labels")
        sections.append(Section("Strongest correlations", table(frame, digits=2, bars=["correlation"])))
    sections.append(gallery(report.data) if report.data.inputs.ndim == 4 else features_section(report.data))
    return page(report.name, sections, f"{report.rows:,} rows, {report.inputs}")


def splits_table(report: Findings) -> pd.DataFrame:
    """Rows and labelled rows of every split."""
    rows = {split: [report.splits[split], report.labelled[split]] for split in SPLITS}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["rows", "labelled"]).rename_axis("split")


def label_rows(report: Findings) -> Iterable[dict[str, object]]:
    """What the template shows of each label: where it is observed, and a line with a bar and pictures for every value."""
    pictured = report.data.inputs.ndim == 4
    for column, label in enumerate(report.labels):
        total = sum(label.counts.values())
        lines = [
            {
                "text": f"{value} {count / total:.1%}",
                "share": 100 * count / total,
                "pictures": pictures_of(report.data, column, position) if pictured else "",
            }
            for position, (value, count) in enumerate(label.counts.items())
            if label.numbers is None and total
        ]
        if not lines:
            pictures = pictures_of(report.data, column, None) if pictured else ""
            lines = [{"text": values_text(label), "share": None, "pictures": pictures}]
        yield {"name": label.name, "kind": label.kind, "observed": observed_text(report, label), "lines": lines}


def observed_text(report: Findings, label: LabelSummary) -> str:
    """Where a label is observed, and how often it is missing."""
    observed = ", ".join(f"{label.observed[split]:,} {split}" for split in SPLITS if report.splits[split])
    return f"{observed}; {label.missing:.0%} missing"


def pictures_of(data: Dataset, column: int, position: int | None) -> Markup | str:
    """Training images with one value of a label, side by side; for a continuous one, from its least to its greatest."""
    train = data.splits["train"]
    entries = data.labels[train, column]
    if position is None:
        known = train[~np.isnan(entries)]
        ordered = known[np.argsort(data.labels[known, column], kind="stable")]
        rows = ordered[np.linspace(0, len(ordered) - 1, min(EXAMPLES_PER_VALUE, len(ordered))).astype(int)]
    else:
        rows = train[np.floor(entries + 0.5) == position][:EXAMPLES_PER_VALUE]
    return inline_image(np.concatenate([data.inputs[row] for row in rows.tolist()], axis=1)) if len(rows) else ""


def gallery(data: Dataset) -> Section:
    """Some rows with their ids and labels, drawn at random."""
    # not the seed of the splits: all rows would then be of one split
    rows = np.sort(np.random.default_rng([0, EXAMPLES]).permutation(len(data))[:EXAMPLES])
    decoded = data.space.decode(data.labels[rows]).astype(object)
    split_of = data.split_table()["split"]
    figures = []
    for row, (_, values) in zip(rows.tolist(), decoded.iterrows(), strict=True):
        known = [
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.dropna().items()
        ]
        figures.append(
            {"image": inline_image(data.inputs[row]), "id": str(data.ids[row]), "lines": [split_of[row] or "no split", *known]}
        )
    return Section("Examples", render("data/checks/templates/gallery.html", figures=figures))


def features_section(data: Dataset) -> Section:
    """Ranges of the first features in training."""
    names: Iterable[str] = (
        data.columns.features if data.columns is not None else (f"feature {number}" for number in range(data.inputs.shape[1]))
    )
    trained = data.inputs[data.splits["train"]].astype(np.float64)
    if data.columns is not None:
        means, scales = data.columns.units
        trained = trained * scales + means
    rows = [
        [str(name), *(f"{number:.3g}" for number in (values.min(), values.mean(), values.std(), values.max()))]
        for name, values in zip(names, trained.T, strict=True)
    ]
    titles = ["feature", "least", "mean", "sd", "greatest"]
    frame = pd.DataFrame(rows[:EXAMPLES], columns=titles).set_index("feature")
    more = f"The first {EXAMPLES} of {len(rows)} features." if len(rows) > EXAMPLES else ""
    return table_section("Inputs in training", more, frame, numbers=titles[1:])
