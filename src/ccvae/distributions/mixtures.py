"""Expected log densities of mixtures: a lower bound in closed form.

E[log Σ_k π_k N_k(z)] has no closed form, but every E[log N_k(z)] may have one. With the component k as one more latent
variable,

    E[log Σ_k π_k N_k(z)] ≥ Σ_k r_k ( E[log N_k(z)] + log π_k − log r_k )

for any probabilities r. The right side is largest at r_k ∝ π_k exp E[log N_k(z)], where it is
logsumexp_k(log π_k + E[log N_k(z)]) (Hershey and Olsen 2007, Approximating the Kullback Leibler divergence between Gaussian
mixture models).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["expected_log_mixture"]


def expected_log_mixture(expected: Tensor, log_weights: Tensor, mass: Tensor) -> Tensor:
    """Lower bound on an expected log density of a mixture, times a mass: mass · logsumexp_k(log π_k + E[log N_k]).

    The mass may be zero or nearly so: nothing that has a gradient is divided by it. Because r is optimal, its own derivative
    counts for nothing and is left out.

    Args:
        expected: E[log N_k] times the mass, `(K, …)`.
        log_weights: log π_k, `(K, …)`.
        mass: `(…)`, at least zero.

    >>> log_densities, log_weights = torch.tensor([[-1.0], [-3.0]]), torch.tensor([[0.25], [0.75]]).log()
    >>> expected_log_mixture(0.5 * log_densities, log_weights, torch.tensor([0.5])) / 0.5
    tensor([-2.0455])
    >>> (log_weights + log_densities).logsumexp(0)
    tensor([-2.0455])
    """
    below_largest = (expected - expected.amax(0)).detach() / mass.detach().clamp_min(torch.finfo(mass.dtype).tiny)
    r = (log_weights.detach() + below_largest).softmax(0)
    gain: Tensor = (r * log_weights + torch.special.entr(r)).sum(0)
    return (r * expected).sum(0) + mass * gain
