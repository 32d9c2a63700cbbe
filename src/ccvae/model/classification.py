"""Classification alone: log q(y|x) of observed labels as an objective, without a decoder, priors or unlabelled rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.distributed.shard import Shard
from ccvae.model.latent_distributions import LatentDistributions

__all__ = ["LogLikelihood", "log_likelihood_of_labels"]


@dataclass(frozen=True)
class LogLikelihood:
    """Log q(y_O|x) of a batch. See `ccvae.model.objective.Terms`.

    Args:
        log_q_y: log q(y_i|x) of each label, `(batch, labels)`, 0 where missing.
        posterior: None, since rows without labels are not encoded.
    """

    log_q_y: Tensor
    posterior: Normal | None = None

    @property
    def total(self) -> Tensor:
        """Log q(y_O|x): `(batch,)` nats."""
        return self.log_q_y.sum(-1)

    def terms(self) -> dict[str, Tensor]:
        """The total; there is one term only."""
        return {"total": self.total, "classification": self.total}

    def weighted(
        self, kl_weight: float = 1.0, classification_weight: float = 1.0, label_weights: Tensor | None = None
    ) -> Tensor:
        """Log q(y_O|x) with weights; there is no KL term to weigh."""
        return classification_weight * (self.total if label_weights is None else self.log_q_y @ label_weights)


def log_likelihood_of_labels(
    model: LatentDistributions, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
) -> LogLikelihood:
    """Exact log q(y_O|x), for rows with at least one label. See `ccvae.model.objective.Objective`; nothing is drawn."""
    rows = ~y.isnan().all(dim=1)
    if rows.sum() < 2:  # batch normalisation needs two rows
        rows = torch.ones_like(rows)
    posterior, known = model.read(x[rows], "labels"), y[rows]
    log_q_y = posterior.loc.new_zeros(known.shape)
    for block in model.label_blocks():
        mu, sigma = posterior.loc[:, block.latents], posterior.scale[:, block.latents]
        observed = known[:, block.columns]
        tilted = block(mu, sigma, observed, torch.zeros_like(mu), torch.full_like(observed, 0.5))
        log_q_y = log_q_y.index_copy(1, block.columns, tilted.log_q_y)
    return LogLikelihood(log_q_y.new_zeros(y.shape).index_copy(0, rows.nonzero()[:, 0], log_q_y))
