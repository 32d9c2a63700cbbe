"""Blocks of labels with finitely many values: p(z_i|y_i) is a Normal for each value, or a mixture of several.

What binary and categorical labels share; see `ccvae.model.label_blocks.base`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ccvae.distributions.positive import positive, softplus_inverse
from ccvae.model.label_blocks.base import LabelBlocks

__all__ = ["FIRST_DISTANCE", "DiscreteBlocks"]

FIRST_DISTANCE = 2.0
"""Initial distance of the conditional priors' means from zero, and of several components from their mean."""


class DiscreteBlocks(LabelBlocks, ABC):
    """Blocks of labels with finitely many values.

    Args:
        columns: the labels' columns in the label array.
        latents: `(labels, d)` positions of their blocks in the latent vector.
        priors: p(y_i) of all values, for each label.
        loc: initial means of p(z_i|y_i), `(labels, values, d)`.
        read: orthonormal basis of the directions that the classifier initially depends on, `(d, directions)`.
        components: number K of Normals of each p(z_i|y_i). With one, parameters have no dimension for it.
    """

    log_prior: Tensor

    def __init__(
        self,
        columns: list[int],
        latents: list[list[int]],
        priors: list[tuple[float, ...]],
        loc: Tensor,
        read: Tensor,
        components: int = 1,
    ) -> None:
        super().__init__(columns, latents)
        self.components = components
        self.register_buffer("log_prior", torch.tensor(priors).log(), persistent=False)
        if components > 1:
            loc = loc[..., None, :] + offsets(loc, read, components)
            self.prior_logits = nn.Parameter(torch.zeros(loc.shape[:-1]))
        self.prior_loc = nn.Parameter(loc)
        self.prior_raw_scale = nn.Parameter(torch.full_like(loc, softplus_inverse(1.0)))

    @property
    def prior_scale(self) -> Tensor:
        """Scales of p(z_i|y_i): `(labels, values, [K,] d)`."""
        return positive(self.prior_raw_scale)

    @property
    def log_weights(self) -> Tensor:
        """Log π_k, if there are several components: `(labels, values, K)`."""
        return self.prior_logits.log_softmax(-1)

    def parameters_of(self, y: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Means and scales of p(z_i|y_i), `(…, labels, [K,] d)`, and the numbers of label and value, `(…, labels)`.

        A soft binary label (a probability) is rounded to the nearer value.
        """
        index = torch.arange(y.shape[-1], device=y.device).expand_as(y), (y + 0.5).floor().long()
        return self.prior_loc[index], self.prior_scale[index], index

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i); of several components, the Normal with the mixture's means and variances."""
        loc, scale, index = self.parameters_of(y)
        if self.components == 1:
            return Normal(loc, scale, validate_args=False)
        weights = self.log_weights.exp()[index][..., None]
        mean = (weights * loc).sum(-2)
        variance = (weights * (scale.square() + (loc - mean[..., None, :]).square())).sum(-2)
        return Normal(mean, variance.sqrt(), validate_args=False)

    def component(self, y: Tensor, level: Tensor) -> Normal:
        """The component of p(z_i|y_i) that uniform numbers choose by its weight."""
        loc, scale, index = self.parameters_of(y)
        if self.components == 1:
            return Normal(loc, scale, validate_args=False)
        below = self.log_weights.exp().cumsum(-1)[..., :-1][index]
        return self.chosen(index, (level[..., None] > below).sum(-1))

    def likely_component(self, y: Tensor, z: Tensor | None = None) -> Normal:
        """The component of p(z_i|y_i) that a block most probably comes from; without a block, that of largest weight."""
        loc, scale, index = self.parameters_of(y)
        if self.components == 1:
            return Normal(loc, scale, validate_args=False)
        score = self.log_weights[index]
        if z is not None:
            score = score + Normal(loc, scale, validate_args=False).log_prob(z[..., None, :]).sum(-1)
        return self.chosen(index, score.argmax(-1))

    def chosen(self, index: tuple[Tensor, Tensor], component: Tensor) -> Normal:
        """Components by the numbers of label, value and component, each `(…, labels)`."""
        labels, value = index
        loc, scale = self.prior_loc[labels, value, component], self.prior_scale[labels, value, component]
        return Normal(loc, scale, validate_args=False)

    def remaining_level(self, level: Tensor, y: Tensor) -> Tensor:
        """The level's place among those that give the same value: uniform again, whatever the value."""
        if self.components == 1:
            return level
        masses = self.log_prior.exp()
        labels, value = torch.arange(y.shape[-1], device=y.device).expand_as(y), y.long()
        below = (masses.cumsum(-1) - masses)[labels, value]
        return ((level - below) / masses[labels, value]).clamp(0, 1)

    @property
    def prior_means(self) -> Tensor:
        """Means of p(z_i|y_i): `(labels, values, d)`."""
        if self.components == 1:
            return self.prior_loc
        return (self.log_weights.exp()[..., None] * self.prior_loc).sum(-2)

    def neutral(self) -> Tensor:
        """Mean of the conditional means by p(y_i)."""
        return (self.log_prior.exp()[..., None] * self.prior_means).sum(1)

    def prior_quantile(self, level: Tensor) -> Tensor:
        """Quantiles of p(y_i): numbers of values."""
        below = self.log_prior.exp().cumsum(-1)[:, :-1]
        return (level[..., None] > below).sum(-1).to(level.dtype)

    def divergence(self, mu: Tensor, sigma: Tensor, value: int) -> Tensor:
        """KL( q(z_i|x) || p(z_i|y_i) ) of one value, `(batch, labels)` nats; of several components, an upper bound on it.

        The bound is −logsumexp_k(log π_k − KL( q(z_i|x) || N_k )) (Hershey and Olsen 2007).
        """
        loc, scale = self.prior_loc[:, value], self.prior_scale[:, value]
        if self.components > 1:
            mu, sigma = mu[..., None, :], sigma[..., None, :]
        each = ((scale / sigma).log() + ((sigma**2 + (mu - loc) ** 2) / scale**2 - 1) / 2).sum(-1)
        return each if self.components == 1 else -(self.log_weights[:, value] - each).logsumexp(-1)

    @abstractmethod
    def weights(self, y: Tensor) -> Tensor:
        """Probability of each value as observed, `(batch, labels, values)`: one-hot unless soft; arbitrary if missing."""

    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i)."""
        return (self.weights(y) * self.value_log_ratios(z)).sum(-1)

    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean of `log_joint_ratio` over y_i ~ q(y_i|z_i), by enumeration."""
        return (self.value_log_classifiers(z).exp() * self.value_log_ratios(z)).sum(-1)

    @abstractmethod
    def value_log_classifiers(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of every value: `(…, labels, values)`."""

    def value_log_conditional_priors(self, z: Tensor) -> Tensor:
        """Log p(z_i|y_i) of every value: `(…, labels, values)`."""
        prior = Normal(self.prior_loc, self.prior_scale, validate_args=False)
        if self.components == 1:
            log_density: Tensor = prior.log_prob(z[..., None, :]).sum(-1)
            return log_density
        each: Tensor = prior.log_prob(z[..., None, None, :]).sum(-1)
        return (self.log_weights + each).logsumexp(-1)

    def value_log_ratios(self, z: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i) of every value: `(…, labels, values)`."""
        return self.value_log_conditional_priors(z) + self.log_prior - self.value_log_classifiers(z)


def offsets(loc: Tensor, read: Tensor, components: int) -> Tensor:
    """Initial positions of components around the mean of their value, `(labels, values, K, d)`: random, with mean zero.

    They are perpendicular to the directions that the classifier reads, so that every component shows its value; if there are no
    others, in any direction and at half the distance. Components too close to each other would not part: in training, one of
    them would soon explain all blocks and have all the weight.
    """
    offset = torch.randn(*loc.shape[:-1], components, loc.shape[-1])
    free = read.shape[1] < read.shape[0]
    if free:
        offset = offset - offset @ read @ read.T
    offset = offset - offset.mean(-2, keepdim=True)
    distance = offset.square().sum(-1, keepdim=True).mean(-2, keepdim=True).sqrt()
    return (FIRST_DISTANCE if free else FIRST_DISTANCE / 2) * offset / distance
