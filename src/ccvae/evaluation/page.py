"""The evaluation page: figures first, then every number with its meaning and which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ccvae.drawing.html import Section, cell_text, figure_section, page, paragraphs, render, table_section
from ccvae.evaluation.figures import draw_evaluation
from ccvae.evaluation.summary import TABLES
from ccvae.storage.atomic import writing
from ccvae.storage.metrics import find

__all__ = ["write_evaluation"]

ORACLE_GROUPS = ("Generation", "Interventions", "Truth", "Characteristics", "Realism")
"""Groups of the summary whose numbers depend on the oracle."""


def write_evaluation(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write a run's `evaluation.html`, and its figures into `figures/`.

    Args:
        folder: the run folder.
        results: return value of `ccvae.evaluation.evaluate`.

    Returns:
        Path of the page.
    """
    folder = Path(folder)
    sections = [
        *warnings_sections(results),
        *(figure_section(path) for path in draw_evaluation(results, folder)),
        *summary_sections(results),
        *label_sections(results),
        closing_section(results),
    ]
    data = results["data"]
    subtitle = f"Evaluation on {data['rows']:,} rows of the {data['split']} split of {data['name']}"
    with writing(folder / "evaluation.html") as path:
        path.write_text(page(folder.resolve().name, sections, subtitle), encoding="utf-8")
    return folder / "evaluation.html"


def warnings_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """What a reader should know before reading any number."""
    warnings = []
    if collapsed := find(results, "latents.collapsed"):
        warnings.append(
            f"Collapsed blocks: {', '.join(collapsed)}. They store nothing about the input, so changing these labels changes "
            "every image in the same way. Lower kl_weight or the likelihood's scale, or train longer."
        )
    if (unknown := find(results, "oracle.unknown_training_labels")) and unknown > 0:
        warnings.append(
            f"{unknown:.0%} of the training labels that the oracle learned from are unknown; "
            "where its own accuracy is low, numbers that depend on it say little."
        )
    effective, samples = (find(results, f"likelihood.evidence.{name}") for name in ("effective_samples", "samples"))
    if effective and effective["value"] is not None and effective["value"] < 2:
        warnings.append(
            f"log p(x): the effective number of importance samples is {effective['value']:.1f} of {samples} per row; "
            "the estimate is a loose lower bound."
        )
    if warnings:
        yield Section("Warnings", paragraphs(warnings))


def summary_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """Tables of the summary, one per group."""
    measures = results["summary"]
    for group in dict.fromkeys(measure["group"] for measure in measures):
        rows = []
        for measure in (measure for measure in measures if measure["group"] == group):
            value, low, high = (cell_text(measure[name], measure["digits"]) for name in ("value", "low", "high"))
            interval = "–" if measure["low"] is None else f"{low} to {high}"
            rows.append({**measure, "value": value, "interval": interval})
        note = oracle_note(results) if group in ORACLE_GROUPS else ""
        yield Section(group, render("evaluation/templates/summary.html", rows=rows, note=note))


def oracle_note(results: Mapping[str, Any]) -> str:
    """How accurate the oracle is."""
    share, after = (find(results, f"oracle.mean.{name}.value") for name in ("accuracy", "reconstructed"))
    if share is None:
        return ""
    reconstructed = "" if after is None else f", and {after:.1%} on the model's reconstructions of the same inputs"
    return (
        "Predictions are those of an oracle, a classifier trained independently of the model; "
        f"it predicts {share:.1%} of the labels of real inputs correctly{reconstructed}."
    )


def label_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """Tables with one row per label."""
    for table in TABLES:
        rows = find(results, table.path)
        if rows:
            note = f" {oracle_note(results)}" if table.uses_oracle else ""
            yield table_section(table.title, table.sentence + note, label_table(rows, table.columns))


def label_table(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str] | None) -> pd.DataFrame:
    """A table of numbers by label: all of them, or those at the given paths."""
    columns = columns or {name.replace("_", " "): name for name in dict.fromkeys(name for row in rows.values() for name in row)}
    return pd.DataFrame(
        {title: [value_of(find(row, path)) for row in rows.values()] for title, path in columns.items()},
        index=pd.Index(list(rows), name="label"),
    )


def value_of(found: Any) -> Any:
    """The value of an estimate, or a plain number."""
    value = found.get("value") if isinstance(found, Mapping) else found
    return float("nan") if value is None else value


def closing_section(results: Mapping[str, Any]) -> Section:
    """What was not measured and why, the settings, and the seconds that it took."""
    skipped = [f"Not measured: {name}, for {reason}." for name, reason in results["skipped"].items()]
    counts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in results["settings"].items())
    seconds = ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in results["seconds"].items() if value >= 0.5)
    return Section("How it was measured", paragraphs([*skipped, f"Upper limits of counts: {counts}.", f"Seconds: {seconds}."]))
