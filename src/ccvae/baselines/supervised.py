"""A supervised network: the encoder and classifiers of a CCVAE, trained on log q(y|x) of labelled rows and nothing else.

It has the networks, optimizer, weight decay, dropout, number of steps and labelled rows per batch of `ccvae.fit`. What differs
is the objective: no reconstruction, no priors, no unlabelled rows. The decoder keeps its initial weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.training.fit import fit

__all__ = ["supervised"]


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
