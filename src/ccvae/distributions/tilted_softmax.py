"""A standard Normal tilted by a softmax: p(e) = Normal(e; 0, I) softmax(m + S e)_k / Z, in many dimensions.

This is what an observed categorical label does to the posterior of its block. Its integrals are estimated by importance
sampling from a standard Normal moved to the mode of p. Since log softmax is concave, it lies below its tangent at the mode c,
whose slope is c; a weight softmax(m + S e)_k Normal(e; 0, I) / Normal(e; c, I) is therefore never larger than at e = c. Bounded
weights make the estimate safe: in 5 to 100 dimensions and with |S| about 1, the effective sample size is above 90 % of the
nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["tilted_mode"]

STEPS = 15
"""More steps do not raise the effective sample size, at slopes up to 20."""


@torch.no_grad()
def tilted_mode(logits: Tensor, weight: Tensor, sigma: Tensor, value: Tensor) -> Tensor:
    """The mode c of Normal(e; 0, I) softmax(m + S e)_k with S = W diag(sigma), by accelerated gradient ascent (Nesterov 1983).

    The mode solves c = Sᵀ(1_k − softmax(m + S c)). It need not be exact: it is where importance sampling looks.

    Args:
        logits: m, `(…, labels, C)`.
        weight: W, `(labels, C, d)`.
        sigma: scales `(…, labels, d)`.
        value: k, whole numbers `(…, labels)`.

    Returns:
        The mode, `(…, labels, d)`, without gradients.

    >>> weight = torch.tensor([[[-1.0], [1.0]]])
    >>> c = tilted_mode(torch.zeros(1, 2), weight, torch.ones(1, 1), torch.tensor([1]))
    >>> c, 2 * torch.sigmoid(-2 * c)
    (tensor([[0.5213]]), tensor([[0.5213]]))
    """
    rows = torch.arange(len(weight), device=value.device).expand_as(value)
    toward = weight[rows, value]
    centred = weight - weight.mean(1, keepdim=True)
    steepest = torch.einsum("lcd,...ld->...lc", centred.square(), sigma.square()).amax(-1)
    step = 1 / (1 + steepest[..., None] / 2)

    c = ahead = torch.zeros_like(sigma)
    for number in range(STEPS):
        probabilities = (logits + torch.einsum("lcd,...ld->...lc", weight, sigma * ahead)).softmax(-1)
        expected = torch.einsum("lcd,...lc->...ld", weight, probabilities)
        before, c = c, ahead + step * (sigma * (toward - expected) - ahead)
        ahead = c + number / (number + 3) * (c - before)
    return c
