"""A label and its block of latents: q(y|z), q(y|x), p(z|y), and the posterior given an observed label.

Everything is per label i with its own block z_i of d dimensions, x's posterior q(z_i|x) = Normal(mu, diag sigma²) and white
noise n = (z_i − mu) / sigma. The posterior given an observed label, q(z_i|x,y_i) ∝ q(z_i|x) q(y_i|z_i), is q(z_i|x) tilted
along the few directions that the classifier's logits depend on, and every term of the bound is an integral over those
directions:

- *binary* (`binary`): one direction, quadrature along it (`ccvae.distributions.tilted_normal` for observed labels,
  `ccvae.distributions.logistic_normal` for missing ones);
- *categorical*: C − 1 directions; a lattice for up to three dimensions (`categorical_lattice`), randomised
  quasi-Monte Carlo with importance weights for more (`categorical_sampled`);
- *continuous* (`continuous`): one direction; linear-Gaussian, every expectation is analytic.

p(z_i|y_i) of a binary or categorical label may be a mixture of several Normals, p(z_i|y_i) = Σ_k π_k N_k(z_i), with weights,
means and scales of its own for every value. The bound needs
E[log p(z_i|y_i)] under q(z_i|x,y_i), which has no closed form. Binary and lattice blocks replace it by
logsumexp_k(log π_k + E[log N_k(z_i)]), which is no larger (`ccvae.distributions.mixtures`) and needs only the expectations that
one Normal needs. Sampled blocks average the log density itself over their nodes.

Labels with the same kind, number of values and block size are computed together, in `(batch, labels, …)` tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ccvae.distributions.positive import positive, softplus_inverse

__all__ = ["FIRST_DISTANCE", "DiscreteBlocks", "LabelBlocks", "TiltedPosterior", "full_precision"]

Part = TypeVar("Part")
Blocks = TypeVar("Blocks")
Others = ParamSpec("Others")
Result = TypeVar("Result")

SMALLEST_SLOPE = 1e-12
FIRST_DISTANCE = 2.0
"""Initial distance of the conditional priors' means from zero, and of several components from their mean."""


def full_precision(
    method: Callable[Concatenate[Blocks, Tensor, Others], Result],
) -> Callable[Concatenate[Blocks, Tensor, Others], Result]:
    """Decorator: compute a method in the precision of its inputs, without autocast."""

    @wraps(method)
    def unmixed(blocks: Blocks, first: Tensor, /, *args: Others.args, **others: Others.kwargs) -> Result:
        with torch.autocast(first.device.type, enabled=False):
            return method(blocks, first, *args, **others)

    return unmixed


@dataclass(frozen=True)
class TiltedPosterior:
    """The posterior of blocks given observed labels, q(z_i|x,y_i); q(z_i|x) if the label is missing.

    Args:
        log_q_y: log q(y_i|x) of observed labels, 0 for missing ones: `(batch, labels)` nats.
        log_ratio: E[ log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ] under this posterior, also over y_i ~ q(y_i|z_i) if it is
            missing: `(batch, labels)` nats.
        noise: a draw z_i from this posterior as white noise, (z_i − mu) / sigma, with pathwise gradients: `(batch, labels, d)`.
    """

    log_q_y: Tensor
    log_ratio: Tensor
    noise: Tensor


