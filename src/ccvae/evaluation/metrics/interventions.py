"""Whether a change of one label changes what it is about and nothing else, as an oracle sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.evaluation.bootstrap import grand_mean, mean_estimates
from ccvae.evaluation.oracle.predictions import Judge, Opinion, agrees, difference
from ccvae.evaluation.samples import Painter, Sample
from ccvae.labels import Binary, Continuous, Label, LabelSpace

__all__ = [
    "Changes",
    "current_values",
    "edited",
    "flip_matrix",
    "label_dependence",
    "other_values",
    "set_matrix",
    "traversal_matrix",
]

STEPS = 7
NOTICEABLE = 0.05
"""Change of an oracle's opinion that counts as a step back in a traversal."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What an edit of each label did, as an oracle sees it.

    Args:
        names: of the labels.
        success: `(rows, labels)`: 1 where the edited picture shows the value asked, else 0.
        before: likewise, of the picture without the edit.
        change: `(rows, labels, labels)`: how far the opinion on every label (last) moved through the edit of each.
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


def current_values(sample: Sample, opinion: Opinion) -> np.ndarray:
    """Labels of a sample `(rows, labels)`, where they are unknown as an oracle sees them."""
    y = sample.y
    for column, label in enumerate(sample.space):
        unknown = np.isnan(y[:, column])
        y[unknown, column] = opinion.says(label.name)[unknown]
        if isinstance(label, Binary):
            y[:, column] = y[:, column].round()
    return y


def other_values(label: Label, current: np.ndarray, seed: int = 0) -> np.ndarray:
    """Another value for every row: a binary label's other one; a class, each of the others as often; and a number as far from
    the prior's mean as its deviation, on the other side.
    """
    if isinstance(label, Continuous):
        return np.where(current > label.mean, label.mean - label.scale, label.mean + label.scale)
    values = len(label.values)
    return (current + np.random.default_rng(seed).integers(1, values, len(current))) % values


def edited(model: Painter, x: Tensor, label: Label, asked: np.ndarray, strength: float | None = 0.5) -> Tensor:
    """Pictures `(rows, *input_shape)` with a label set to a value for each."""
    after = torch.empty_like(x)
    for value in np.unique(asked):
        rows = torch.tensor(np.flatnonzero(asked == value))
        after[rows] = model.intervene(x[rows], {label.name: label.decode(value)}, strength).to(after)
    return after


def flip_matrix(model: Painter, judge: Judge, sample: Sample) -> Changes:
    """Every label of every row set to another value than it has, one at a time."""
    x = sample.x
    current = current_values(sample, judge.look(x))

    def edit(column: int, label: Label) -> tuple[Tensor, np.ndarray]:
        asked = other_values(label, current[:, column], seed=column)
        return edited(model, x, label, asked), asked

    return changes(sample.space, judge, judge.look(model.reconstruct(x)), edit)


def set_matrix(model: Painter, judge: Judge, sample: Sample) -> Changes:
    """Every label set to one value in all rows, whether they have it or not: that it holds, or its last class, or a number one
    deviation above the prior's mean.
    """
    x = sample.x

    def edit(column: int, label: Label) -> tuple[Tensor, np.ndarray]:
        value = label.mean + label.scale if isinstance(label, Continuous) else len(label.values) - 1
        asked = np.full(len(x), float(value))
        return edited(model, x, label, asked), asked

    return changes(sample.space, judge, judge.look(model.reconstruct(x)), edit)


def changes(
    space: LabelSpace, judge: Judge, before: Opinion, edit: Callable[[int, Label], tuple[Tensor, np.ndarray]]
) -> Changes:
    """What edits of each label did.

    Args:
        space: the labels.
        judge: who looks.
        before: opinion on the pictures without an edit.
        edit: gives a label's edited pictures, and the values asked.
    """
    success, already, change = [], [], []
    for column, label in enumerate(space):
        pictures, asked = edit(column, label)
        after = judge.look(pictures)
        success.append(agrees(label, after, asked).astype(float))
        already.append(agrees(label, before, asked).astype(float))
        change.append(np.stack([difference(other, before, after) for other in space], -1))
    return Changes(space.names, np.stack(success, 1), np.stack(already, 1), np.stack(change, 1))


def traversal_matrix(model: Painter, judge: Judge, sample: Sample, steps: int = STEPS) -> dict[str, Any]:
    """Every label walked from its first value to its last, in every row.

    Returns:
        "labels", by label: "monotonicity", the share of walks on which the oracle never sees the label step back noticeably;
        "reach", how far its opinion moved from the first picture to the last. "mean" of each. "matrix": how far the opinion on
        every label moved at most from the first picture, through the walk of each.
    """
    x = sample.x
    monotone, reach, matrix = [], [], []
    for label in sample.space:
        walks = model.traverse(x, label.name, steps)
        opinion = judge.look(walks.flatten(0, 1))
        places = np.arange(len(x) * steps).reshape(len(x), steps)
        values = opinion.values[label.name]
        level = (values[:, 0] / label.scale if isinstance(label, Continuous) else values[:, -1])[places]
        back = np.maximum.accumulate(level, 1) - level
        monotone.append((back.max(1) < NOTICEABLE) & (level[:, -1] - level[:, 0] > NOTICEABLE))
        reach.append(level[:, -1] - level[:, 0])
        first = opinion.rows(places[:, 0])
        along = [
            np.max([difference(other, first, opinion.rows(places[:, step])) for step in range(1, steps)], 0)
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
    """How far labels depend on each other in the data, in the form of the matrices above: for a value of one label (row)
    against its other values, how far the distribution of another (column) moves; NaN where too little is known.
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
    """How far the values of a label differ between two groups of rows (compare `difference`)."""
    if isinstance(label, Continuous):
        return float(abs(second.mean() - first.mean()) / label.scale)
    count = len(label.values)
    shares = [np.bincount(values.round().astype(int), minlength=count) / len(values) for values in (first, second)]
    return float(np.abs(shares[1] - shares[0]).sum() / 2)
