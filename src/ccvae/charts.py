"""Charts: training's course, and vectors feature by feature. Drawn without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ccvae.grids import BLUE, GREY, INK, ORANGE, PALE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["profiles", "training_curves", "walks"]

DOTS_PER_INCH = 200
COLUMNS = 3
MOST_NAMED = 40
"""Features whose names have room beneath a chart."""
TERMS = {
    "total": "bound",
    "reconstruction": "reconstruction",
    "labels": "labels",
    "style": "style",
    "classification": "classification",
    "accuracy": "accuracy",
}


def training_curves(metrics: pd.DataFrame) -> Image.Image:
    """Terms of the bound and accuracy by epoch, training and validation.

    Args:
        metrics: columns "epoch" and, as far as there are, "train/…" and "validation/…".
    """
    known = [term for term in TERMS if {f"train/{term}", f"validation/{term}"} & set(metrics.columns)]
    figure, panels = small_multiples(len(known), 2.2)
    for panel, term in zip(panels, known, strict=True):
        titled(panel, TERMS[term] + ("" if term == "accuracy" else ", nats"))
        for split, colour in (("train", ORANGE), ("validation", BLUE)):
            if f"{split}/{term}" in metrics:
                values = metrics[["epoch", f"{split}/{term}"]].dropna().to_numpy()
                panel.plot(*values.T, color=colour, marker="o" if len(values) < 25 else "", markersize=3, label=split)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return picture(figure)


def profiles(originals: np.ndarray, reconstructions: np.ndarray, names: Sequence[str], features: Sequence[str]) -> Image.Image:
    """Vectors beside their reconstructions, a chart a row.

    Args:
        originals: `(rows, features)`.
        reconstructions: likewise.
        names: of the rows.
        features: names of the features.
    """
    figure, panels = small_multiples(len(names), 2.2)
    for panel, name, original, reconstruction in zip(panels, names, originals, reconstructions, strict=True):
        titled(panel, name)
        panel.plot(original, color=GREY, marker="o", markersize=3, linewidth=1, label="original")
        panel.plot(reconstruction, color=BLUE, marker="o", markersize=3, linewidth=1, label="reconstruction")
        name_features(panel, features)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return picture(figure)


def walks(along: Sequence[tuple[str, Sequence[str], np.ndarray]], features: Sequence[str]) -> Image.Image:
    """Vectors along labels, a chart a label.

    Args:
        along: name of a label; its first value and last, or all its classes; vectors `(steps, features)` on the way.
        features: names of the features.
    """
    from matplotlib import colormaps

    figure, panels = small_multiples(len(along), 2.6)
    for panel, (name, marks, vectors) in zip(panels, along, strict=True):
        titled(panel, name)
        classes = len(marks) == len(vectors)
        colours = colormaps["tab20" if classes else "coolwarm"](
            np.arange(len(vectors)) / 20 if classes else np.linspace(0, 1, len(vectors))
        )
        for step, (vector, colour) in enumerate(zip(vectors, colours, strict=True)):
            mark = marks[step] if classes else {0: marks[0], len(vectors) - 1: marks[-1]}.get(step)
            panel.plot(vector, color=colour, marker="o", markersize=3, linewidth=1.2, label=mark)
        panel.legend(frameon=False, fontsize=7, ncols=4, loc="lower left", bbox_to_anchor=(0, 0.98), borderaxespad=0)
        name_features(panel, features)
    return picture(figure)


def small_multiples(count: int, height: float) -> tuple[Figure, list[Any]]:
    """A figure of some charts, side by side and beneath each other."""
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


def titled(panel: Any, title: str) -> None:
    """Write a chart's title."""
    panel.set_title(title, loc="left", fontsize=9, color=INK)


def name_features(panel: Any, features: Sequence[str]) -> None:
    """Write features beneath a chart, as far as there is room."""
    if len(features) <= MOST_NAMED:
        panel.set_xticks(range(len(features)), features, rotation=90, fontsize=max(4, min(7, 200 // len(features))))
    else:
        panel.set_xlabel(f"{len(features)} features, in their order")


def picture(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    canvas: Any = figure.canvas
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
