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

__all__ = ["LabelBlocks", "TiltedPosterior", "full_precision"]

Part = TypeVar("Part")
Blocks = TypeVar("Blocks")
Others = ParamSpec("Others")
Result = TypeVar("Result")

SMALLEST_SLOPE = 1e-12


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
