"""A supervised network: the encoder and classifiers of a CCVAE, trained on log q(y|x) of labelled rows and nothing else.

It has the networks, optimizer, weight decay, dropout, number of steps and labelled rows per batch of `ccvae.fit`. What differs
is the objective: no reconstruction, no priors, no unlabelled rows. The decoder keeps its initial weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.distributed.shard import Shard
from ccvae.model.ccvae import CCVAE
from ccvae.model.latent_model import LatentModel
from ccvae.training.fit import fit

__all__ = ["LogLikelihood", "log_likelihood_of_labels", "supervised"]


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
    model: LatentModel, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
) -> LogLikelihood:
    """Exact log q(y_O|x), for rows with at least one label. See `ccvae.model.objective.Objective`; nothing is drawn."""
    rows = ~y.isnan().all(dim=1)
    if rows.sum() < 2:  # batch normalisation needs two rows
        rows = torch.ones_like(rows)
    posterior, known = model.posterior(x[rows]), y[rows]
    log_q_y = posterior.loc.new_zeros(known.shape)
    for block in model.label_blocks():
        mu, sigma = posterior.loc[:, block.latents], posterior.scale[:, block.latents]
        observed = known[:, block.columns]
        tilted = block(mu, sigma, observed, torch.zeros_like(mu), torch.full_like(observed, 0.5))
        log_q_y = log_q_y.index_copy(1, block.columns, tilted.log_q_y)
    return LogLikelihood(log_q_y.new_zeros(y.shape).index_copy(0, rows.nonzero()[:, 0], log_q_y))


def supervised(data: Dataset, config: TrainConfig, **model_settings: Any) -> CCVAE:
    """A trained supervised network; `predict` and `predict_proba` are those of the CCVAE.

    Validation rows are not used: the network keeps its last weights.

    Args:
        data: its labelled training rows are trained on.
        config: how to train; `classification_weight` is 1 by default.
        model_settings: fields of `ModelConfig`.

    Raises:
        ValueError: as `ccvae.fit` raises it.
    """
    torch.manual_seed(config.seed)
    trained = replace(data, splits={**data.splits, "validation": np.arange(0)})
    model = CCVAE.for_data(data, **model_settings)
    return fit(model, trained, config=config, objective=log_likelihood_of_labels, progress=False)
