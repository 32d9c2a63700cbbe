"""Whether mirrored images keep their labels: tested by a classifier that has seen no mirrored image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.labels import Binary, Continuous, Label
from ccvae.training import few_labels, teachers
from ccvae.training.fit import train
from ccvae.training.stage import Stage

__all__ = ["MirrorCheck", "check_mirrored"]

SMALLEST = 1e-6
ERRORS = 4.0
"""Standard errors by which the loss must differ from zero."""
NATS = 0.05
"""Loss, in nats per row, below which mirroring does no harm worth naming: a classifier that saw no mirrored image always loses
a little."""


@dataclass(frozen=True)
class MirrorCheck:
    """What mirroring does to a classifier of one label.

    Args:
        label: name of the label.
        rows: held-out rows that it was measured on.
        loss: mean of log q(y|image) − log q(y|mirrored image), in nats per row.
        error: its standard error.
    """

    label: str
    rows: int
    loss: float
    error: float

    @property
    def sided(self) -> bool:
        """Whether the label depends on the side."""
        return self.loss > max(NATS, ERRORS * self.error)


def check_mirrored(data: Dataset, config: TrainConfig | None = None, progress: bool = True) -> list[MirrorCheck]:
    """Train a classifier on labelled images as they are, and compare its predictions for held-out images and their mirrors.

    Where labels do not depend on the side, training may mirror images (`flip`), which is worth about twice the labels.

    Args:
        data: images with labelled validation rows.
        config: how the classifier is trained: fields `teacher_…`, seed and devices.
        progress: whether to show a progress bar.

    Returns:
        One result per label.

    Raises:
        ValueError: data are no images, or too few rows are labelled.
    """
    if len(data.input_shape) != 3:
        raise ValueError(f"only images can be mirrored; {data.name} has vectors of {data.input_shape[0]} features")
    config = replace(config or TrainConfig(), few_labels=True, pretraining_steps=0, teachers=1, flip=False)
    recipe = few_labels.recipe_for(config, data)
    held_out = data.labels[data.splits["validation"]]
    if recipe is None or np.isnan(held_out).all():
        raise ValueError(f"{data.name}: mirroring is tested on labelled training and validation rows; some are missing")
    model, _ = teachers.trained_teacher(data, config, recipe, Stage(None, None, "classifier", progress=progress), 1, train)
    log_q: list[list[np.ndarray]] = [[], []]
    for x, y in SplitBatches(data, "validation", 500):
        with torch.no_grad():
            for kept, images in zip(log_q, (x, x.flip(3)), strict=True):
                kept.append(log_probabilities(model.predict_proba(images), y.numpy(), list(data.space)))
    difference = np.concatenate(log_q[0]) - np.concatenate(log_q[1])
    return [result(label, difference[:, column]) for column, label in enumerate(data.space)]


def result(label: Label, difference: np.ndarray) -> MirrorCheck:
    """Mean and standard error of a label's differences, NaN where it is unknown."""
    known = difference[~np.isnan(difference)]
    if len(known) < 2:
        return MirrorCheck(label.name, len(known), 0.0, np.inf)
    return MirrorCheck(label.name, len(known), float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known))))


def log_probabilities(predictions: pd.DataFrame, y: np.ndarray, labels: list[Label]) -> np.ndarray:
    """Log q(y|x) of each label, `(rows, labels)`, NaN where y is missing."""
    found = np.full(y.shape, np.nan)
    for column, label in enumerate(labels):
        p, known = predictions[list(label.output_columns)].to_numpy(dtype=np.float64), ~np.isnan(y[:, column])
        truth = y[known, column]
        if isinstance(label, Continuous):
            mean, deviation = p[known].T
            found[known, column] = -(((truth - mean) / deviation) ** 2) / 2 - np.log(deviation * np.sqrt(2 * np.pi))
        else:
            place = (np.round(truth) if isinstance(label, Binary) else truth).astype(int)
            found[known, column] = np.log(np.clip(p[known, place], SMALLEST, 1))
    return found
