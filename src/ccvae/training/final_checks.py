"""Checks at the end of training: weights are finite, and predictions are better than chance."""

from __future__ import annotations

import logging
import math

import numpy as np
import pandas as pd
import torch

from ccvae.data.dataset import Dataset
from ccvae.labels import Continuous, Label
from ccvae.model.latent_model import LatentModel

__all__ = ["at_chance", "check_finite_weights", "not_finite", "warn_if_at_chance"]

FEWEST_ROWS = 20
"""Observed labels below which chance cannot be told from learning."""
MOST_ROWS = 1000
STANDARD_ERRORS = 3.0


def not_finite(model: LatentModel) -> list[str]:
    """Names of weights that are not finite."""
    return [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]


def check_finite_weights(model: LatentModel) -> None:
    """Raise `ValueError` if any weight is not finite: the last steps may have diverged after the last check of the loss."""
    wrong = not_finite(model)
    if wrong:
        raise ValueError(
            f"training diverged: {len(wrong)} weights are not finite, such as {wrong[0]}; nothing is saved. "
            "Lower learning_rate, or set gradient_clip (to 100, say)"
        )


def warn_if_at_chance(model: LatentModel, data: Dataset, learning_rate: float) -> None:
    """Log a warning if no label is predicted better than by chance, as after a training that diverged without overflow.

    Args:
        model: the trained model.
        data: its labelled validation rows are predicted, or labelled training rows if it has none.
        learning_rate: for the message.
    """
    split = "validation" if len(data.splits["validation"]) else "train"
    rows = data.splits[split]
    rows = rows[~np.isnan(data.labels[rows]).all(axis=1)][:MOST_ROWS]
    if not len(rows):
        return
    predictions = model.predict_proba(data.tensor(rows), calibrated=False)
    if at_chance(predictions, data.labels[rows], list(data.space)):
        logging.getLogger("ccvae.training").warning(
            "training has learned nothing: on %s %s rows, no label is predicted better than by chance. Lower learning_rate "
            "(it is %g), train for more epochs, or check that labels belong to their inputs",
            f"{len(rows):,}", {"validation": "validation", "train": "training"}[split], learning_rate,
        )  # fmt: skip


def at_chance(predictions: pd.DataFrame, labels: np.ndarray, space: list[Label]) -> bool:
    """Whether no label's predictions correlate with its observed values by more than three standard errors.

    Args:
        predictions: as `predict_proba` gives them.
        labels: `(rows, labels)`, NaN where missing.
        space: the labels; those with too few observed values are left out.

    Returns:
        False also if no label has enough observed values.
    """
    decided = []
    for column, label in enumerate(space):
        known = ~np.isnan(labels[:, column])
        if known.sum() < FEWEST_ROWS:
            continue
        values, scores = labels[known, column], predictions[list(label.output_columns)].to_numpy()[known]
        pairs = [(scores[:, 0], values)]
        if not isinstance(label, Continuous):
            pairs = [(scores[:, value], values == value) for value in range(scores.shape[1])]
        decided += [correlation(score, truth) * math.sqrt(known.sum()) > STANDARD_ERRORS for score, truth in pairs]
    return bool(decided) and not any(decided)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 if either is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0
