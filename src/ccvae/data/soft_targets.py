"""Soft targets: a teacher's q(y|x) of training rows, which stand in for labels that are missing (Hinton et al., 2015).

The bound takes them as they are. A binary label is observed with its probability, over which the bound averages exactly; a
categorical or continuous one is drawn from the teacher's distribution each time its row is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ccvae.labels import Binary, Continuous, LabelSpace

__all__ = ["SoftTargets", "mean_predictions"]


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """Predicted distributions of all labels, row by row.

    Args:
        space: the labels.
        rows: `(count,)` row numbers of the data set, in rising order.
        predictions: float32 `(count, outputs)`: the columns of `predict_proba`, label by label.

    Raises:
        ValueError: shapes disagree, or a number is not finite.
    """

    space: LabelSpace
    rows: np.ndarray
    predictions: np.ndarray

    def __post_init__(self) -> None:
        outputs = sum(len(label.output_columns) for label in self.space)
        if self.predictions.shape != (len(self.rows), outputs):
            raise ValueError(f"soft targets: expected shape ({len(self.rows)}, {outputs}), found {self.predictions.shape}")
        if not np.isfinite(self.predictions).all():
            raise ValueError("soft targets: a prediction is not finite")

    def fill(self, labels: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Labels with every missing cell filled; observed cells stay.

        Args:
            labels: `(batch, labels)`, NaN where missing.
            rows: `(batch,)` row numbers, all among `rows` of the targets.
            generator: source of the draws.
        """
        found = self.predictions[np.searchsorted(self.rows, rows)]
        level = generator.random(labels.shape)
        noise = generator.standard_normal(labels.shape)
        filled, first = labels.copy(), 0
        for column, label in enumerate(self.space):
            p = found[:, first : first + len(label.output_columns)]
            first += len(label.output_columns)
            if isinstance(label, Binary):
                target = p[:, 1].clip(0, 1)
            elif isinstance(label, Continuous):
                target = p[:, 0] + p[:, 1] * noise[:, column]
            else:
                reached = p.cumsum(1)
                target = (level[:, column, None] * reached[:, -1:] >= reached).sum(1).clip(max=p.shape[1] - 1)
            missing = np.isnan(labels[:, column])
            filled[missing, column] = target[missing]
        return filled


def mean_predictions(tables: Sequence[pd.DataFrame], space: LabelSpace) -> np.ndarray:
    """The mixture of several predictions of the same rows, float32 `(rows, outputs)`.

    Probabilities are averaged. A continuous label gets mean and standard deviation of the mixture of Normals.

    Args:
        tables: what `predict_proba` gave.
        space: the labels.
    """
    parts = []
    for label in space:
        each = np.stack([table[list(label.output_columns)].to_numpy(dtype=np.float64) for table in tables])
        mean = each.mean(0)
        if isinstance(label, Continuous):
            variance = (each[..., 1] ** 2 + each[..., 0] ** 2).mean(0) - mean[:, 0] ** 2
            mean[:, 1] = np.sqrt(variance.clip(min=0))
        parts.append(mean)
    return np.concatenate(parts, axis=1).astype(np.float32)
