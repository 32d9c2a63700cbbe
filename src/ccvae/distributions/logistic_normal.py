"""Logistic-normal integrals: expectations of sigmoid(s), s = alpha e + beta, and of its entropy under e ~ Normal(0, 1).

The bound needs them for a missing binary label: both values count, weighted by the classifier, and the posterior stays as it is
(the integral of a sigmoid under a Normal has no closed form: Crooks 2009, Logistic approximation to the logistic-normal
integral). One pass over the points of `ccvae.distributions.quadrature` computes them together with their derivatives:

- of E[sigmoid(s) e^k], E[g e^k] in beta and E[g e^(k+1)] in alpha, where g = sigmoid(s) sigmoid(−s) is the sigmoid's slope;
- of the mean entropy, −E[g s] in beta and −E[g s e] in alpha.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from ccvae.distributions.quadrature import LOG2_E, Grid, product, row_chunks

__all__ = ["sigmoid_averages", "value_probabilities"]


def sigmoid_averages(alpha: Tensor, beta: Tensor) -> Tensor:
    """Logistic-normal integrals, differentiable once in alpha and beta.

    Args:
        alpha: slopes `(rows,)`, positive.
        beta: offsets `(rows,)`.

    Returns:
        E[sigmoid(s)], E[sigmoid(s) e], E[sigmoid(s) e²] and the mean entropy of Bernoulli(sigmoid(s)) in nats: `(4, rows)`.

    >>> sigmoid_averages(torch.tensor([1.0]), torch.tensor([0.0])).T
    tensor([[0.5000, 0.2066, 0.5000, 0.5994]])
    """
    averages: Tensor = SigmoidAverages.apply(alpha, beta)  # type: ignore[no-untyped-call]
    return averages


class SigmoidAverages(torch.autograd.Function):
    """Computes derivatives in the forward pass, so that no table is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, beta: Tensor) -> Tensor:
        """Averages `(4, rows)`."""
        grid = Grid.like(alpha)
        parts = [sweep(alpha[rows], beta[rows], grid) for rows in row_chunks(alpha)]
        averages, slopes = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        ctx.save_for_backward(alpha, beta, slopes)
        return averages

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives in alpha and beta."""
        alpha, beta, slopes = ctx.saved_tensors
        of_sigmoid, of_entropy = gradient[:3], gradient[3]
        by_beta = (of_sigmoid * slopes[:3]).sum(0) - of_entropy * (beta * slopes[0] + alpha * slopes[1])
        by_alpha = (of_sigmoid * slopes[1:]).sum(0) - of_entropy * (beta * slopes[1] + alpha * slopes[2])
        return by_alpha, by_beta


def sweep(alpha: Tensor, beta: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """One pass over a table `(points, rows)`: the integrals `(4, rows)`, and E[g e^k] for k from 0 to 3, `(4, rows)`."""
    c, o, powers = centre(alpha, beta, grid), grid.offset, grid.powers
    s = torch.outer(o, alpha).add_(alpha * c + beta)
    log_sigmoid = logsigmoid(s)
    sigmoid = log_sigmoid.mul(LOG2_E).exp2_()
    absent = 1 - sigmoid
    entropy = s.mul_(absent).sub_(log_sigmoid)
    log_masses = torch.outer(o, -c).add_(grid.log_weights[:, None])
    masses = log_masses.mul_(LOG2_E).exp2_()  # unnormalised; exp2 is faster than exp in torch
    total = masses.sum(0)
    average_entropy = torch.linalg.vecdot(masses, entropy, dim=0) / total
    shares = masses.mul_(sigmoid)
    averages = about_zero(product(powers[:3], shares) / total, c)
    slopes = about_zero(product(powers, shares.mul_(absent)) / total, c)
    return torch.stack([*averages, average_entropy]), torch.stack(slopes)


def value_probabilities(alpha: Tensor, beta: Tensor) -> Tensor:
    """E[sigmoid(−s)] and E[sigmoid(s)] in plain operations, for any transform of functions: `(2, rows)`.

    The relative error is below 3e-6 for probabilities above 1e-6, and below 2e-3 for smaller ones if alpha is at most 5.

    Args:
        alpha: slopes `(rows,)`, positive.
        beta: offsets `(rows,)`.

    >>> value_probabilities(torch.tensor([1.0]), torch.tensor([2.0])).T
    tensor([[0.1555, 0.8445]])
    """
    grid = Grid.like(alpha)
    o, log_weights = grid.offset[:, None], grid.log_weights[:, None]
    found = []
    for rows in row_chunks(alpha):
        c = centre(alpha[rows], beta[rows], grid)
        s = alpha[rows] * o + (alpha[rows] * c + beta[rows])
        masses = ((log_weights - c * o) * LOG2_E).exp2()
        found.append(torch.stack([(masses * torch.sigmoid(signed)).sum(0) for signed in (-s, s)]))
    sums = torch.cat(found, 1)
    return sums / sums.sum(0)


def centre(alpha: Tensor, beta: Tensor, grid: Grid) -> Tensor:
    """Where points are dense: where the logit is zero, if the Normal has mass there; in the shape of alpha."""
    return (-beta / alpha).clamp(-grid.margin, grid.margin)


def about_zero(moments: Tensor, c: Tensor) -> list[Tensor]:
    """Moments of e = c + o from moments of o."""
    m0, m1, m2, *higher = moments
    found = [m0, c * m0 + m1, c.square() * m0 + 2 * c * m1 + m2]
    return found + [c**3 * m0 + 3 * c.square() * m1 + 3 * c * m2 + m3 for m3 in higher]
