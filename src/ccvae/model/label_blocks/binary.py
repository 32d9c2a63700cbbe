"""Blocks of binary labels: every integral is along the one direction that the classifier depends on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torch.nn.functional import logsigmoid

from ccvae import labels as label_kinds
from ccvae.distributions.logistic_normal import sigmoid_averages, value_probabilities
from ccvae.distributions.mixtures import expected_log_mixture
from ccvae.distributions.quadrature import found_where
from ccvae.distributions.tilted_normal import tilted_normal
from ccvae.model.label_blocks.base import SMALLEST_SLOPE, TiltedPosterior, full_precision
from ccvae.model.label_blocks.discrete import FIRST_DISTANCE, DiscreteBlocks

__all__ = ["BinaryBlocks"]


class BinaryBlocks(DiscreteBlocks):
    """Blocks of binary labels: q(y_i|z_i) = Bernoulli(sigmoid(w·z_i + b)).

    A soft label between 0 and 1 is the probability of 1 (for annotators who disagree). Its bound is the average of the bounds
    of both values, with that probability.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors.
        components: number of Normals of each p(z_i|y_i).
    """

    def __init__(
        self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Binary], components: int = 1
    ) -> None:
        size = len(latents[0])
        side = torch.tensor([-1.0, 1.0])[:, None].expand(len(columns), 2, size)
        loc, read = FIRST_DISTANCE / math.sqrt(size) * side, torch.full((size, 1), 1 / math.sqrt(size))
        super().__init__(columns, latents, [label.priors for label in labels], loc, read, components)
        self.weight = nn.Parameter(torch.full((len(columns), size), 1 / math.sqrt(size)))
        self.bias = nn.Parameter(torch.zeros(len(columns)))

    def logits(self, z: Tensor) -> Tensor:
        """w·z_i + b, `(…, labels)`."""
        return (self.weight * z).sum(-1) + self.bias

    def classifier(self, z: Tensor) -> list[Bernoulli]:
        """q(y_i|z_i)."""
        return [Bernoulli(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-1)]

    def log_classifier(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i), averaged over both values if y_i is soft."""
        s = self.logits(z)
        return logsigmoid(s) - (1 - y) * s

    def value_log_classifiers(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of both values."""
        s = self.logits(z)
        return torch.stack([logsigmoid(-s), logsigmoid(s)], -1)

    def label_prior(self) -> list[Bernoulli]:
        """p(y_i)."""
        return [Bernoulli(probs=present, validate_args=False) for present in self.log_prior[:, 1].exp()]

    def neutral(self) -> Tensor:
        """The conditional mean where the label is absent."""
        return self.prior_means[:, 0]

    def toward(self, y: Tensor) -> Tensor:
        """±w."""
        return self.weight * torch.where(y >= 0.5, 1.0, -1.0).to(self.weight.dtype)[..., None]

    def weights(self, y: Tensor) -> Tensor:
        """Probability of each value as observed."""
        present = y.nan_to_num()
        return torch.stack([1 - present, present], -1)

    def section(self, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logit under q(z_i|x) as beta + alpha e with e ~ Normal(0, 1).

        Returns alpha and beta, `(batch, labels)`, and the unit vectors of e in white noise, `(d, batch, labels)`.

        Args:
            mu: means of q(z_i|x), `(d, batch, labels)`.
            sigma: standard deviations of q(z_i|x), same shape.
        """
        weight = self.weight.T[:, None]
        along = weight * sigma
        alpha = along.square().sum(0).clamp_min(SMALLEST_SLOPE**2).sqrt()
        return alpha, (weight * mu).sum(0) + self.bias, along / alpha

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, 2)`."""
        alpha, beta, _ = self.section(dimensions_first(mu), dimensions_first(sigma))
        return value_probabilities(alpha.flatten(), beta.flatten()).view(2, *alpha.shape).movedim(0, -1)

    @full_precision
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i): a tilted Normal along the classifier's direction, white noise in all other directions.

        If the label is missing, both values count with the classifier's weights, and the posterior is q(z_i|x).

        Tensors inside have shape `([values,] [d,] batch, labels)`: sums over small leading dimensions are fast.
        """
        mu, sigma, noise = (dimensions_first(part) for part in (mu, sigma, noise))
        alpha, beta, along = self.section(mu, sigma)
        observed = ~y.isnan()
        given = self.given_labels(alpha, beta, y, uniform)
        p, p_e, p_square, entropy = found_where(~observed, 4, sigmoid_averages, alpha, beta)
        absent = (~observed).to(p.dtype)
        missing = torch.stack([absent - p, p, -p_e, p_e, absent - p_square, p_square])
        mass, mean, square = given.moments + missing.view_as(given.moments)
        exchange = torch.where(observed, given.drawn - (along * noise).sum(0), 0)  # Matheron's rule
        log_posterior = -sigma.log().sum(0) - (square.sum(0) + (len(mu) - 1)) / 2  # lacks d/2 · log 2 pi
        return TiltedPosterior(
            log_q_y=given.log_q_y,
            log_ratio=self.log_joint(mu, sigma, along, mass, mean, square) + given.surprise + entropy - log_posterior,
            noise=(noise + along * exchange).movedim(0, -1),
        )

    def given_labels(self, alpha: Tensor, beta: Tensor, y: Tensor, uniform: Tensor) -> GivenLabels:
        """Terms of observed labels; zeros for missing ones."""
        share = torch.stack([1 - y, y]).nan_to_num()
        drawn_from = torch.stack([uniform >= y, uniform < y])  # the value to draw from, which is random for soft labels only
        level = torch.where(drawn_from, torch.stack([(1 - uniform) / (1 - y), uniform / y]), 0.5)
        # the tilt by value 0 is the tilt by value 1 at −beta, with e reversed
        sign = torch.arange(-1, 2, 2, dtype=beta.dtype, device=beta.device)[:, None, None]
        found = found_where(share > 0, 5, tilted_normal, alpha.expand_as(share), sign * beta, level)
        log_mass, mean, square, log_sigmoid, e = found
        return GivenLabels(
            moments=torch.stack([share, share * sign * mean, share * square]),
            log_q_y=(share * log_mass).sum(0),
            surprise=-(share * log_sigmoid).sum(0),
            drawn=(sign * drawn_from * e).sum(0),
        )

    def log_joint(self, mu: Tensor, sigma: Tensor, along: Tensor, mass: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        """E[log p(z_i|y_i) p(y_i)] over both values, without the constant d/2 · log 2 pi: `(batch, labels)` nats.

        Of several components, the lower bound of `ccvae.distributions.mixtures`, for each value under its own posterior.

        Args:
            mu: means of q(z_i|x), `(d, batch, labels)`.
            sigma: standard deviations of q(z_i|x), same shape.
            along: the unit vectors of e.
            mass: weight of each value, `(2, batch, labels)`.
            mean: E[e] given each value, times its mass.
            square: E[e²] given each value, times its mass.
        """
        order = (1, 2, 0) if self.components == 1 else (2, 1, 3, 0)
        loc, scale = (
            part.permute(order)[..., None, :] for part in (self.prior_loc, self.prior_scale)
        )  # ([K,] 2, d, 1, labels)
        offset, spread = (mu - loc) / scale, sigma / scale
        slope = spread * along
        # the expected sum over dimensions of (offset + spread n)², where n is white noise with e along the unit vector
        distance = (
            mass * (offset.square() + spread.square()).sum(-3)
            + 2 * mean * (offset * slope).sum(-3)
            + (square - mass) * slope.square().sum(-3)
        )
        constant = self.log_prior.T[:, None] - scale.log().sum(-3)
        each = mass * constant - distance / 2
        if self.components > 1:
            each = expected_log_mixture(each, self.log_weights.permute(2, 1, 0)[:, :, None], mass)
        return each.sum(0)


class GivenLabels(NamedTuple):
    """Terms of observed labels, from the distribution of e given the label."""

    moments: Tensor  # mass, E[e] and E[e²] of both values, times their probability as observed: (3, 2, batch, labels)
    log_q_y: Tensor  # log q(y|x), (batch, labels)
    surprise: Tensor  # E[−log q(y|z)], (batch, labels)
    drawn: Tensor  # a draw of e, (batch, labels)


def dimensions_first(blocks: Tensor) -> Tensor:
    """Blocks `(batch, labels, d)` as a contiguous `(d, batch, labels)` tensor."""
    return blocks.movedim(-1, 0).contiguous()
