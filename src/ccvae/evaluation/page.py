"""The page of an evaluation: figures first, then every number with what it means and which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ccvae.drawing.html import Section, cell_text, figure_section, page, paragraphs, render, table_section
from ccvae.evaluation.figures import draw_evaluation
from ccvae.evaluation.summary import find
from ccvae.storage.atomic import writing

__all__ = ["write_evaluation"]

RESTS_ON_THE_ORACLE = ("Generation", "Interventions", "Truth", "Characteristics", "Realism")
"""Groups of the summary with numbers that are an oracle's."""


def write_evaluation(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write a run's `evaluation.html`, and its charts into `figures/`.

    Args:
        folder: the run folder.
        results: what `ccvae.evaluation.evaluate` gave.

    Returns:
        The page's file.
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
            "where its own accuracy is low, numbers that rest on it say little."
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
        note = oracle_note(results) if group in RESTS_ON_THE_ORACLE else ""
        yield Section(group, render("evaluation/templates/summary.html", rows=rows, note=note))


def oracle_note(results: Mapping[str, Any]) -> str:
    """How far the oracle can be trusted."""
    share, after = (find(results, f"oracle.mean.{name}.value") for name in ("accuracy", "reconstructed"))
    if share is None:
        return ""
    blurred = "" if after is None else f", and {after:.1%} of them on the model's reconstructions of the same inputs"
    return f"Judged by an oracle that never met the model; it reads {share:.1%} of the labels of real inputs rightly{blurred}."


def label_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """Tables label by label."""
    tables = {
        "Classification by label": (
            "Higher is better but for majority, which is to be beaten, Brier score, calibration error and errors.",
            "classification.labels",
            None,
        ),
        "Interventions by label": (
            "Every label set to another value than it has. Success: share in which the oracle sees the value asked; before: "
            "the same without the edit; side effect: how far its probabilities of the other labels move, lower is better.",
            "interventions.flip.labels",
            None,
        ),
        "Traversals by label": (
            "Monotonicity: share of walks that arrive and on which the oracle sees no step back; reach: how far its opinion "
            "moves from the first picture to the last, 1 at most for a binary label.",
            "interventions.traversal.labels",
            None,
        ),
        "Generation by label": (
            "Agreement: share of generated pictures in which the oracle sees the value asked.",
            "generation.labels",
            None,
        ),
        "Variants in generated pictures": (
            "Of pictures that show the label: the share of the data's variants that appear; the entropy of the variants over "
            "that in the data, 1 at best; how sure the oracle is of the variant, and how sure it is on data.",
            "generation.variants",
            None,
        ),
        "Edits beside the truth, by label": (
            "Interventions beside the nearest true picture: distance over that of not editing (0 is the truth, 1 no better "
            "than that), in the region that should change, at best (the model's reconstruction of the true picture), and in "
            "features; change outside: mean change of a channel where nothing should change, beside the error of a mere "
            "reconstruction there; region: share of pixels that should change.",
            "counterfactuals.interventions.labels",
            {
                "inside": "nearest.inside.relative",
                "inside, at best": "nearest.inside.possible",
                "features": "nearest.features.relative",
                "features, at best": "nearest.features.possible",
                "change outside": "ready.outside.moved",
                "reconstruction error outside": "ready.outside.reconstruction",
                "region": "ready.region",
            },
        ),
        "Transfers beside the truth, by label": (
            "The same of transfers.",
            "counterfactuals.transfers.labels",
            {
                "inside": "inside.relative",
                "inside, at best": "inside.possible",
                "features": "features.relative",
                "features, at best": "features.possible",
                "change outside": "outside.moved",
                "region": "region",
            },
        ),
        "Characteristics by label": (
            "Shard of variants read from the label's own block, from other blocks and from the style; chance: always saying "
            "the most frequent variant.",
            "characteristics.reading.labels",
            None,
        ),
        "Transfers by label": (
            "Shard of transfers in which the oracle sees the source's variant; present: sees the label at all; reconstruction "
            "and truth: the same of the model's reconstructions of the true pictures, and of those themselves.",
            "characteristics.transfers.labels",
            {name: name for name in ("recognised", "present", "reconstruction", "truth", "chance")},
        ),
        "Leakage by label": (
            "Areas under the ROC curve of probes that read a label from its own block, from the other blocks, from the style "
            "(0.5 is nothing), and from the true values of the other labels.",
            "leakage.labels",
            None,
        ),
        "Self-consistency by label": (
            "How often q(y|z) says y for z drawn from p(z|y), every value as often; higher is better.",
            "consistency.labels",
            None,
        ),
        "Latent blocks": (
            "Nats of KL divergence from the prior, and how many of a block's dimensions move with the input.",
            "latents.blocks",
            None,
        ),
        "The oracle by label": (
            "Shard of rows on which the oracle is right, on inputs and on the model's reconstructions of them.",
            "oracle.labels",
            None,
        ),
        "The oracle by variants": ("The same of variants, where the label holds.", "oracle.variants", None),
    }
    for title, (sentence, path, columns) in tables.items():
        rows = find(results, path)
        if rows:
            note = f" {oracle_note(results)}" if "oracle" in sentence and not path.startswith("oracle") else ""
            yield table_section(title, sentence + note, label_table(rows, columns))


def label_table(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str] | None) -> pd.DataFrame:
    """A table of numbers by label: of all that are there, or of those at some paths."""
    columns = columns or {name.replace("_", " "): name for name in dict.fromkeys(name for row in rows.values() for name in row)}
    return pd.DataFrame(
        {title: [value_of(find(row, path)) for row in rows.values()] for title, path in columns.items()},
        index=pd.Index(list(rows), name="label"),
    )


def value_of(found: Any) -> Any:
    """The number of an estimate, or a plain number."""
    value = found.get("value") if isinstance(found, Mapping) else found
    return float("nan") if value is None else value


def closing_section(results: Mapping[str, Any]) -> Section:
    """What was not measured, and the limits and seconds of what was."""
    skipped = [f"Not measured: {name}, for {reason}." for name, reason in results["skipped"].items()]
    counts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in results["settings"].items())
    seconds = ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in results["seconds"].items() if value >= 0.5)
    return Section("How it was measured", paragraphs([*skipped, f"Upper limits of counts: {counts}.", f"Seconds: {seconds}."]))
