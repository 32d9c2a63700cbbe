"""Predictions of an oracle about images, and how they are compared with requested values and with each other.

The oracle is a classifier trained on the same data but independently of the model under evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ccvae.labels import Continuous, Label

__all__ = ["Oracle", "Predictions", "matches", "prediction_change"]


@dataclass(frozen=True)
class Predictions:
    """What an oracle predicts for images.

    Args:
        values: by label: probabilities `(rows, values)` of a binary or categorical label, or the expected value `(rows, 1)` of
            a continuous one.
        variants: by label that has variants: probabilities `(rows, variants)`, given that the label is present.
        features: `(rows, features)` of the last hidden layer; their distances compare what images show.
    """

    values: Mapping[str, np.ndarray]
    variants: Mapping[str, np.ndarray]
    features: np.ndarray

    def value(self, label: str) -> np.ndarray:
        """Index of the most probable value `(rows,)`, or a continuous label's expected value."""
        values = self.values[label]
        found: np.ndarray = values[:, 0] if values.shape[1] == 1 else values.argmax(1)
        return found

    def variant(self, label: str) -> np.ndarray:
        """Index of the most probable variant `(rows,)`."""
        found: np.ndarray = self.variants[label].argmax(1)
        return found

    def rows(self, chosen: np.ndarray | slice) -> Predictions:
        """The predictions for some of the images."""
        return Predictions(
            {name: values[chosen] for name, values in self.values.items()},
            {name: variants[chosen] for name, variants in self.variants.items()},
            self.features[chosen],
        )


class Oracle(Protocol):
    """Predicts labels and variants of images: an `OracleNetwork`, or a stand-in with known answers."""

    def predict(self, images: Tensor) -> Predictions:
        """Predictions for images `(rows, *input_shape)`."""
        ...


def matches(label: Label, predictions: Predictions, requested: np.ndarray) -> np.ndarray:
    """Whether the predicted value is the requested one `(rows,)`; for a continuous label, within half the prior's scale."""
    predicted = predictions.value(label.name)
    if isinstance(label, Continuous):
        near: np.ndarray = np.abs(predicted - requested) <= label.scale / 2
        return near
    same: np.ndarray = predicted == np.round(requested)
    return same


def prediction_change(label: Label, before: Predictions, after: Predictions) -> np.ndarray:
    """How much the prediction of a label changes `(rows,)`: total variation distance, from 0 to 1; for a continuous label, the
    absolute change of its expected value in units of the prior's scale.
    """
    change: np.ndarray = np.abs(after.values[label.name] - before.values[label.name]).sum(1)
    return change / label.scale if isinstance(label, Continuous) else change / 2
