"""Averages over a standard Normal of a sigmoid, sigmoid(s) at s = alpha e + beta with e ~ Normal(0, 1), and of its entropy.

They are all that the bound needs of a missing binary label: both of its values, each weighed by the classifier, are integrated
out under the posterior as it is. One pass over the points of `ccvae.distributions.quadrature` finds them and their
derivatives. Those of
E[sigmoid(s) e^k] are E[g e^k] in beta and E[g e^(k+1)] in alpha, where g = sigmoid(s) sigmoid(−s) is the sigmoid's slope; those
of the entropy's average are −E[g s] and −E[g s e].
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
    """Averages over e ~ Normal(0, 1), differentiable once in alpha and beta.

    Args:
        alpha: slopes `(rows,)`, positive.
        beta: offsets `(rows,)`.

    Returns:
        E[sigmoid(s)], E[sigmoid(s) e], E[sigmoid(s) e²] and the average entropy of Bernoulli(sigmoid(s)) in nats, `(4, rows)`.
    """
    averages: Tensor = SigmoidAverages.apply(alpha, beta)  # type: ignore[no-untyped-call]
    return averages


class SigmoidAverages(torch.autograd.Function):
    """The averages, whose derivatives are found with them: then no table need be kept."""

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
    """One pass over a table `(points, rows)`: the averages `(4, rows)`, and E[g e^k] for k from 0 to 3, `(4, rows)`."""
    c, o, powers = centre(alpha, beta, grid), grid.offset, grid.powers
    s = torch.outer(o, alpha).add_(alpha * c + beta)
    log_sigmoid = logsigmoid(s)
    sigmoid = log_sigmoid.mul(LOG2_E).exp2_()
    absent = 1 - sigmoid
    entropy = s.mul_(absent).sub_(log_sigmoid)
    log_masses = torch.outer(o, -c).add_(grid.log_weights[:, None])
    masses = log_masses.mul_(LOG2_E).exp2_()  # of the points, but for a factor; exp2 is faster than exp in torch
    total = masses.sum(0)
    average_entropy = torch.linalg.vecdot(masses, entropy, dim=0) / total
    shares = masses.mul_(sigmoid)
    averages = about_zero(product(powers[:3], shares) / total, c)
    slopes = about_zero(product(powers, shares.mul_(absent)) / total, c)
    return torch.stack([*averages, average_entropy]), torch.stack(slopes)


def value_probabilities(alpha: Tensor, beta: Tensor) -> Tensor:
    """E[sigmoid(−s)] and E[sigmoid(s)], `(2, rows)`, of alpha and beta `(rows,)`: plain operations, for any transform.

    Both are right to a part in a million and better down to 1e-6; of rarer values, for alpha up to 5, to a part in a thousand.
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
    """Where points crowd: at the sigmoid's turn, as long as the Normal has mass there; in the shape of alpha."""
    return (-beta / alpha).clamp(-grid.margin, grid.margin)


def about_zero(moments: Tensor, c: Tensor) -> list[Tensor]:
    """Sums of powers of e = c + o, from those of o."""
    m0, m1, m2, *higher = moments
    found = [m0, c * m0 + m1, c.square() * m0 + 2 * c * m1 + m2]
    return found + [c**3 * m0 + 3 * c.square() * m1 + 3 * c * m2 + m3 for m3 in higher]
