"""What is seen in pictures: opinions, who gives them, and how they are compared with what was asked and with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ccvae.labels import Continuous, Label

__all__ = ["Judge", "Opinion", "agrees", "difference"]


@dataclass(frozen=True)
class Opinion:
    """What an oracle sees in pictures.

    Args:
        values: by label, probabilities `(rows, values)` of a binary or categorical label's values, or a continuous one's
            expected value `(rows, 1)`.
        variants: by label that has variants, probabilities `(rows, variants)` of each, given that the label holds.
        features: what it rests on, `(rows, features)`; distances between them compare pictures by what they show.
    """

    values: Mapping[str, np.ndarray]
    variants: Mapping[str, np.ndarray]
    features: np.ndarray

    def says(self, label: str) -> np.ndarray:
        """The most probable value's position `(rows,)`, or a continuous label's expected value."""
        values = self.values[label]
        seen: np.ndarray = values[:, 0] if values.shape[1] == 1 else values.argmax(1)
        return seen

    def variant(self, label: str) -> np.ndarray:
        """Position `(rows,)` of the most probable variant."""
        seen: np.ndarray = self.variants[label].argmax(1)
        return seen

    def rows(self, chosen: np.ndarray | slice) -> Opinion:
        """The opinion on some of the pictures."""
        return Opinion(
            {name: values[chosen] for name, values in self.values.items()},
            {name: variants[chosen] for name, variants in self.variants.items()},
            self.features[chosen],
        )


class Judge(Protocol):
    """What gives opinions on pictures: the oracle, or whatever stands in for it."""

    def look(self, pictures: Tensor) -> Opinion:
        """Opinion on pictures `(rows, *input_shape)`."""
        ...


def agrees(label: Label, opinion: Opinion, asked: np.ndarray) -> np.ndarray:
    """Whether pictures show what was asked of a label `(rows,)`: the value, or a number within half the prior's deviation."""
    says = opinion.says(label.name)
    if isinstance(label, Continuous):
        near: np.ndarray = np.abs(says - asked) <= label.scale / 2
        return near
    same: np.ndarray = says == np.round(asked)
    return same


def difference(label: Label, before: Opinion, after: Opinion) -> np.ndarray:
    """How much the opinion on a label differs between pictures `(rows,)`: the probability that moved to other values, from 0
    to 1; of a continuous label, the change of its expected value in deviations of its prior.
    """
    change: np.ndarray = np.abs(after.values[label.name] - before.values[label.name]).sum(1)
    return change / label.scale if isinstance(label, Continuous) else change / 2
