"""Training metrics as sums over rows, which several processes can add up exactly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.model.latent_model import LatentModel

__all__ = ["correct_predictions", "row_sums", "widest_float"]


def row_sums(terms: Mapping[str, Tensor]) -> Tensor:
    """Number of rows, then each term summed over rows: `(1 + terms,)`, without gradients.

    Args:
        terms: values by name, each `(batch,)`.
    """
    values = list(terms.values())
    sums = torch.stack([value.detach().sum() for value in values])
    return torch.cat([sums.new_full((1,), len(values[0])), sums]).to(widest_float(sums.device))


def correct_predictions(model: LatentModel, posterior: Normal, y: Tensor) -> Tensor:
    """Number of observed binary and categorical labels that are predicted correctly, and number of them observed: `(2,)`.

    Args:
        model: the model.
        posterior: q(z|x) of the batch.
        y: labels `(batch, labels)`, NaN where missing.
    """
    counts = torch.zeros(2, dtype=widest_float(y.device), device=y.device)
    for block in model.label_blocks():
        labels = y[:, block.columns]
        if not isinstance(block, ContinuousBlocks):
            predicted = block.predict(posterior.loc[:, block.latents], posterior.scale[:, block.latents]).argmax(-1)
            counts += torch.stack([(predicted == labels.round()).sum(), (~labels.isnan()).sum()])  # NaN equals nothing
    return counts


def widest_float(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device, to sum with."""
    return torch.float32 if device.type == "mps" else torch.float64
