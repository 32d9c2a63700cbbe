"""Charts of an evaluation, drawn from what `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ccvae.drawing.image_grid import BLUE, GREY, INK, ORANGE, PALE, write_picture
from ccvae.drawing.plots import DOTS_PER_INCH, picture, small_multiples, titled
from ccvae.evaluation.summary import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_evaluation"]

MOST_ANNOTATED = 20
"""Labels with which the cells of a matrix have room for their number."""
SMALLEST_WRITTEN = 0.05
FEWEST_ROWS = 20
"""Rows of a bin from which a label's line goes through it."""
BAR = 0.26
"""Height of a bar, in inches."""


def draw_evaluation(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw all charts that the results allow into a run's `figures/`; those of an earlier evaluation are replaced."""
    drawn = {name: (title, caption, image) for name, title, caption, image in charts(results)}
    for path in (Path(folder) / "figures").glob("evaluation-*.png"):
        if path.stem.removeprefix("evaluation-") not in drawn:
            path.unlink()
    return [
        write_picture(Path(folder) / "figures" / f"evaluation-{name}.png", image, title, caption)
        for name, (title, caption, image) in drawn.items()
    ]


def charts(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Charts with their names, titles and captions."""
    names = results["data"]["labels"]
    accuracy = find(results, "oracle.mean.accuracy.value")
    said = f"The oracle itself reads {accuracy:.1%} of the labels of real inputs rightly." if accuracy is not None else ""
    if find(results, "interventions"):
        caption = (
            "How far the oracle's opinion on each label (column) moves, from 0 to 1, when one label (row) is changed, on "
            "average: the diagonal should be 1, and all else 0. At the lower right, how far the data's own labels depend on "
            f"each other. {said}"
        )
        yield "matrices", "What a change of one label changes", caption, matrices(results, names)
    if find(results, "characteristics.reading.labels"):
        rows = results["characteristics"]["reading"]["labels"]
        caption = (
            "How often a probe reads which variant shows a label (which glasses), where the label holds: from the label's own "
            "block (higher is better: the characteristic is captured), from the style and from all other blocks (lower is "
            "better). Marks: always saying the most frequent variant."
        )
        yield "capture", "Where characteristics are kept", caption, bars(rows, ("own", "style", "others"), "chance")
    if find(results, "characteristics.transfers.labels"):
        rows = results["characteristics"]["transfers"]["labels"]
        caption = (
            "How often the oracle sees the source's variant on the target after a transfer (higher is better), beside the same "
            "of the model's reconstructions of the true pictures, which bounds what it can paint, and of the true pictures, "
            "which bounds what the oracle can see. Marks: the most frequent variant's share."
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
            "How far edited pictures are from the true ones in the region that should change, over the distance of not editing "
            "(the marks at 1): lower is better, 0 is the truth; the model's reconstruction of the true picture shows what its "
            "sharpness allows. An intervention is compared with the nearest of the label's true variants, a transfer with the "
            "one true picture."
        )
        series = ("intervention", "transfer", "reconstruction of the truth")
        yield "truth", "Edits beside the truth", caption, bars(rows, series, "not editing", high=None)
    if find(results, "classification.reliability"):
        caption = (
            "How often what is predicted with a probability comes true; on the dashed line, probabilities can be believed, "
            "below it the model is too sure. A thin line is a label, the thick one all together; at the right, with a "
            "temperature for every label fitted on the validation split."
        )
        yield "reliability", "Can probabilities be believed?", caption, reliability(results)
    if find(results, "latents.blocks"):
        rows = {
            name: {"kl": each["kl"], "of a dimension": {"value": (each["kl"]["value"] or 0) / max(each["dimensions"], 1)}}
            for name, each in results["latents"]["blocks"].items()
        }
        caption = (
            "Nats of information about the input that each label's block and the style hold: KL divergence of q(z|x) from the "
            "prior, in all and for one dimension. A block near 0 is collapsed: nothing of the input is kept in it."
        )
        yield "latents", "What blocks hold", caption, bars(rows, ("kl", "of a dimension"), "", high=None)


def matrices(results: Mapping[str, Any], names: Sequence[str]) -> Image.Image:
    """Changes of all labels through each label, by kind of change."""
    shown = {
        "set to another value": find(results, "interventions.flip.matrix"),
        "set to hold": find(results, "interventions.set.matrix"),
        "traversed, furthest on the way": find(results, "interventions.traversal.matrix"),
        "in the data": find(results, "interventions.data.matrix"),
    }
    size = max(3.2, 0.27 * len(names) + 1.2)
    figure = blank((2 * size, 2 * size))
    panels = list(figure.subplots(2, 2, squeeze=False).flat)
    for panel, (title, matrix) in zip(panels, shown.items(), strict=True):
        values = np.array([[np.nan if each is None else each for each in row] for row in matrix], dtype=float)
        panel.imshow(values, cmap="Blues", vmin=0, vmax=1)
        titled(panel, title)
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_yticks(range(len(names)), names)
        panel.tick_params(labelsize=7, length=0, colors=INK)
        panel.spines[:].set_visible(False)
        for row, column in np.ndindex(values.shape) if len(names) <= MOST_ANNOTATED else ():
            value = values[row, column]
            if value >= SMALLEST_WRITTEN:
                colour = "white" if value > 0.5 else INK
                written = f"{value:.2f}".removeprefix("0")
                panel.text(column, row, written, ha="center", va="center", fontsize=5, color=colour)
    return picture(figure)


def bars(
    rows: Mapping[str, Mapping[str, Any]],
    series: Sequence[str],
    mark: str,
    high: float | None = 1.0,
) -> Image.Image:
    """Bars of labels, one of each series beneath the other, with their intervals.

    Args:
        rows: estimates by label and series.
        series: what is drawn; what a label lacks is left out.
        mark: a plain number of each label that is marked by a line; none if empty.
        high: highest value of the axis; as it comes if not given.
    """
    figure = blank((8, BAR * (len(series) * 0.6 + 0.5) * len(rows) + 0.8))
    panel = figure.subplots()
    height = 0.8 / len(series)
    colours = (BLUE, ORANGE, GREY)
    places = np.arange(len(rows))
    for number, (name, colour) in enumerate(zip(series, colours, strict=False)):
        found = [row.get(name) or {} for row in rows.values()]
        values = np.array([np.nan if each.get("value") is None else each["value"] for each in found])
        shift = places + (number - (len(series) - 1) / 2) * height
        panel.barh(shift, values, height * 0.9, color=colour, label=name)
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
    return picture(figure)


def reliability(results: Mapping[str, Any]) -> Image.Image:
    """Reliability diagrams of all labels, as they are and tempered."""
    shown = {"as predicted": find(results, "classification.reliability")}
    if find(results, "classification.calibrated.reliability"):
        shown["with temperatures"] = find(results, "classification.calibrated.reliability")
    figure, panels = small_multiples(len(shown), 3.2)
    for panel, (title, labels) in zip(panels, shown.items(), strict=True):
        titled(panel, title)
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        for each in labels.values():
            points = zip(each["predicted"], nan(each["observed"]), each["rows"], strict=True)
            often = [(predicted, observed) for predicted, observed, rows in points if rows >= FEWEST_ROWS]
            if often:
                panel.plot(*zip(*often, strict=True), color=BLUE, alpha=0.3, linewidth=0.8)
        panel.plot(*pooled(labels), color=BLUE, linewidth=2, marker="o", markersize=3)
        panel.set_xlabel("predicted")
        panel.set_ylabel("came true", fontsize=7, color=GREY)
    return picture(figure)


def pooled(labels: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Points of all labels' diagrams, put together by what was predicted and weighted by rows."""
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
    """Numbers, with what is not known as NaN."""
    return [np.nan if value is None else value for value in values]


def blank(size: tuple[float, float]) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
