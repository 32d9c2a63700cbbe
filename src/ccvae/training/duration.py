"""How long a training is, where the configuration leaves it open: steps count, not passes over the data."""

from __future__ import annotations

import math

import numpy as np

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset

__all__ = [
    "LEAST_EPOCHS",
    "LEAST_STEPS",
    "MOST_EPOCHS",
    "all_steps",
    "chosen_epochs",
    "labelled_rows",
    "steps_per_epoch",
    "steps_per_pass",
]

LEAST_STEPS = 2000
"""Of a training whose number of epochs is not configured."""
LEAST_EPOCHS, MOST_EPOCHS = 4, 200
"""Bounds of the number of epochs that is chosen: large data are seen a few times, tiny ones are not repeated without end."""


def labelled_rows(data: Dataset) -> np.ndarray:
    """Training rows with any observed label."""
    rows = data.splits["train"]
    return np.asarray(rows[(~np.isnan(data.labels[rows])).any(axis=1)])


def steps_per_pass(rows: int, labelled: int, batch_size: int, share: float | None) -> float:
    """Steps of a pass over the training rows as `ccvae.data.loaders.batches.Batches` draws them.

    Args:
        rows: training rows.
        labelled: those of them with any observed label.
        batch_size: rows per step.
        share: see `TrainConfig.labelled_share`.
    """
    if share is None or labelled >= share * rows:
        return rows / batch_size
    return (rows - labelled) / (batch_size - round(share * batch_size))


def steps_per_epoch(config: TrainConfig, data: Dataset) -> float:
    """About how many steps an epoch has, at least one; teachers change the batches, and not this number."""
    rows, labelled = len(data.splits["train"]), len(labelled_rows(data))
    return max(1.0, steps_per_pass(rows, labelled, min(config.batch_size, max(rows, 1)), config.labelled_share))


def chosen_epochs(config: TrainConfig, data: Dataset) -> int:
    """Number of epochs: as configured, or as many as have at least `LEAST_STEPS` steps, within bounds."""
    if config.epochs is not None:
        return config.epochs
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / steps_per_epoch(config, data))))


def all_steps(config: TrainConfig, data: Dataset) -> int:
    """About how many steps a training has."""
    return math.ceil(chosen_epochs(config, data) * steps_per_epoch(config, data))
