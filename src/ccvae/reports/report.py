"""The report of a run: an HTML page with figures, metrics and settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.drawing.html import Section, figure_section, page, paragraphs, render, table_section
from ccvae.evaluation.metrics.classification import columns_of, known, scores
from ccvae.evaluation.metrics.likelihood import terms_by_row
from ccvae.labels import Categorical, Continuous
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import intervene, reconstruct
from ccvae.reports.figure_selection import end_values, select
from ccvae.reports.figures import ORDER, in_own_units
from ccvae.reports.image_figures import MOST_CLASSES, value_text
from ccvae.reports.stored_figures import stored_figures
from ccvae.storage.atomic import writing
from ccvae.storage.run_folder import CONFIG, read_settings_text

__all__ = ["bound_table", "label_table", "write_report"]

COLUMNS = {
    "majority": "majority",
    "accuracy": "accuracy",
    "balanced accuracy": "balanced_accuracy",
    "error": "absolute_error",
    "error of the mean": "prior_error",
}
"""Metrics of `ccvae.evaluation.metrics.classification` in the table of labels, by column."""
MOST_COLUMNS = 12
"""Columns of a table of which a row is shown."""


def write_report(
    folder: str | Path, model: CCVAE | None = None, data: Dataset | None = None, sections: Sequence[Section] = ()
) -> Path:
    """Write a run's `report.html`: its figures, metrics and settings.

    Args:
        folder: the run folder; the PNG files in its `figures/` are shown, those of `ccvae.reports.figures` first.
        model: the run's model; without model and data, the report has no metrics.
        data: the run's data.
        sections: further sections, shown after the metrics.

    Returns:
        Path of the page.

    Raises:
        ValueError: `config.yaml` is a link that leads out of the folder.
    """
    folder = Path(folder)
    figures = sorted(stored_figures(folder), key=lambda path: (place(path.stem), path.stem))
    shown = [figure_section(path) for path in figures]
    subtitle = ""
    if model is not None and data is not None:
        subtitle = described(model, data)
        shown += metrics_sections(model, data)
        shown += own_units_sections(model, data)
    shown += sections
    text = read_settings_text(folder)
    if text is not None:
        notes = () if data is None else data.notes
        shown.append(Section("Settings", render("reports/templates/settings.html", notes=notes, name=CONFIG, text=text)))
    with writing(folder / "report.html") as path:
        path.write_text(page(folder.resolve().name, shown, subtitle), encoding="utf-8")
    return folder / "report.html"


# ---------------------------------------------------------------------- metrics


def own_units_sections(model: CCVAE, data: Dataset) -> list[Section]:
    """For tables: one row, and the same with each label at its values, in the units of its columns; nothing for other data."""
    if data.columns is None or data.columns.identity:
        return []
    selection = select(model, data, seed=0)
    row = data.tensor([selection.typical_row])
    vectors = {"the row": row, "its reconstruction": reconstruct(model, row)}
    for name in selection.labels:
        label = model.space[name]
        values = label.values[:MOST_CLASSES] if isinstance(label, Categorical) else end_values(label)
        vectors |= {f"with {name}={value_text(value)}": intervene(model, row, {name: value}) for value in values}
    frame = data.columns.decode(torch.cat(list(vectors.values())).cpu().numpy())
    frame.index = pd.Index(list(vectors), name="")
    more = len(frame.columns) - MOST_COLUMNS
    sentence = (
        f"Row {data.ids[selection.typical_row]} of the {selection.split} split, and what the model expects of it where a label "
        f"has another value; in the units of the columns." + (f" The first {MOST_COLUMNS} columns." if more > 0 else "")
    )
    return [table_section("One row with other labels, in own units", sentence, frame.iloc[:, :MOST_COLUMNS].map(as_cell))]


def as_cell(value: object) -> str:
    """A cell in own units: four digits of a number, or all before the point."""
    return in_own_units(value) if isinstance(value, float) else str(value)


def metrics_sections(model: CCVAE, data: Dataset) -> list[Section]:
    """Metrics on rows that the model was not trained on."""
    held_out = [split for split in ("validation", "test") if len(data.splits[split])]
    if not held_out:
        return [Section("Metrics", paragraphs(["All rows were used for training; there are none to measure on."]))]
    sentence = (
        "Mean over the rows of a split, in nats per row; higher is better. The total is the lower bound on log p(x, y), the "
        "sum of the other columns. Its size depends on the likelihood's scale, so compare only runs with the same data and "
        "likelihood."
    )
    sections = [table_section("The bound", sentence, bound_table(model, data, held_out), digits=1)]
    split = held_out[-1]
    table = label_table(model, data, split)
    shown = ["balanced accuracy", "accuracy", "majority", "labelled", "observed", "kind"]
    discrete = table.loc[table["kind"] != Continuous.kind, shown]
    numbers = table[table["kind"] == Continuous.kind][["labelled", "observed", "error", "error of the mean"]]
    if len(discrete):
        sentence = (
            f"On the {split} split. Accuracy: fraction of rows whose most probable value is the observed one. Majority: "
            "accuracy of always predicting the most frequent value. Balanced accuracy: mean of the accuracies of the "
            "values, so always predicting the same value reaches 1 / (number of values). Labelled: training rows with this "
            "label. Observed: rows it was measured on."
        )
        mean = pd.DataFrame(discrete[shown[:3]].mean().to_dict() | {"kind": ""}, index=["mean"])
        table = pd.concat([discrete.astype({"labelled": "Int64", "observed": "Int64"}), mean]).rename_axis("label")
        sections.append(table_section("Label accuracy", sentence, table, bars=shown[:2], summary=True))
    if len(numbers):
        sentence = (
            f"On the {split} split: mean absolute error of the predicted mean, in the label's own unit, beside that of "
            "always predicting the mean of the labelled training rows."
        )
        sections.append(table_section("Numbers", sentence, numbers))
    return sections


def bound_table(model: CCVAE, data: Dataset, splits: Sequence[str] = ("validation", "test"), seed: int = 0) -> pd.DataFrame:
    """Mean of the bound and its terms, in nats per row.

    Args:
        model: the model.
        data: its data.
        splits: splits to measure on; each needs rows.
        seed: seed of the sample of z that estimates the reconstruction term.

    Returns:
        One row per split; columns "total" and the terms.
    """
    means = {}
    for split in splits:
        terms = terms_by_row(model, SplitBatches(data, split), seed)
        means[split] = {name: float(term.double().mean()) for name, term in terms.items()}
    return pd.DataFrame.from_dict(means, orient="index").rename_axis("split")


def label_table(model: CCVAE, data: Dataset, split: str = "test") -> pd.DataFrame:
    """How well every label is predicted.

    Args:
        model: the model.
        data: its data.
        split: split to measure on.

    Returns:
        One row per label: "kind"; "labelled", number of training rows with the label; "observed", number of rows of the split
        with the label; "majority", "accuracy" and "balanced accuracy" of binary and categorical labels; and of continuous ones
        "error", the mean absolute error, and "error of the mean", that of always predicting the mean of p(y). NaN where a
        column does not apply, or nothing was observed.
    """
    probabilities = pd.concat([model.predict_proba(x) for x, _ in SplitBatches(data, split)], ignore_index=True)
    truth, trained = data.labels[data.splits[split]], data.labels[data.splits["train"]]
    rows = []
    for column, label in enumerate(model.space):
        found = scores(label, *known(label, columns_of(label, probabilities), truth[:, column]))
        rows.append(
            {
                "label": label.name,
                "kind": label.kind,
                "labelled": int((~np.isnan(trained[:, column])).sum()),
                "observed": int((~np.isnan(truth[:, column])).sum()),
                **{name: found.get(metric, math.nan) for name, metric in COLUMNS.items()},
            }
        )
    return pd.DataFrame(rows).set_index("label")


def described(model: CCVAE, data: Dataset) -> str:
    """A run in one line."""
    train = data.labels[data.splits["train"]]
    with_labels = int((~np.isnan(train)).any(axis=1).sum())
    shape = "×".join(map(str, model.input_shape[1:] or model.input_shape))
    facts = (
        data.name,
        f"{len(train):,} training rows, {'all' if with_labels == len(train) else f'{with_labels:,}'} with labels",
        f"{len(model.space)} label{'s' if len(model.space) > 1 else ''}",
        f"images of {shape}" if len(model.input_shape) == 3 else f"{shape} features",
        f"{model.config.latent_dim} latents",
        f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters",
    )
    return " · ".join(facts)


def place(name: str) -> int:
    """Position of a figure among the others."""
    return ORDER.index(name) if name in ORDER else len(ORDER)
