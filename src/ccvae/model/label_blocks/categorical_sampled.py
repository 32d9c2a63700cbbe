"""Blocks of categorical labels with more than three dimensions: integrals by randomised quasi-Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ccvae import labels as label_kinds
from ccvae.distributions.normal_nodes import normal_nodes, shifted_nodes, sobol_points
from ccvae.distributions.quadrature import on_accelerator
from ccvae.distributions.tilted_softmax import tilted_mode
from ccvae.model.label_blocks.base import SMALLEST_SLOPE, TiltedPosterior, full_precision
from ccvae.model.label_blocks.categorical import CategoricalBlocks

__all__ = ["SampledBlocks"]

TRAINING_NODES, PREDICTION_NODES, FEWEST_NODES = 512, 4096, 64
FEW_DIMENSIONS = 100
"""Dimensions up to which that many nodes are used; above, fewer, so that work grows with the number of classes only."""
NUMBERS_AT_ONCE, NUMBERS_ON_ACCELERATOR = 1 << 20, 1 << 24
"""Rows are computed in chunks with about this many coordinates or logits of nodes, so memory does not grow with the batch."""


class SampledBlocks(CategoricalBlocks):
    """Blocks of categorical labels with more than three dimensions (five classes and more).

    *Bound.* Every row has its own nodes: Sobol points, shifted by the row's own noise, so that each step integrates over new
    nodes. If the label is missing, terms are means over nodes of q(z_i|x): unbiased. If it is observed, nodes are those of
    q(z_i|x) moved to the mode of q(z_i|x,y_i), with importance weights (`ccvae.distributions.tilted_softmax`): the estimate of
    q(y_i|x) is unbiased, so that of log q(y_i|x) is low by half its relative variance on average. `benchmarks/categorical.py`
    measures the error by number of classes.

    *Draws* from q(z_i|x,y_i) are one of the row's nodes, chosen by its weight and moved with the mean and the variances of the
    weighted nodes, so gradients of expectations are exact for sums of squares in z_i.

    *Several components* of p(z_i|y_i): the mixture's log density is averaged over the same nodes, without bias if the label is
    missing, by their weights if it is observed.

    *Predictions* are means over fixed nodes of q(z_i|x): deterministic.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors; all of them with C classes.
        components: number of Normals of each p(z_i|y_i).
    """

    points: Tensor

    def __init__(
        self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Categorical], components: int = 1
    ) -> None:
        super().__init__(columns, latents, labels, components)
        size = len(latents[0])
        self.training_nodes = node_count(size, TRAINING_NODES)
        points = sobol_points(size, node_count(size, PREDICTION_NODES))
        self.register_buffer("points", points.to(torch.get_default_dtype()), persistent=False)

    def row_chunks(self, mu: Tensor, nodes: int) -> Iterator[slice]:
        """A few rows at a time; at least one chunk, even if there are no rows."""
        if torch.compiler.is_exporting():  # the number of rows is not known
            yield slice(None)
            return
        labels, classes, size = self.weight.shape
        numbers = NUMBERS_ON_ACCELERATOR if on_accelerator(self.weight) else NUMBERS_AT_ONCE
        count = max(1, numbers // (nodes * labels * max(classes, size)))
        for start in range(0, max(len(mu), 1), count):
            yield slice(start, start + count)

    @full_precision
    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, C)`."""
        nodes = normal_nodes(self.points)[:, None, None]
        parts = [
            self.value_log_classifiers(mu[rows] + sigma[rows] * nodes).softmax(-1).mean(0)
            for rows in self.row_chunks(mu, len(nodes))
        ]
        return torch.cat(parts)

    @full_precision
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by importance weights of each row's own nodes."""
        given = (mu, sigma, y, noise, uniform)
        chunks = list(self.row_chunks(mu, self.training_nodes * self.components))
        if len(chunks) == 1:
            return TiltedPosterior(*self.tilt_rows(*given))
        # nodes are computed again in the backward pass, instead of being kept
        parts = [checkpoint(self.tilt_rows, *(tensor[rows] for tensor in given), use_reentrant=False) for rows in chunks]
        return TiltedPosterior(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def tilt_rows(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fields of `TiltedPosterior` for a few rows; inside, the first axes of tensors are nodes, rows and labels."""
        observed, value = ~y.isnan(), y.nan_to_num().long()
        centre = torch.where(observed[..., None], tilted_mode(self.logits(mu), self.weight, sigma, value), 0)
        standard = shifted_nodes(self.points[: self.training_nodes], noise)
        e = centre + standard
        z = mu + sigma * e
        log_classifiers = self.value_log_classifiers(z)

        log_classifier = log_classifiers.take_along_dim(value[None, ..., None], -1)[..., 0]
        log_weight = log_classifier - (centre * (standard + centre / 2)).sum(-1)
        log_sum = log_weight.logsumexp(0)
        masses = (log_weight - log_sum).exp()
        mean, square = ((masses[..., None] * power).sum(0) for power in (e, e.square()))
        variance = (square - mean.square()).clamp_min(0)
        if self.components == 1:
            log_conditional_prior = self.expected_log_normal(mu + sigma * mean, sigma.square() * variance, value)
        else:
            log_conditional_prior = (masses * self.log_mixture(z, value)).sum(0)
        log_ratio = self.observed_ratio(sigma, value, mean, variance, log_conditional_prior) - (masses * log_classifier).sum(0)
        # on an accelerator, to ask whether a label is missing costs more than to compute what then counts
        if on_accelerator(y) or not bool(observed.all()):
            log_ratio = torch.where(observed, log_ratio, self.missing_ratio(sigma, z, log_classifiers))
        node = drawn_node(masses.detach(), uniform)
        deviation = variance.clamp_min(SMALLEST_SLOPE).sqrt()
        drawn = mean + deviation * ((e.take_along_dim(node[None, ..., None], 0)[0] - mean) / deviation).detach()
        log_q_y = log_sum - math.log(self.training_nodes)
        return torch.where(observed, log_q_y, 0), log_ratio, torch.where(observed[..., None], drawn, noise)

    def observed_ratio(
        self, sigma: Tensor, value: Tensor, mean: Tensor, variance: Tensor, log_conditional_prior: Tensor
    ) -> Tensor:
        """E[ log p(z_i|y_i) p(y_i) / q(z_i|x) ] under q(z_i|x,y_i), from moments of white noise: `(rows, labels)` nats."""
        log_posterior = -(mean.square() + variance).sum(-1) / 2 - sigma.log().sum(-1)  # both lack d/2 · log 2 pi
        log_prior = self.log_prior.expand(*value.shape, -1).take_along_dim(value[..., None], -1)[..., 0]
        return log_conditional_prior + log_prior - log_posterior

    def expected_log_normal(self, mean: Tensor, variance: Tensor, value: Tensor) -> Tensor:
        """E[log p(z_i|y_i)] of one component but for d/2 · log 2 pi, from the moments of z_i: `(rows, labels)` nats."""
        prior = self.conditional_prior(value)
        square = ((mean - prior.loc).square() + variance) / prior.scale.square()
        return -(square / 2 + prior.scale.log()).sum(-1)

    def log_mixture(self, z: Tensor, value: Tensor) -> Tensor:
        """Log p(z_i|y_i) of the observed class but for d/2 · log 2 pi, at nodes: `(nodes, rows, labels)`."""
        loc, scale, index = self.parameters_of(value)
        square = ((z[..., None, :] - loc) / scale).square()
        return (self.log_weights[index] - (square / 2 + scale.log()).sum(-1)).logsumexp(-1)

    def missing_ratio(self, sigma: Tensor, z: Tensor, log_classifiers: Tensor) -> Tensor:
        """E[ log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ] under q(z_i|x) q(y_i|z_i): `(rows, labels)` nats."""
        each = self.value_log_products(z) + self.log_prior - log_classifiers
        log_posterior = -z.shape[-1] / 2 - sigma.log().sum(-1)  # both lack d/2 · log 2 pi
        return (log_classifiers.exp() * each).sum(-1).mean(0) - log_posterior

    def value_log_products(self, z: Tensor) -> Tensor:
        """Log p(z_i|y_i) of every class but for d/2 · log 2 pi, `(…, labels, C)`: products of matrices, for many classes."""
        precision = self.prior_scale.square().reciprocal()
        slope = precision * self.prior_loc
        constant = (slope * self.prior_loc / 2 + self.prior_scale.log()).sum(-1)
        if self.components > 1:  # components are like further classes, until they are summed
            constant = constant - self.log_weights
            precision, slope, constant = (part.flatten(1, 2) for part in (precision, slope, constant))
        squares = torch.einsum("lcd,...ld->...lc", precision, z.square())
        each = torch.einsum("lcd,...ld->...lc", slope, z) - squares / 2 - constant
        return each if self.components == 1 else each.unflatten(-1, (-1, self.components)).logsumexp(-1)


def node_count(size: int, most: int) -> int:
    """How many nodes to use in a block of some dimensions: a power of two, fewer in many dimensions."""
    return max(FEWEST_NODES, 1 << int(math.log2(most * min(1.0, FEW_DIMENSIONS / size))))


def drawn_node(masses: Tensor, uniform: Tensor) -> Tensor:
    """The node that uniform numbers `(…)` choose by masses `(nodes, …)`: whole numbers `(…)`."""
    cumulated = masses.movedim(0, -1).cumsum(-1)
    node = torch.searchsorted(cumulated, (uniform * cumulated[..., -1])[..., None])
    return node[..., 0].clamp_max(len(masses) - 1)
