"""Blocks of categorical labels: sums over fixed nodes in the block."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import log_softmax, one_hot

from ccvae import labels as label_kinds
from ccvae.label_blocks import FIRST_DISTANCE, SMALLEST_SLOPE, DiscreteBlocks, Moments, TiltedPosterior

__all__ = ["CategoricalBlocks"]


SOBOL_POINTS = 512
LINE_POINTS, PLANE_POINTS = 129, 25
"""Points of an axis, in blocks of one and of two dimensions."""
HALF_WIDTH = 6.0

class CategoricalBlocks(DiscreteBlocks):
    """Blocks of categorical labels of C classes: q(y_i|z_i) = softmax(W z_i + b), d at least C − 1.

    Integrals over a block are sums over fixed nodes: exact to rounding in one and two dimensions where the slopes |sigma W|
    are moderate; above, the mean of 512 scrambled Sobol points, with an error of order 1/512. A draw is one of the nodes,
    chosen by its weight and moved with the first two moments of the weighted nodes, so that gradients of expectations are
    exact for what is quadratic in z_i.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors; all of them with C classes.
    """

    nodes: Tensor
    log_node_weights: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Categorical]) -> None:
        size, classes = len(latents[0]), len(labels[0].values)
        corners = torch.zeros(classes, size)
        corners[:, : classes - 1] = simplex(classes)
        corners = corners.expand(len(columns), classes, size)
        super().__init__(columns, latents, [label.priors for label in labels], FIRST_DISTANCE * corners)
        self.weight = nn.Parameter(corners.clone())
        self.bias = nn.Parameter(torch.zeros(len(columns), classes))
        nodes, weights = quadrature(size)
        self.register_buffer("nodes", nodes.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("log_node_weights", weights.log().to(torch.get_default_dtype()), persistent=False)

    def logits(self, z: Tensor) -> Tensor:
        """W z_i + b, `(…, labels, C)`."""
        return torch.einsum("lcd,...ld->...lc", self.weight, z) + self.bias

    def label_map(self, z: Tensor) -> list[Categorical]:
        """q(y_i|z_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-2)]

    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i)."""
        return (self.weights(y) * self.value_log_label_maps(z)).sum(-1)

    def value_log_label_maps(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of every class."""
        return log_softmax(self.logits(z), -1)

    def label_prior(self) -> list[Categorical]:
        """p(y_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.log_prior]

    def toward(self, y: Tensor) -> Tensor:
        """The class's row of W less the mean of all rows."""
        centred = self.weight - self.weight.mean(1, keepdim=True)
        return centred[torch.arange(y.shape[-1], device=y.device).expand_as(y), y.long()]

    def log_node_label_map(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Log q(y|z) at every node: `(batch, labels, C, nodes)`."""
        slope = self.weight * sigma[..., None, :]
        return log_softmax(self.logits(mu)[..., None] + slope @ self.nodes.T, -2)

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, C)`."""
        return (self.log_node_label_map(mu, sigma) + self.log_node_weights).logsumexp(-1).softmax(-1)

    def weights(self, y: Tensor) -> Tensor:
        """1 for the class observed."""
        return one_hot(y.nan_to_num().long(), self.log_prior.shape[-1]).to(y.dtype)

    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by weights of the block's nodes."""
        observed, share = ~y.isnan(), self.weights(y)
        log_label_map = self.log_node_label_map(mu, sigma)
        log_joint = log_label_map + self.log_node_weights
        log_evidence = log_joint.logsumexp(-1)
        log_share = torch.where(observed[..., None], share.log() - log_evidence, 0)
        joint = (log_joint + log_share[..., None]).exp()
        moments = Moments(
            mass=joint.sum(-1),
            first=joint @ self.nodes,
            second=joint @ self.nodes**2,
            log_label_map=(joint * log_label_map).sum((-2, -1)),
        )
        # a node drawn by its weight, moved as the mean and spread of all nodes move
        cumulated = joint.detach().sum(-2).cumsum(-1)
        node = torch.searchsorted(cumulated, (uniform * cumulated[..., -1])[..., None]).clamp_max(len(self.nodes) - 1)
        mean = moments.first.sum(-2)
        deviation = (moments.second.sum(-2) - mean**2).clamp_min(SMALLEST_SLOPE).sqrt()
        drawn = mean + deviation * ((self.nodes[node[..., 0]] - mean) / deviation).detach()
        return TiltedPosterior(
            log_evidence=torch.where(observed[..., None], share * log_evidence, 0).sum(-1),
            log_ratio=self.expected_log_ratio(mu, sigma, moments),
            noise=torch.where(observed[..., None], drawn, noise),
        )


def simplex(classes: int) -> Tensor:
    """Corners of a regular simplex around zero, at distance 1: `(classes, classes − 1)`."""
    centred = np.eye(classes) - 1 / classes
    basis = np.linalg.svd(centred)[2][: classes - 1]
    corners = centred @ basis.T
    return torch.tensor(corners / np.linalg.norm(corners[0]), dtype=torch.get_default_dtype())


def quadrature(size: int) -> tuple[Tensor, Tensor]:
    """Nodes `(count, size)` and weights of a standard Normal in float64: an equally spaced grid, or Sobol points above two.

    Softmax has poles near the real axis: there the trapezoid rule converges far faster than Gauss–Hermite's.
    """
    if size > 2:
        uniform = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(SOBOL_POINTS, dtype=torch.float64)
        nodes = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return nodes, torch.full((SOBOL_POINTS,), 1 / SOBOL_POINTS, dtype=torch.float64)
    axis = torch.linspace(-HALF_WIDTH, HALF_WIDTH, LINE_POINTS if size == 1 else PLANE_POINTS, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
    return nodes, (-(nodes**2).sum(-1) / 2).softmax(0)
