"""Figures of an evaluation, plotted from the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ccvae.drawing.image_grid import BLUE, GREY, INK, ORANGE, PALE, write_png
from ccvae.drawing.plots import DOTS_PER_INCH, set_title, small_multiples, to_image
from ccvae.storage.metrics import find
from ccvae.storage.run_folder import figures_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_evaluation"]

MOST_ANNOTATED = 20
"""Largest number of labels for which a matrix has room for numbers in its cells."""
SMALLEST_WRITTEN = 0.05
FEWEST_ROWS = 20
"""Smallest number of rows of a bin that a label's line goes through."""
BAR = 0.26
"""Height of a bar, in inches."""


def draw_evaluation(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Plot all figures that the results allow into a run's `figures/`, replacing those of an earlier evaluation."""
    drawn = {name: (title, caption, image) for name, title, caption, image in charts(results)}
    place = figures_folder(Path(folder))
    for path in place.glob("evaluation-*.png"):
        if path.stem.removeprefix("evaluation-") not in drawn:
            path.unlink()
    return [
        write_png(place / f"evaluation-{name}.png", image, title, caption) for name, (title, caption, image) in drawn.items()
    ]


def charts(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Figures with their names, titles and captions."""
    names = results["data"]["labels"]
    accuracy = find(results, "oracle.mean.accuracy.value")
    accuracy_note = (
        f"The oracle itself predicts {accuracy:.1%} of the labels of real inputs correctly." if accuracy is not None else ""
    )
    if find(results, "interventions"):
        caption = (
            "Mean change of the oracle's prediction of each label (column), from 0 to 1, when one label (row) is changed: the "
            "diagonal should be 1, everything else 0. At the lower right, how much the labels of the data depend on "
            f"each other. {accuracy_note}"
        )
        yield "matrices", "What a change of one label changes", caption, matrices(results, names)
    if find(results, "characteristics.reading.labels"):
        rows = results["characteristics"]["reading"]["labels"]
        caption = (
            "Accuracy of probes that read which variant shows a label (which glasses), where the label is present: from the "
            "label's own block (higher is better: the characteristic is captured), from the style and from all other blocks "
            "(lower is better). Marks: always predicting the most frequent variant."
        )
        yield "capture", "Where characteristics are stored", caption, bars(rows, ("own", "style", "others"), "chance")
    if find(results, "characteristics.transfers.labels"):
        rows = results["characteristics"]["transfers"]["labels"]
        caption = (
            "How often the oracle predicts the source's variant for the target after a transfer (higher is better), beside the "
            "same for the model's reconstructions of the true images, which limits what it can generate, and for the true "
            "images, which limits what the oracle recognizes. Marks: frequency of the most frequent variant."
        )
        chart = bars(rows, ("recognised", "reconstruction", "truth"), "chance")
        yield "transfers", "Transfers recognised", caption, chart
    if find(results, "counterfactuals"):
        flips, moves = (results["counterfactuals"][part]["labels"] for part in ("interventions", "transfers"))
        rows = {
            name: {
                "intervention": flips[name]["nearest"]["inside"]["relative"],
                "transfer": find(moves, f"{name}.inside.relative"),
                "reconstruction of the truth": flips[name]["nearest"]["inside"]["possible"],
                "not editing": 1.0,
            }
            for name in flips
        }
        caption = (
            "Distance of edited images from the true ones in the region that should change, divided by the distance of not "
            "editing (the marks at 1): lower is better, 0 is the truth. The model's reconstruction of the true image shows "
            "what its sharpness allows. An intervention is compared with the nearest of the label's true variants, a transfer "
            "with the single true image."
        )
        series = ("intervention", "transfer", "reconstruction of the truth")
        yield "truth", "Edits beside the truth", caption, bars(rows, series, "not editing", high=None)
    if find(results, "classification.reliability"):
        caption = (
            "Observed frequency against predicted probability. On the dashed line, probabilities are calibrated; below it the "
            "model is overconfident. Thin lines are labels, the thick line is all of them. At the right, with one temperature "
            "per label fitted on the validation split."
        )
        yield "reliability", "Are probabilities calibrated?", caption, reliability(results)
    if find(results, "latents.blocks"):
        rows = {
            name: {"kl": each["kl"], "of a dimension": {"value": (each["kl"]["value"] or 0) / max(each["dimensions"], 1)}}
            for name, each in results["latents"]["blocks"].items()
        }
        caption = (
            "Information about the input in each label's block and in the style, in nats per row: KL divergence of q(z|x) from "
            "the prior, in total and per dimension. A block near 0 has collapsed: it stores nothing about the input."
        )
        yield "latents", "What blocks store", caption, bars(rows, ("kl", "of a dimension"), "", high=None)


def matrices(results: Mapping[str, Any], names: Sequence[str]) -> Image.Image:
    """Changes of all labels by changing each label, for each kind of change."""
    shown = {
        "set to another value": find(results, "interventions.flip.matrix"),
        "set to present": find(results, "interventions.set.matrix"),
        "traversed, largest change": find(results, "interventions.traversal.matrix"),
        "in the data": find(results, "interventions.data.matrix"),
    }
    size = max(3.2, 0.27 * len(names) + 1.2)
    figure = blank((2 * size, 2 * size))
    panels = list(figure.subplots(2, 2, squeeze=False).flat)
    for panel, (title, matrix) in zip(panels, shown.items(), strict=True):
        values = np.array([[np.nan if each is None else each for each in row] for row in matrix], dtype=float)
        panel.imshow(values, cmap="Blues", vmin=0, vmax=1)
        set_title(panel, title)
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_yticks(range(len(names)), names)
        panel.tick_params(labelsize=7, length=0, colors=INK)
        panel.spines[:].set_visible(False)
        for row, column in np.ndindex(values.shape) if len(names) <= MOST_ANNOTATED else ():
            value = values[row, column]
            if value >= SMALLEST_WRITTEN:
                color = "white" if value > 0.5 else INK
                written = f"{value:.2f}".removeprefix("0")
                panel.text(column, row, written, ha="center", va="center", fontsize=5, color=color)
    return to_image(figure)


def bars(
    rows: Mapping[str, Mapping[str, Any]],
    series: Sequence[str],
    mark: str,
    high: float | None = 1.0,
) -> Image.Image:
    """Horizontal bars with intervals: one group per label, one bar per series.

    Args:
        rows: estimates by label and series.
        series: what is plotted; missing estimates are left out.
        mark: name of a plain number of each label that is marked by a line; none if empty.
        high: upper end of the axis; automatic if None.
    """
    figure = blank((8, BAR * (len(series) * 0.6 + 0.5) * len(rows) + 0.8))
    panel = figure.subplots()
    height = 0.8 / len(series)
    colors = (BLUE, ORANGE, GREY)
    places = np.arange(len(rows))
    for number, (name, color) in enumerate(zip(series, colors, strict=False)):
        found = [row.get(name) or {} for row in rows.values()]
        values = np.array([np.nan if each.get("value") is None else each["value"] for each in found])
        shift = places + (number - (len(series) - 1) / 2) * height
        panel.barh(shift, values, height * 0.9, color=color, label=name)
        for place, each, value in zip(shift, found, values, strict=True):
            if each.get("low") is not None:
                panel.plot([each["low"], each["high"]], [place, place], color=INK, linewidth=0.8)
            if np.isfinite(value):
                panel.text(each.get("high") or value, place, f"  {value:.2f}", va="center", fontsize=6, color=GREY)
    for place, row in zip(places, rows.values(), strict=True):
        if mark and row.get(mark) is not None:
            panel.plot([row[mark]] * 2, [place - 0.45, place + 0.45], color=INK, linewidth=1.2)
    panel.set_yticks(places, list(rows))
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(0, None if high is None else high * 1.08)
    panel.tick_params(labelsize=8, colors=INK, length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(PALE)
    panel.grid(axis="x", color=PALE, linewidth=0.6)
    panel.set_axisbelow(True)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=len(series), frameon=False, fontsize=8)
    return to_image(figure)


def reliability(results: Mapping[str, Any]) -> Image.Image:
    """Reliability diagrams of all labels, as predicted and with temperatures."""
    shown = {"as predicted": find(results, "classification.reliability")}
    if find(results, "classification.calibrated.reliability"):
        shown["with temperatures"] = find(results, "classification.calibrated.reliability")
    figure, panels = small_multiples(len(shown), 3.2)
    for panel, (title, labels) in zip(panels, shown.items(), strict=True):
        set_title(panel, title)
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        for each in labels.values():
            points = zip(each["predicted"], nan(each["observed"]), each["rows"], strict=True)
            often = [(predicted, observed) for predicted, observed, rows in points if rows >= FEWEST_ROWS]
            if often:
                panel.plot(*zip(*often, strict=True), color=BLUE, alpha=0.3, linewidth=0.8)
        panel.plot(*pooled(labels), color=BLUE, linewidth=2, marker="o", markersize=3)
        panel.set_xlabel("predicted")
        panel.set_ylabel("observed", fontsize=7, color=GREY)
    return to_image(figure)


def pooled(labels: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Points of all labels' diagrams, pooled in bins of the predicted probability and weighted by rows."""
    points = np.array(
        [
            point
            for each in labels.values()
            for point in zip(each["predicted"], nan(each["observed"]), each["rows"], strict=True)
        ]
    )
    points = points[~np.isnan(points[:, 1])]
    place = np.minimum((points[:, 0] * 10).astype(int), 9)
    groups = [points[place == number] for number in range(10) if (place == number).any()]
    return tuple([float(np.average(group[:, axis], weights=group[:, 2])) for group in groups] for axis in (0, 1))  # type: ignore[return-value]


def nan(values: Sequence[float | None]) -> list[float]:
    """Numbers with null as NaN."""
    return [np.nan if value is None else value for value in values]


def blank(size: tuple[float, float]) -> Figure:
    """An empty figure; size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
