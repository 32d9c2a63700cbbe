"""Interventions and traversals: whether changing one label changes what it stands for and nothing else, by an oracle.

The matrices correspond to figure 4 of Joy et al., "Capturing label characteristics in VAEs", ICLR 2021, with an oracle in the
place of visual inspection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.evaluation.bootstrap import grand_mean, mean_estimates
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.predictions import Oracle, Predictions, matches, prediction_change
from ccvae.evaluation.samples import GenerativeModel, Sample
from ccvae.labels import Binary, Continuous, Label, LabelSpace

__all__ = [
    "METRICS",
    "TABLES",
    "Changes",
    "current_values",
    "edited",
    "flip_matrix",
    "label_dependence",
    "other_values",
    "set_matrix",
    "traversal_matrix",
]

METRICS = (
    Metric("interventions.flip.mean.success", "intervention succeeds",
           "fraction of flipped labels whose new value the oracle predicts", "higher", "Interventions"),
    Metric("interventions.flip.mean.side_effect", "side effect",
           "mean change of the oracle's probabilities of the other labels", "lower", "Interventions"),
    Metric("interventions.traversal.mean.monotonicity", "traversals monotone",
           "fraction of traversals that reach the value and on which the oracle's probability never steps back",
           "higher", "Interventions"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Interventions by label",
        "Every label set to another value than its own. Success: fraction of images in which the oracle predicts the new "
        "value; before: the same without the edit; side effect: mean change of its probabilities of the other labels, lower "
        "is better.",
        "interventions.flip.labels",
        uses_oracle=True,
    ),
    LabelTable(
        "Traversals by label",
        "Monotonicity: fraction of traversals that reach the value and on which the oracle's probability never steps back; "
        "reach: change of its prediction from the first image to the last, at most 1 for a binary label.",
        "interventions.traversal.labels",
        uses_oracle=True,
    ),
)

STEPS = 7
NOTICEABLE = 0.05
"""Decrease of the predicted probability that counts as a step back in a traversal."""


@dataclass(frozen=True, eq=False)
class Changes:
    """Effects of an edit of each label, by an oracle.

    Args:
        names: names of the labels.
        success: `(rows, labels)`, 1 where the edited image is predicted to show the requested value, else 0.
        before: `(rows, labels)`, the same for the image without the edit.
        change: `(rows, labels, labels)`, how much the prediction of every label (last) changes by the edit of each (second).
    """

    names: tuple[str, ...]
    success: np.ndarray
    before: np.ndarray
    change: np.ndarray

    def results(self) -> dict[str, Any]:
        """Estimates by label of "success", "before" and "side_effect"; their means; and the "matrix" of mean changes."""
        others = ~np.eye(len(self.names), dtype=bool)
        side = np.where(others, self.change, 0).sum(-1) / max(len(self.names) - 1, 1)
        tables = {"success": self.success, "before": self.before, "side_effect": side}
        means = {name: grand_mean(table) for name, table in tables.items()}
        columns = {name: mean_estimates(table) for name, table in tables.items()}
        return {
            "mean": means,
            "labels": {
                label: {name: estimates[position] for name, estimates in columns.items()}
                for position, label in enumerate(self.names)
            },
            "matrix": self.change.mean(0).tolist(),
        }


def current_values(sample: Sample, predictions: Predictions) -> np.ndarray:
    """Labels of a sample `(rows, labels)`; unknown ones as the oracle predicts them."""
    y = sample.y
    for column, label in enumerate(sample.space):
        unknown = np.isnan(y[:, column])
        y[unknown, column] = predictions.value(label.name)[unknown]
        if isinstance(label, Binary):
            y[:, column] = y[:, column].round()
    return y


def other_values(label: Label, current: np.ndarray, seed: int = 0) -> np.ndarray:
    """Another value for every row.

    For a binary label the other value, for a categorical label a random other class, and for a continuous label one scale above
    the prior's mean if the current value is below it, else one below.
    """
    if isinstance(label, Continuous):
        return np.where(current > label.mean, label.mean - label.scale, label.mean + label.scale)
    values = len(label.values)
    return (current + np.random.default_rng(seed).integers(1, values, len(current))) % values


def edited(model: GenerativeModel, x: Tensor, label: Label, asked: np.ndarray, strength: float | None = 0.5) -> Tensor:
    """Images `(rows, *input_shape)` with a label set to a value per row."""
    after = torch.empty_like(x)
    for value in np.unique(asked):
        rows = torch.tensor(np.flatnonzero(asked == value))
        after[rows] = model.intervene(x[rows], {label.name: label.decode(value)}, strength).to(after)
    return after


def flip_matrix(model: GenerativeModel, oracle: Oracle, sample: Sample) -> Changes:
    """Every label of every row set to another value than its own, one label at a time."""
    x = sample.x
    current = current_values(sample, oracle.predict(x))

    def edit(column: int, label: Label) -> tuple[Tensor, np.ndarray]:
        asked = other_values(label, current[:, column], seed=column)
        return edited(model, x, label, asked), asked

    return changes(sample.space, oracle, oracle.predict(model.reconstruct(x)), edit)


def set_matrix(model: GenerativeModel, oracle: Oracle, sample: Sample) -> Changes:
    """Every label set to the same value in all rows, whether they have it or not.

    The value is present for a binary label, the last class of a categorical one, and one scale above the prior's mean for a
    continuous one.
    """
    x = sample.x

    def edit(column: int, label: Label) -> tuple[Tensor, np.ndarray]:
        value = label.mean + label.scale if isinstance(label, Continuous) else len(label.values) - 1
        asked = np.full(len(x), float(value))
        return edited(model, x, label, asked), asked

    return changes(sample.space, oracle, oracle.predict(model.reconstruct(x)), edit)


def changes(
    space: LabelSpace, oracle: Oracle, before: Predictions, edit: Callable[[int, Label], tuple[Tensor, np.ndarray]]
) -> Changes:
    """Effects of edits of each label.

    Args:
        space: the labels.
        oracle: predicts labels of images.
        before: predictions for the images without an edit.
        edit: returns a label's edited images and the requested values.
    """
    success, already, change = [], [], []
    for column, label in enumerate(space):
        images, requested = edit(column, label)
        after = oracle.predict(images)
        success.append(matches(label, after, requested).astype(float))
        already.append(matches(label, before, requested).astype(float))
        change.append(np.stack([prediction_change(other, before, after) for other in space], -1))
    return Changes(space.names, np.stack(success, 1), np.stack(already, 1), np.stack(change, 1))


def traversal_matrix(model: GenerativeModel, oracle: Oracle, sample: Sample, steps: int = STEPS) -> dict[str, Any]:
    """Every label traversed from its first value to its last, in every row.

    Returns:
        "labels", by label: "monotonicity", fraction of traversals on which the oracle's probability never decreases noticeably
        and that increase overall; "reach", change of its prediction from the first image to the last. "mean" of each. "matrix":
        largest change of every label's prediction from the first image, along the traversal of each label.
    """
    x = sample.x
    monotone, reach, matrix = [], [], []
    for label in sample.space:
        walks = model.traverse(x, label.name, steps)
        predictions = oracle.predict(walks.flatten(0, 1))
        places = np.arange(len(x) * steps).reshape(len(x), steps)
        values = predictions.values[label.name]
        level = (values[:, 0] / label.scale if isinstance(label, Continuous) else values[:, -1])[places]
        back = np.maximum.accumulate(level, 1) - level
        monotone.append((back.max(1) < NOTICEABLE) & (level[:, -1] - level[:, 0] > NOTICEABLE))
        reach.append(level[:, -1] - level[:, 0])
        first = predictions.rows(places[:, 0])
        along = [
            np.max([prediction_change(other, first, predictions.rows(places[:, step])) for step in range(1, steps)], 0)
            for other in sample.space
        ]
        matrix.append(np.stack(along, -1))
    tables = {"monotonicity": np.stack(monotone, 1).astype(float), "reach": np.stack(reach, 1)}
    columns = {name: mean_estimates(table) for name, table in tables.items()}
    return {
        "mean": {name: grand_mean(table) for name, table in tables.items()},
        "labels": {
            label: {name: estimates[position] for name, estimates in columns.items()}
            for position, label in enumerate(sample.space.names)
        },
        "matrix": np.stack(matrix, 1).mean(0).tolist(),
    }


def label_dependence(y: np.ndarray, space: LabelSpace) -> list[list[float]]:
    """How much labels depend on each other in the data, in the form of the matrices above.

    Entry (i, j): how much the distribution of label j differs between rows with the last value of label i and all others; NaN
    where too few labels are known.
    """
    matrix = np.full((len(space), len(space)), np.nan)
    for row, one in enumerate(space):
        for column, other in enumerate(space):
            both = ~np.isnan(y[:, row]) & ~np.isnan(y[:, column])
            groups, values = y[both, row], y[both, column]
            above = groups > one.mean if isinstance(one, Continuous) else groups.round() == len(one.values) - 1
            if above.any() and not above.all():
                matrix[row, column] = moved(other, values[~above], values[above])
    return matrix.tolist()


def moved(label: Label, first: np.ndarray, second: np.ndarray) -> float:
    """How much the values of a label differ between two groups of rows (compare `prediction_change`)."""
    if isinstance(label, Continuous):
        return float(abs(second.mean() - first.mean()) / label.scale)
    count = len(label.values)
    shares = [np.bincount(values.round().astype(int), minlength=count) / len(values) for values in (first, second)]
    return float(np.abs(shares[1] - shares[0]).sum() / 2)
