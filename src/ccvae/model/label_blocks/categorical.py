"""Blocks of categorical labels: sums over fixed nodes in the block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import log_softmax

from ccvae import labels as label_kinds
from ccvae.model.label_blocks.base import FIRST_DISTANCE, SMALLEST_SLOPE, DiscreteBlocks, TiltedPosterior, full_precision

__all__ = ["CategoricalBlocks"]

LATTICES = {1: (0.1, 7.0), 2: (0.5, 6.0), 3: (1.0, 5.0)}
"""Spacing and radius of the nodes in blocks of few dimensions, in standard deviations."""
SOBOL_POINTS = 512
"""Nodes in blocks of more."""


@dataclass(frozen=True)
class Expectations:
    """Expectations under q(z_i|x,y_i), for every value of y_i.

    Args:
        log_q_y: log q(y_i|x), `(batch, labels, values)`.
        log_classifier: E[log q(y_i|z_i)], alike.
        mean: of white noise, `(batch, labels, values, d)`.
        variance: of white noise, alike.
    """

    log_q_y: Tensor
    log_classifier: Tensor
    mean: Tensor
    variance: Tensor


class CategoricalBlocks(DiscreteBlocks):
    """Blocks of categorical labels of C classes: q(y_i|z_i) = softmax(W z_i + b), d at least C − 1.

    Integrals over a block are sums over fixed nodes. In up to three dimensions (four classes) they are a lattice: with slopes
    |sigma W| about 1, terms are right to 1e-6 nats in one and two dimensions and 1e-2 in three. Above, 512 Sobol points leave
    some hundredths of a nat, and tenths where slopes are steep or the class is unlikely. A draw is one of the nodes, chosen by
    its weight and moved with the mean and the variances of the weighted nodes, so that gradients of expectations are exact for
    sums of squares in z_i.

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
        """The class's row of W less the mean of all rows."""
        centred = self.weight - self.weight.mean(1, keepdim=True)
        return centred[torch.arange(y.shape[-1], device=y.device).expand_as(y), y.long()]

    @full_precision
    def log_node_label_map(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Log q(y|z) at every node: `(batch, labels, C, nodes)`."""
        slope = self.weight * sigma[..., None, :]
        return log_softmax(self.logits(mu)[..., None] + slope @ self.nodes.T, -2)

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, C)`."""
        return (self.log_node_label_map(mu, sigma) + self.log_node_weights).logsumexp(-1).softmax(-1)

    def weights(self, y: Tensor) -> Tensor:
        """1 for the class observed."""
        return (y[..., None] == torch.arange(self.log_prior.shape[-1], device=y.device)).to(y.dtype)

    @full_precision
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by weights of the block's nodes."""
        observed, share = ~y.isnan(), self.weights(y)
        log_classifier = self.log_node_label_map(mu, sigma)
        log_joint = log_classifier + self.log_node_weights
        log_q_y = log_joint.logsumexp(-1)
        masses = (log_joint - log_q_y[..., None]).exp()
        mean = masses @ self.nodes
        given = Expectations(
            log_q_y=log_q_y,
            log_classifier=(masses * log_classifier).sum(-1),
            mean=mean,
            variance=masses @ self.nodes**2 - mean**2,
        )
        weight = torch.where(observed[..., None], share, log_q_y.exp())
        # a node drawn by its weight, moved as the mean and spread of all nodes move
        value = y.nan_to_num().long()[..., None]
        cumulated = masses.detach().take_along_dim(value[..., None], -2)[..., 0, :].cumsum(-1)
        node = torch.searchsorted(cumulated, (uniform * cumulated[..., -1])[..., None]).clamp_max(len(self.nodes) - 1)
        mean, variance = (moment.take_along_dim(value[..., None], -2)[..., 0, :] for moment in (given.mean, given.variance))
        deviation = variance.clamp_min(SMALLEST_SLOPE).sqrt()
        drawn = mean + deviation * ((self.nodes[node[..., 0]] - mean) / deviation).detach()
        return TiltedPosterior(
            log_q_y=torch.where(observed, (share * log_q_y).sum(-1), 0),
            log_ratio=self.log_ratio(mu, sigma, weight, given),
            noise=torch.where(observed[..., None], drawn, noise),
        )

    def log_ratio(self, mu: Tensor, sigma: Tensor, weight: Tensor, given: Expectations) -> Tensor:
        """E[ log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ], averaged over values by weights: `(batch, labels)` nats."""
        mean = mu[..., None, :] + sigma[..., None, :] * given.mean
        variance = sigma[..., None, :] ** 2 * given.variance
        scale = self.prior_scale
        square = ((mean - self.prior_loc) ** 2 + variance) / scale**2
        log_conditional_prior = -(square / 2 + scale.log()).sum(-1)
        log_posterior = -(given.mean**2 + given.variance).sum(-1) / 2 - sigma.log().sum(-1)[..., None]
        # both lack d/2 · log 2 pi
        return (weight * (log_conditional_prior + self.log_prior - given.log_classifier - log_posterior)).sum(-1)


def simplex(classes: int) -> Tensor:
    """Corners of a regular simplex around zero, at distance 1: `(classes, classes − 1)`."""
    centred = np.eye(classes) - 1 / classes
    basis = np.linalg.svd(centred)[2][: classes - 1]
    corners = centred @ basis.T
    return torch.tensor(corners / np.linalg.norm(corners[0]), dtype=torch.get_default_dtype())


def quadrature(size: int) -> tuple[Tensor, Tensor]:
    """Nodes `(count, size)` and weights of a standard Normal in float64: a lattice in a ball, or Sobol points.

    Softmax has poles near the real axis: there a lattice's sums converge far faster than Gauss–Hermite's.
    """
    if size not in LATTICES:
        uniform = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(SOBOL_POINTS, dtype=torch.float64)
        nodes = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return nodes, torch.full((SOBOL_POINTS,), 1 / SOBOL_POINTS, dtype=torch.float64)
    spacing, radius = LATTICES[size]
    steps = round(radius / spacing)
    axis = spacing * torch.arange(-steps, steps + 1, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
    nodes = nodes[nodes.square().sum(-1) <= radius**2 + 1e-9]
    return nodes, (-nodes.square().sum(-1) / 2).softmax(0)
