"""What a CCVAE is compared with: its own encoder and classifiers, trained on log q(y|x) of labelled rows and nothing else."""

from typing import Any

import torch

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import Training

__all__ = ["supervised"]


def supervised(data: Dataset, config: TrainConfig, **model_settings: Any) -> CCVAE:
    """A network trained with the same optimiser, weight decay, dropout, steps and labelled rows a batch as `ccvae.fit` has."""
    torch.manual_seed(config.seed)
    model = CCVAE.for_data(data, **model_settings).train()
    batches = Batches(data, config.batch_size, config.seed, config.labelled_share, config.balanced)
    chosen = Training(model, config, batches).configure_optimizers()
    optimizer, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    for _ in range(config.epochs):
        for x, y in batches:
            rows = ~y.isnan().all(dim=1)
            posterior = model.posterior(x[rows])
            loss = posterior.loc.new_zeros(())
            for block in model.label_blocks():
                mu, sigma = posterior.loc[:, block.latents], posterior.scale[:, block.latents]
                known = y[rows][:, block.columns]
                tilted = block.tilt(mu, sigma, known, torch.zeros_like(mu), torch.full_like(known, 0.5))
                loss = loss - tilted.log_evidence.sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()
