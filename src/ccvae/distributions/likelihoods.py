"""p(x|z): how a decoder's output becomes a density of the data. Scale fixed or learned."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

__all__ = ["LIKELIHOODS", "Bernoulli", "Laplace", "Likelihood", "Normal", "build_likelihood"]

SMALLEST_SCALE = 1e-3


class Likelihood(nn.Module, ABC):
    """A factorised density of the data around a decoder's output.

    Args:
        bounded: whether the data lie in [0, 1], as images do; the mean is then the sigmoid of the decoder's output.
        scale: the density's scale, in the data's units, positive; where learned, its first value.
        learn_scale: whether one scale, common to all elements, is a parameter.
    """

    def __init__(self, bounded: bool = True, scale: float = 1.0, learn_scale: bool = False) -> None:
        super().__init__()
        if not SMALLEST_SCALE < scale < math.inf:
            raise ValueError(f"scale: expected a finite number above {SMALLEST_SCALE}, found {scale}")
        self.bounded = bounded
        above = scale - SMALLEST_SCALE
        # softplus undone, for large scales too; a vector of one, since FSDP takes no scalars
        raw_scale = torch.tensor([above + math.log(-math.expm1(-above))])
        self.raw_scale = nn.Parameter(raw_scale, requires_grad=learn_scale)

    @property
    def scale(self) -> Tensor:
        """The density's scale, a scalar tensor."""
        return SMALLEST_SCALE + softplus(self.raw_scale)[0]

    def mean(self, decoded: Tensor) -> Tensor:
        """Expected data, in the shape of the decoder's output."""
        return torch.sigmoid(decoded) if self.bounded else decoded

    @abstractmethod
    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density of data `(batch, …)` given a decoder's output of the same shape: `(batch,)` nats."""


class Laplace(Likelihood):
    """Laplace density; with scale 1, the paper's."""

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density, `(batch,)` nats."""
        distance = sum_of_elements((x - self.mean(decoded)).abs())
        return -distance / self.scale - x[0].numel() * torch.log(2 * self.scale)


class Normal(Likelihood):
    """Normal density; the scale is its standard deviation."""

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density, `(batch,)` nats."""
        distance = sum_of_elements((x - self.mean(decoded)).square())
        return -distance / (2 * self.scale.square()) - x[0].numel() * torch.log(self.scale * math.sqrt(2 * math.pi))


class Bernoulli(Likelihood):
    """Bernoulli probabilities of data in [0, 1]; it has no scale."""

    def __init__(self, bounded: bool = True, scale: float = 1.0, learn_scale: bool = False) -> None:
        super().__init__()
        if not bounded:
            raise ValueError("the Bernoulli likelihood is for data in [0, 1], such as images; choose laplace or normal")
        if learn_scale or scale != 1.0:
            raise ValueError("the Bernoulli likelihood has no scale; leave scale at 1 and learn_scale off")

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log probability, `(batch,)` nats."""
        return -sum_of_elements(binary_cross_entropy_with_logits(decoded, x, reduction="none"))


def sum_of_elements(each: Tensor) -> Tensor:
    """Sum over all but the batch, `(batch,)`; to flatten images first would copy those whose channels lie last."""
    return each.sum(tuple(range(1, each.ndim)))


LIKELIHOODS: dict[str, type[Likelihood]] = {"laplace": Laplace, "normal": Normal, "bernoulli": Bernoulli}


def build_likelihood(name: str, bounded: bool, scale: float = 1.0, learn_scale: bool = False) -> Likelihood:
    """Likelihood of a name; raises `ValueError` naming those there are."""
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood: expected one of {', '.join(LIKELIHOODS)}, found {name!r}")
    return LIKELIHOODS[name](bounded, scale, learn_scale)
