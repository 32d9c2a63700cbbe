"""Protocols of models that can be evaluated, and samples of a split to evaluate them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.evaluation.oracle.oracle import known_labels
from ccvae.labels import LabelSpace
from ccvae.model.latent_model import LatentModel

__all__ = ["Classifier", "GenerativeModel", "Sample", "exact_probabilities", "sample_of"]


@runtime_checkable
class Classifier(Protocol):
    """A model that can be evaluated as a classifier."""

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        ...

    def predict_proba(self, images: Any) -> pd.DataFrame:
        """q(y|x) in the format of `ccvae.CCVAE.predict_proba`."""
        ...


class GenerativeModel(Protocol):
    """A model whose images can be evaluated: `ccvae.CCVAE`, a baseline, or a stand-in in tests."""

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        ...

    def reconstruct(self, images: Any) -> Tensor:
        """Reconstructions of images."""
        ...

    def generate(
        self, count: int, given: Mapping[str, Any] | None = None, seed: int = 0, strength: float | None = None
    ) -> Tensor:
        """New images with the given labels."""
        ...

    def intervene(self, images: Any, changes: Mapping[str, Any], strength: float | None = 0.5, seed: int = 0) -> Tensor:
        """Images with labels set to other values."""
        ...

    def traverse(
        self,
        images: Any,
        labels: str | Sequence[str],
        steps: int = 9,
        strength: float = 0.95,
        between: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> Tensor:
        """Images along a label's characteristic."""
        ...

    def transfer(self, source: Any, target: Any, labels: Sequence[str]) -> Tensor:
        """Targets with the label characteristics of the sources."""
        ...


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of a data set that something is measured on.

    Args:
        data: the data set.
        rows: row numbers in random order.
    """

    data: Dataset
    rows: np.ndarray

    @property
    def x(self) -> Tensor:
        """Inputs `(rows, *input_shape)`."""
        return self.data.tensor(self.rows)

    @property
    def y(self) -> np.ndarray:
        """Labels `(rows, labels)` as far as they are known, else NaN; see `known_labels`."""
        return known_labels(self.data, self.rows)

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        return self.data.space

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> Sample:
        """The first rows of the sample, at most `count`; a smaller count gives a subset of a larger one."""
        return Sample(self.data, self.rows[:count])


def sample_of(data: Dataset, split: str, most: int, seed: int = 0) -> Sample:
    """At most `most` rows of a split in random order.

    Raises:
        ValueError: there is no such split, or it is empty.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    rows = data.splits[split]
    if not len(rows):
        others = ", ".join(f"{name} ({len(members)} rows)" for name, members in data.splits.items() if len(members))
        raise ValueError(f"split: {split} has no rows to measure on; choose another: {others}")
    return Sample(data, np.random.default_rng(seed).permutation(rows)[:most])


def exact_probabilities(model: Classifier, images: Any) -> pd.DataFrame:
    """A model's probabilities without calibration: the exact q(y|x) of a `LatentModel`, all that another classifier has."""
    return model.predict_proba(images, calibrated=False) if isinstance(model, LatentModel) else model.predict_proba(images)
