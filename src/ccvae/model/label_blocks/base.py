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

__all__ = ["DiscreteBlocks", "LabelBlocks", "TiltedPosterior", "full_precision"]

Part = TypeVar("Part")
Blocks = TypeVar("Blocks")
Others = ParamSpec("Others")
Result = TypeVar("Result")

SMALLEST_SLOPE = 1e-12
FIRST_DISTANCE = 2.0
"""Initial distance of the conditional priors' means from zero."""


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
        """p(z_i|y_i) of observed labels `(…, labels)`: Normal over `(…, labels, d)`."""

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

    def quantile(self, y: Tensor, strength: Tensor | float) -> Tensor:
        """The block whose projection is a quantile of p(z_i|y_i), along the direction in which q(y_i|z_i) grows.

        In all other directions it is the conditional mean. 0.5 is the typical case; above it, y_i shows more strongly.

        Args:
            y: observed labels `(…, labels)`.
            strength: quantile in (0, 1).
        """
        prior = self.conditional_prior(y)
        step = torch.special.ndtri(torch.as_tensor(strength, dtype=prior.loc.dtype, device=prior.loc.device))
        along = self.toward(y) * prior.scale
        along = along / torch.linalg.vector_norm(along, dim=-1, keepdim=True).clamp_min(SMALLEST_SLOPE)
        block: Tensor = prior.loc + prior.scale * along * step
        return block


class DiscreteBlocks(LabelBlocks, ABC):
    """Blocks of labels with finitely many values; p(z_i|y_i) is a diagonal Normal for each value."""

    log_prior: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]], priors: list[tuple[float, ...]], loc: Tensor) -> None:
        super().__init__(columns, latents)
        self.register_buffer("log_prior", torch.tensor(priors).log(), persistent=False)
        self.prior_loc = nn.Parameter(loc)
        self.prior_raw_scale = nn.Parameter(torch.full_like(loc, softplus_inverse(1.0)))

    @property
    def prior_scale(self) -> Tensor:
        """Scales of p(z_i|y_i): `(labels, values, d)`."""
        return positive(self.prior_raw_scale)

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i); a soft binary label (a probability) is rounded to the nearer value."""
        labels = torch.arange(y.shape[-1], device=y.device).expand_as(y)
        value = (y + 0.5).floor().long()
        return Normal(self.prior_loc[labels, value], self.prior_scale[labels, value], validate_args=False)

    def neutral(self) -> Tensor:
        """Mean of the conditional means by p(y_i)."""
        return (self.log_prior.exp()[..., None] * self.prior_loc).sum(1)

    def prior_quantile(self, level: Tensor) -> Tensor:
        """Quantiles of p(y_i): numbers of values."""
        below = self.log_prior.exp().cumsum(-1)[:, :-1]
        return (level[..., None] > below).sum(-1).to(level.dtype)

    def divergence(self, mu: Tensor, sigma: Tensor, value: int) -> Tensor:
        """KL( q(z_i|x) || p(z_i|y_i) ) of one value: `(batch, labels)` nats."""
        loc, scale = self.prior_loc[:, value], self.prior_scale[:, value]
        each = (scale / sigma).log() + ((sigma**2 + (mu - loc) ** 2) / scale**2 - 1) / 2
        return each.sum(-1)

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

    def value_log_ratios(self, z: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i) of every value: `(…, labels, values)`."""
        prior = Normal(self.prior_loc, self.prior_scale, validate_args=False)
        log_conditional_prior: Tensor = prior.log_prob(z[..., None, :]).sum(-1)
        return log_conditional_prior + self.log_prior - self.value_log_classifiers(z)