class LabelBlocks(nn.Module, ABC):
    """Labels of one kind with blocks of one size.

    Args:
        columns: the labels' columns in the label array.
        latents: `(labels, d)` positions of their blocks in the latent vector.
    """

    columns: Tensor
    latents: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.register_buffer("latents", torch.tensor(latents), persistent=False)

    @abstractmethod
    def classifier(self, z: Tensor) -> Sequence[Distribution]:
        """q(y_i|z_i) of blocks `(…, labels, d)`: a distribution over `(…,)` for each label."""

    @abstractmethod
    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i) of observed labels `(…, labels)`: Normal over `(…, labels, d)`.

        Where p(z_i|y_i) is a mixture, it is the Normal with the mixture's means and variances.
        """

    def component(self, y: Tensor, level: Tensor) -> Normal:
        """A component of p(z_i|y_i), chosen by its weight: a draw from it is a draw from p(z_i|y_i).

        Args:
            y: observed labels `(…, labels)`.
            level: uniform numbers in (0, 1), same shape; not used where there is one component only.
        """
        return self.conditional_prior(y)

    def likely_component(self, y: Tensor, z: Tensor | None = None) -> Normal:
        """The component of p(z_i|y_i) that blocks `(…, labels, d)` most probably come from, or the most probable one."""
        return self.conditional_prior(y)

    def remaining_level(self, level: Tensor, y: Tensor) -> Tensor:
        """Uniform numbers, independent of y, from those that gave y = `prior_quantile(level)`: all `(…, labels)`.

        They are for `component`; where there is one component only, they are the level itself, which it does not use.
        """
        return level

    @abstractmethod
    def neutral(self) -> Tensor:
        """Blocks that say nothing of how a label shows, `(labels, d)`: the mean of p(z_i|y_i) of an absent binary label; over
        the classes of a categorical one, by p(y_i); at the mean of a continuous one.
        """

    @abstractmethod
    def label_prior(self) -> Sequence[Distribution]:
        """p(y_i), a distribution for each label."""

    @abstractmethod
    def prior_quantile(self, level: Tensor) -> Tensor:
        """Quantiles of p(y_i) at levels in (0, 1): both `(…, labels)`."""

    def by_column(self, each: Sequence[Part]) -> Iterator[tuple[int, Part]]:
        """Pairs of a label's column and its element of a sequence with one element per label."""
        return zip(self.columns.tolist(), each, strict=True)

    @abstractmethod
    def log_classifier(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i) of observed labels: `(…, labels)` nats."""

    @abstractmethod
    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i) of blocks `(…, labels, d)` and observed labels: `(…, labels)` nats."""

    @abstractmethod
    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean of `log_joint_ratio` over y_i ~ q(y_i|z_i): all values enumerated, or one sample of a continuous label."""

    @abstractmethod
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), with a draw from it.

        Args:
            mu: means of q(z_i|x), `(batch, labels, d)`.
            sigma: standard deviations of q(z_i|x), `(batch, labels, d)`.
            y: labels `(batch, labels)`, NaN where missing.
            noise: standard Normal numbers `(batch, labels, d)`, for the draw.
            uniform: numbers in (0, 1), `(batch, labels)`, for the draw.
        """

    def forward(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """See `tilt`. It is the module's call so that `torch.compile` can compile it."""
        return self.tilt(mu, sigma, y, noise, uniform)

    @abstractmethod
    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x): probabilities `(batch, labels, values)`, or a continuous label's mean and standard deviation."""

    @abstractmethod
    def toward(self, y: Tensor) -> Tensor:
        """Direction `(…, labels, d)` of z_i in which q(y_i|z_i) grows."""

    def quantile(self, y: Tensor, strength: Tensor | float, prior: Normal | None = None) -> Tensor:
        """The block whose projection is a quantile of p(z_i|y_i), along the direction in which q(y_i|z_i) grows.

        In all other directions it is the conditional mean. 0.5 is the typical case; above it, y_i shows more strongly. Of a
        mixture it is a quantile of one component.

        Args:
            y: observed labels `(…, labels)`.
            strength: quantile in (0, 1).
            prior: the component of p(z_i|y_i); the most probable one if not given.
        """
        if prior is None:
            prior = self.likely_component(y)
        step = torch.special.ndtri(torch.as_tensor(strength, dtype=prior.loc.dtype, device=prior.loc.device))
        along = self.toward(y) * prior.scale
        along = along / torch.linalg.vector_norm(along, dim=-1, keepdim=True).clamp_min(SMALLEST_SLOPE)
        block: Tensor = prior.loc + prior.scale * along * step
        return block


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
