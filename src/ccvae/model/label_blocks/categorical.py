"""Blocks of categorical labels: q(y|z) is a softmax."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import log_softmax

from ccvae import labels as label_kinds
from ccvae.model.label_blocks.base import full_precision
from ccvae.model.label_blocks.discrete import FIRST_DISTANCE, DiscreteBlocks

__all__ = ["CategoricalBlocks"]


class CategoricalBlocks(DiscreteBlocks, ABC):
    """Blocks of categorical labels of C classes: q(y_i|z_i) = softmax(W z_i + b), d at least C − 1.

    Subclasses differ in how they integrate over a block: `LatticeBlocks` up to three dimensions, `SampledBlocks` above.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors; all of them with C classes.
        components: number of Normals of each p(z_i|y_i).
    """

    def __init__(
        self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Categorical], components: int = 1
    ) -> None:
        size, classes = len(latents[0]), len(labels[0].values)
        corners = torch.zeros(classes, size)
        corners[:, : classes - 1] = simplex(classes)
        corners = corners.expand(len(columns), classes, size)
        read = torch.eye(size)[:, : classes - 1]
        super().__init__(columns, latents, [label.priors for label in labels], FIRST_DISTANCE * corners, read, components)
        self.weight = nn.Parameter(corners.clone())
        self.bias = nn.Parameter(torch.zeros(len(columns), classes))

    @full_precision
    def logits(self, z: Tensor) -> Tensor:
        """W z_i + b, `(…, labels, C)`."""
        return torch.einsum("lcd,...ld->...lc", self.weight, z) + self.bias

    def classifier(self, z: Tensor) -> list[Categorical]:
        """q(y_i|z_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-2)]

    def log_classifier(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i)."""
        return (self.weights(y) * self.value_log_classifiers(z)).sum(-1)

    def value_log_classifiers(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of every class."""
        return log_softmax(self.logits(z), -1)

    def label_prior(self) -> list[Categorical]:
        """p(y_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.log_prior]

    def toward(self, y: Tensor) -> Tensor:
        """The class's row of W minus the mean of all rows."""
        centred = self.weight - self.weight.mean(1, keepdim=True)
        return centred[torch.arange(y.shape[-1], device=y.device).expand_as(y), y.long()]

    def weights(self, y: Tensor) -> Tensor:
        """1 for the observed class."""
        return (y[..., None] == torch.arange(self.log_prior.shape[-1], device=y.device)).to(y.dtype)


def simplex(classes: int) -> Tensor:
    """Corners of a regular simplex around zero, at distance 1: `(classes, classes − 1)`.

    Columns of a Helmert matrix: written out, since the basis that a decomposition would give depends on the machine.
    """
    number = np.arange(1, classes)
    contrasts = np.tri(classes - 1, classes) - np.eye(classes - 1, classes, 1) * number[:, None]
    corners = (contrasts / np.linalg.norm(contrasts, axis=1, keepdims=True)).T
    return torch.tensor(corners / np.linalg.norm(corners[0]), dtype=torch.get_default_dtype())
