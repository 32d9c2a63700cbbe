"""p(x|z): densities of the data given a decoder's output, with a fixed or a learned scale."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ccvae.distributions.positive import SMALLEST_SCALE, positive, softplus_inverse

__all__ = ["LIKELIHOODS", "Bernoulli", "Laplace", "Likelihood", "Normal", "build_likelihood"]


class Likelihood(nn.Module, ABC):
    """A factorised density of the data around a decoder's output.

    Args:
        bounded: whether the data lie in [0, 1], as images do; the mean is then the sigmoid of the decoder's output.
        scale: the density's scale, in the data's units, positive; the initial value if learned.
        learn_scale: whether the scale, one for all elements, is a parameter.

    Raises:
        ValueError: the scale is not finite and above 0.001.
    """

    def __init__(self, bounded: bool = True, scale: float = 1.0, learn_scale: bool = False) -> None:
        super().__init__()
        if not SMALLEST_SCALE < scale < math.inf:
            raise ValueError(f"scale: expected a finite number above {SMALLEST_SCALE}, found {scale}")
        self.bounded = bounded
        raw_scale = torch.tensor([softplus_inverse(scale - SMALLEST_SCALE)])  # a vector, since FSDP takes no scalars
        self.raw_scale = nn.Parameter(raw_scale, requires_grad=learn_scale)

    @property
    def scale(self) -> Tensor:
        """The density's scale, a scalar tensor."""
        return positive(self.raw_scale)[0]

    def mean(self, decoded: Tensor) -> Tensor:
        """Expected data, in the shape of the decoder's output."""
        return torch.sigmoid(decoded) if self.bounded else decoded

    @abstractmethod
    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density of data `(batch, …)` given a decoder's output of the same shape: `(batch,)` nats."""


class Laplace(Likelihood):
    """Laplace density. Scale 1 is the paper's choice (Joy et al. 2021, appendix C).

    >>> Laplace(bounded=False).log_prob(torch.zeros(1, 2), torch.tensor([[1.0, -2.0]]))  # −3 − 2 log 2
    tensor([-4.3863])
    """

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density, `(batch,)` nats."""
        distance = sum_of_elements((x - self.mean(decoded)).abs())
        return -distance / self.scale - x[0].numel() * torch.log(2 * self.scale)


class Normal(Likelihood):
    """Normal density; the scale is its standard deviation.

    >>> Normal(bounded=False).log_prob(torch.zeros(1, 2), torch.tensor([[1.0, -2.0]]))  # −5 / 2 − log 2 pi
    tensor([-4.3379])
    """

    def log_prob(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Log density, `(batch,)` nats."""
        distance = sum_of_elements((x - self.mean(decoded)).square())
        return -distance / (2 * self.scale.square()) - x[0].numel() * torch.log(self.scale * math.sqrt(2 * math.pi))


class Bernoulli(Likelihood):
    """Bernoulli probabilities of data in [0, 1]; without a scale.

    >>> Bernoulli().log_prob(torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.5]]))  # −3 log 2
    tensor([-2.0794])
    """

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
    """Sum over all dimensions except the batch: `(batch,)`. Flattening first would copy channels-last images."""
    return each.sum(tuple(range(1, each.ndim)))


LIKELIHOODS: dict[str, type[Likelihood]] = {"laplace": Laplace, "normal": Normal, "bernoulli": Bernoulli}


def build_likelihood(name: str, bounded: bool, scale: float = 1.0, learn_scale: bool = False) -> Likelihood:
    """Likelihood by name.

    Args:
        name: a key of `LIKELIHOODS`.
        bounded: see `Likelihood`, like the rest.
        scale: see `Likelihood`.
        learn_scale: see `Likelihood`.

    Raises:
        ValueError: the name is unknown, or the likelihood cannot have these settings.

    >>> type(build_likelihood("laplace", bounded=True)).__name__
    'Laplace'
    """
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood: expected one of {', '.join(LIKELIHOODS)}, found {name!r}")
    return LIKELIHOODS[name](bounded, scale, learn_scale)
