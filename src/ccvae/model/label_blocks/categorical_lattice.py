"""Blocks of categorical labels with up to three dimensions: integrals are sums over a fixed lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from ccvae import labels as label_kinds
from ccvae.distributions.normal_nodes import lattice
from ccvae.model.label_blocks.base import SMALLEST_SLOPE, TiltedPosterior, full_precision
from ccvae.model.label_blocks.categorical import CategoricalBlocks

__all__ = ["LatticeBlocks"]


@dataclass(frozen=True)
class Expectations:
    """Expectations under q(z_i|x,y_i), for every value of y_i.

    Args:
        log_q_y: log q(y_i|x), `(batch, labels, values)`.
        log_classifier: E[log q(y_i|z_i)], same shape.
        mean: of white noise, `(batch, labels, values, d)`.
        variance: of white noise, same shape.
    """

    log_q_y: Tensor
    log_classifier: Tensor
    mean: Tensor
    variance: Tensor


class LatticeBlocks(CategoricalBlocks):
    """Blocks of categorical labels with one to three dimensions (up to four classes).

    With slopes |sigma W| about 1, the terms are right to 1e-6 nats in one and two dimensions and to 1e-2 in three. A draw is
    one of the nodes, chosen by its weight and moved with the mean and the variances of the weighted nodes, so gradients of
    expectations are exact for sums of squares in z_i.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors; all of them with C classes.
        components: number of Normals of each p(z_i|y_i).
    """

    nodes: Tensor
    log_node_weights: Tensor

    def __init__(
        self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Categorical], components: int = 1
    ) -> None:
        super().__init__(columns, latents, labels, components)
        nodes, weights = lattice(len(latents[0]))
        self.register_buffer("nodes", nodes.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("log_node_weights", weights.log().to(torch.get_default_dtype()), persistent=False)

    @full_precision
    def log_classifier_at_nodes(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Log q(y|z) at every node: `(batch, labels, C, nodes)`."""
        slope = self.weight * sigma[..., None, :]
        return log_softmax(self.logits(mu)[..., None] + slope @ self.nodes.T, -2)

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, C)`."""
        return (self.log_classifier_at_nodes(mu, sigma) + self.log_node_weights).logsumexp(-1).softmax(-1)

    @full_precision
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by weights of the block's nodes."""
        observed, share = ~y.isnan(), self.weights(y)
        log_classifier = self.log_classifier_at_nodes(mu, sigma)
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
        log_conditional_prior = self.expected_log_conditional_prior(mean, variance)
        log_posterior = -(given.mean**2 + given.variance).sum(-1) / 2 - sigma.log().sum(-1)[..., None]
        # both lack d/2 · log 2 pi
        return (weight * (log_conditional_prior + self.log_prior - given.log_classifier - log_posterior)).sum(-1)

    def expected_log_conditional_prior(self, mean: Tensor, variance: Tensor) -> Tensor:
        """E[log p(z_i|y_i)] under q(z_i|x,y_i) for every value, but for d/2 · log 2 pi: `(batch, labels, values)` nats.

        Of several components, the lower bound logsumexp_k(log π_k + E[log N_k(z_i)]) (see `ccvae.distributions.mixtures`).

        Args:
            mean: of z_i under q(z_i|x,y_i), `(batch, labels, values, d)`.
            variance: of z_i, same shape.
        """
        if self.components > 1:
            mean, variance = mean[..., None, :], variance[..., None, :]
        scale = self.prior_scale
        square = ((mean - self.prior_loc) ** 2 + variance) / scale**2
        each = -(square / 2 + scale.log()).sum(-1)
        return each if self.components == 1 else (self.log_weights + each).logsumexp(-1)
