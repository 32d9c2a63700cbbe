"""The figures of a run: what a trained model makes of its data, in pictures that explain themselves.

Each is a PNG file in the run's folder `figures/` and bears its own title and caption, which the report shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.data.dataset import Dataset
from ccvae.drawing.image_grid import write_picture
from ccvae.drawing.plots import profiles, training_curves, walks
from ccvae.labels import Categorical
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import intervene, reconstruct, traverse
from ccvae.reports.figure_selection import Choices, choose, ends
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

__all__ = ["ORDER", "draw_all"]

ORDER = ("reconstructions", "interventions", "traversals", "samples", "transfer", "plane", "attention", "training")
"""Names of the figures' files, as a report shows them."""


def draw_all(model: CCVAE, data: Dataset, folder: str | Path, metrics: pd.DataFrame | None = None, seed: int = 0) -> list[Path]:
    """Draw all figures that make sense for a model and its data.

    Args:
        model: the model.
        data: its data; what is drawn comes from the test split, or where that is empty validation, or train.
        folder: the run folder; figures of an earlier time in it are replaced.
        metrics: training's table of epochs; that in the run folder's `metrics.csv` if not given.
        seed: decides rows and samples.

    Returns:
        Files written, in the order in which to look at them.

    Raises:
        ValueError: the data are not what the model was made for.
    """
    model.space.check_matches(data.space)
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    folder = Path(folder)
    table = folder / "metrics.csv"
    if metrics is None and table.exists():
        metrics = pd.read_csv(table)
    figures = {figure.name: figure for figure in draw(model, data, seed, metrics)}
    paths = []
    for name in ORDER:
        path = folder / "figures" / f"{name}.png"
        if name in figures:
            paths.append(write_picture(path, figures[name].picture, figures[name].title, figures[name].caption))
        else:
            path.unlink(missing_ok=True)
    return paths


def draw(model: CCVAE, data: Dataset, seed: int, metrics: pd.DataFrame | None) -> Iterator[Figure]:
    """All figures, one after the other."""
    choices = choose(model, data, seed)
    if len(model.input_shape) == 1:
        yield reconstructed_vectors(model, data, choices)
        yield traversed_vectors(model, data, choices)
    else:
        yield reconstructions(model, data, choices)
        yield interventions(model, data, choices)
        yield traversals(model, data, choices)
        yield samples(model, choices, seed)
        yield transfers(model, data, choices)
        if choices.pair:
            yield plane(model, data, choices, choices.pair)
        if model.attends:
            yield attention(model, data, choices)
    if metrics is not None and len(metrics):
        caption = (
            "The bound on log p(x, y), in nats a row, and the share of labels predicted rightly, after each epoch. The bound "
            "is the sum of its terms and should rise; where validation turns away from training, the model overfits."
        )
        yield Figure("training", "Training", caption, training_curves(metrics))


def reconstructed_vectors(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """Vectors beside what the model keeps of them."""
    shown = choices.rows[:6]
    picture = profiles(
        data.tensor(shown).numpy(),
        reconstruct(model, data.tensor(shown)).cpu().numpy(),
        [str(name) for name in data.ids[shown]],
        features_of(data),
    )
    caption = f"Rows of the {choices.split} split, feature by feature, beside what the model makes of them."
    return Figure("reconstructions", "Reconstructions", caption, picture)


def traversed_vectors(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """One vector along each label's characteristic."""
    x = data.tensor([choices.plain_row])
    along: list[tuple[str, tuple[str, ...], np.ndarray]] = []
    for name in choices.labels:
        label = model.space[name]
        if isinstance(label, Categorical):
            values = label.values[:MOST_CLASSES]
            moved = torch.cat([intervene(model, x, {name: value}) for value in values])
            along.append((name, tuple(map(str, values)), moved.cpu().numpy()))
        else:
            marks = tuple(map(value_text, ends(label)))
            along.append((name, marks, traverse(model, x, name, STEPS)[0].cpu().numpy()))
    caption = (
        f"One row of the {choices.split} split along each label in turn{some_of(model, choices)}: features as the label goes "
        "from its first value, blue, to its last, red, or in each of its classes."
    )
    return Figure("traversals", "Traversals", caption, walks(along, features_of(data)))


def features_of(data: Dataset) -> list[str]:
    """Names of a vector's numbers."""
    if data.columns is not None:
        return list(data.columns.features)
    return [str(number + 1) for number in range(data.input_shape[0])]
