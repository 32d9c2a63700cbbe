"""Plots of training metrics and of vectors, without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ccvae.drawing.image_grid import BLUE, GREY, INK, ORANGE, PALE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["training_curves", "vector_reconstructions", "vector_traversals"]

DOTS_PER_INCH = 200
COLUMNS = 3
MOST_NAMED, LONGEST_NAME = 40, 44
"""Largest number of features whose names are shown, and letters of each name."""
LEGEND_COLUMNS, LEGEND_LINE = 4, 12


def training_curves(metrics: pd.DataFrame) -> Image.Image:
    """Metrics by epoch for training and validation, one panel per metric.

    Args:
        metrics: columns "epoch", and "train/…" and "validation/…" for each metric; "total" is the bound.
    """
    known = list(
        dict.fromkeys(name.partition("/")[2] for name in map(str, metrics) if name.startswith(("train/", "validation/")))
    )
    figure, panels = small_multiples(len(known), 2.2)
    for panel, term in zip(panels, known, strict=True):
        set_title(panel, ("bound" if term == "total" else term) + ("" if term == "accuracy" else ", nats"))
        for split, color in (("train", ORANGE), ("validation", BLUE)):
            if f"{split}/{term}" in metrics:
                values = metrics[["epoch", f"{split}/{term}"]].dropna().to_numpy()
                panel.plot(*values.T, color=color, marker="o" if len(values) < 25 else "", markersize=3, label=split)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return to_image(figure)


def vector_reconstructions(
    originals: np.ndarray, reconstructions: np.ndarray, names: Sequence[str], features: Sequence[str]
) -> Image.Image:
    """Vectors beside their reconstructions, one panel per row.

    Args:
        originals: `(rows, features)`.
        reconstructions: `(rows, features)`.
        names: names of the rows.
        features: names of the features.
    """
    figure, panels = small_multiples(len(names), height_for(features))
    for panel, name, original, reconstruction in zip(panels, names, originals, reconstructions, strict=True):
        set_title(panel, name)
        plot_vector(panel, original, features, color=GREY, label="original")
        plot_vector(panel, reconstruction, features, color=BLUE, label="reconstruction")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return to_image(figure)


def vector_traversals(along: Sequence[tuple[str, Sequence[str], np.ndarray]], features: Sequence[str]) -> Image.Image:
    """Vectors along labels, one panel per label.

    Args:
        along: label name; its first and last value, or all its classes; and vectors `(steps, features)`.
        features: names of the features.
    """
    from matplotlib import colormaps

    figure, panels = small_multiples(len(along), height_for(features) + 0.3)
    for panel, (name, marks, vectors) in zip(panels, along, strict=True):
        set_title(panel, name, room=LEGEND_LINE * -(-len(marks) // LEGEND_COLUMNS))
        classes = len(marks) == len(vectors)
        known = dict(enumerate(marks)) if classes else {0: marks[0], len(vectors) - 1: marks[-1]}
        for step, vector in enumerate(vectors):
            # tab20 has ten pairs of a strong and a pale color; the strong ones come first
            color = (
                colormaps["tab20"](2 * step % 20 + step // 10 % 2)
                if classes
                else colormaps["coolwarm"](step / (len(vectors) - 1))
            )
            plot_vector(panel, vector, features, color=color, label=known.get(step))
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        panel.legend(frameon=False, fontsize=7, ncols=LEGEND_COLUMNS, handlelength=1.2, **place)
    return to_image(figure)


def plot_vector(panel: Any, vector: np.ndarray, features: Sequence[str], **style: Any) -> None:
    """Plot a vector: vertically if the names of its features fit, else horizontally."""
    style |= {"marker": "o" if len(features) <= MOST_NAMED else "", "markersize": 3, "linewidth": 1}
    places = np.arange(len(features))
    if len(features) > MOST_NAMED:
        panel.plot(places + 1, vector, **style)
        panel.set_xlabel("number of the feature")
        return
    panel.plot(vector, places, **style)
    names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in features]
    panel.set_yticks(places, names if panel.get_subplotspec().is_first_col() else [""] * len(names))
    panel.set_ylim(len(features) - 0.5, -0.5)


def height_for(features: Sequence[str]) -> float:
    """Height of a panel of vectors, in inches."""
    return 2.2 if len(features) > MOST_NAMED else max(1.4, 0.7 + 0.17 * len(features))


def small_multiples(count: int, height: float) -> tuple[Figure, list[Any]]:
    """A figure with `count` panels in a grid."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, height * rows + 0.3), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[count:]:
        panel.remove()
    for panel in panels[:count]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(PALE)
        panel.tick_params(colors=GREY, labelsize=7)
        panel.xaxis.label.set(color=GREY, fontsize=7)
        panel.grid(axis="y", color=PALE, linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, panels[:count]


def set_title(panel: Any, title: str, room: float = 0) -> None:
    """Write a panel's title with room below it, in points."""
    panel.set_title(title, loc="left", fontsize=9, color=INK, pad=6 + room)


def to_image(figure: Figure) -> Image.Image:
    """A rendered figure."""
    canvas: Any = figure.canvas
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
