"""The figures of a run.

Each is a PNG file in the run's folder `figures/`, with its title and caption in the file, where the report finds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.data.dataset import Dataset
from ccvae.drawing.image_grid import write_png
from ccvae.drawing.plots import training_curves, vector_reconstructions, vector_traversals
from ccvae.labels import Categorical
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import intervene, reconstruct, traverse
from ccvae.reports.figure_selection import FigureSelection, end_values, select
from ccvae.reports.image_figures import (
    MOST_CLASSES,
    STEPS,
    Figure,
    attention,
    interventions,
    plane,
    reconstructions,
    samples,
    some_of,
    transfers,
    traversals,
    value_text,
)
from ccvae.storage.files import is_there
from ccvae.storage.run_folder import figures_folder, read_table

__all__ = ["ORDER", "draw_all", "in_own_units"]

LARGE, LARGEST = 1000, 1e9
"""Numbers between these are written without a fraction."""
LONGEST_NAME = 20
"""Characters of a feature's name."""

ORDER = ("reconstructions", "interventions", "traversals", "samples", "transfer", "plane", "attention", "training")
"""Names of the figures' files, in the order of the report."""


def draw_all(model: CCVAE, data: Dataset, folder: str | Path, metrics: pd.DataFrame | None = None, seed: int = 0) -> list[Path]:
    """Draw all figures that apply to a model and its data.

    Args:
        model: the model.
        data: its data; the first of the test, validation and training splits that has rows is shown.
        folder: the run folder; earlier figures in it are replaced.
        metrics: training metrics by epoch; by default those in the run folder's `metrics.csv`.
        seed: seed of rows and samples.

    Returns:
        Files written, in the order of the report.

    Raises:
        ValueError: the data do not have the model's labels or input shape, or `figures/` or `metrics.csv` is a link.
    """
    model.space.check_matches(data.space)
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    folder = Path(folder)
    place = figures_folder(folder)
    if metrics is None and is_there(folder / "metrics.csv"):
        metrics = read_table(folder, "metrics.csv", ("epoch",))
    figures = {figure.name: figure for figure in draw(model, data, seed, metrics)}
    paths = []
    for name in ORDER:
        path = place / f"{name}.png"
        if name in figures:
            paths.append(write_png(path, figures[name].image, figures[name].title, figures[name].caption))
        else:
            path.unlink(missing_ok=True)
    return paths


def draw(model: CCVAE, data: Dataset, seed: int, metrics: pd.DataFrame | None) -> Iterator[Figure]:
    """All figures, one after the other."""
    selection = select(model, data, seed)
    if len(model.input_shape) == 1:
        yield reconstructed_vectors(model, data, selection)
        yield traversed_vectors(model, data, selection)
    else:
        yield reconstructions(model, data, selection)
        yield interventions(model, data, selection)
        yield traversals(model, data, selection)
        yield samples(model, selection, seed)
        yield transfers(model, data, selection)
        if selection.pair:
            yield plane(model, data, selection, selection.pair)
        if model.attends:
            yield attention(model, data, selection)
    if metrics is not None and len(metrics):
        caption = (
            "The bound on log p(x, y) and its terms, in nats per row, and the fraction of labels predicted correctly, by "
            "epoch. The bound should rise; where validation departs from training, the model overfits."
        )
        yield Figure("training", "Training", caption, training_curves(metrics))


def reconstructed_vectors(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """Vectors beside their reconstructions."""
    shown = selection.rows[:6]
    image = vector_reconstructions(
        data.tensor(shown).numpy(),
        reconstruct(model, data.tensor(shown)).cpu().numpy(),
        [str(name) for name in data.ids[shown]],
        features_of(data),
    )
    caption = f"Rows of the {selection.split} split, feature by feature, beside their reconstructions.{units_text(data)}"
    return Figure("reconstructions", "Reconstructions", caption, image)


def traversed_vectors(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """One vector along each label."""
    x = data.tensor([selection.typical_row])
    along: list[tuple[str, tuple[str, ...], np.ndarray]] = []
    for name in selection.labels:
        label = model.space[name]
        if isinstance(label, Categorical):
            values = label.values[:MOST_CLASSES]
            moved = torch.cat([intervene(model, x, {name: value}) for value in values])
            along.append((name, tuple(map(str, values)), moved.cpu().numpy()))
        else:
            marks = tuple(map(value_text, end_values(label)))
            along.append((name, marks, traverse(model, x, name, STEPS)[0].cpu().numpy()))
    caption = (
        f"One row of the {selection.split} split along each label{some_of(model, selection)}: features as the label goes "
        f"from its first value, blue, to its last, red, or for each of its classes.{units_text(data)}"
    )
    return Figure("traversals", "Traversals", caption, vector_traversals(along, features_of(data)))


def units_text(data: Dataset) -> str:
    """What captions say of the units of vectors."""
    if data.columns is None or data.columns.identity:
        return ""
    return " Numbers are in standard deviations from their mean; both are beside the names, in own units."


def in_own_units(number: float) -> str:
    """A number with four digits, or all before the point.

    >>> in_own_units(43511.2), in_own_units(2.01389)
    ('43,511', '2.014')
    """
    return f"{number:,.0f}" if LARGE <= abs(number) < LARGEST else f"{number:.4g}"


def short(name: str) -> str:
    """A feature's name, cut where it is long."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def features_of(data: Dataset) -> list[str]:
    """Names of the features of vectors, with the mean and the standard deviation of numbers in own units."""
    if data.columns is not None:
        named = zip(data.columns.features, *data.columns.units, strict=True)
        return [
            short(feature)
            if data.columns.identity or "=" in feature
            else f"{short(feature)} ({in_own_units(mean)} ± {in_own_units(scale)})"
            for feature, mean, scale in named
        ]
    return [str(number + 1) for number in range(data.input_shape[0])]
