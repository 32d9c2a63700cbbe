"""What metrics are made of: sums over rows, which processes can add up exactly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.model.bound import Bound
from ccvae.model.ccvae import CCVAE
from ccvae.model.label_blocks.continuous import ContinuousBlocks

__all__ = ["TERMS", "label_hits", "term_sums", "wide"]

TERMS = ("total", "reconstruction", "labels", "style", "classification")


def term_sums(result: Bound) -> Tensor:
    """Number of rows, and the terms of their bounds summed over them: `(6,)`, without gradients."""
    terms = result.terms()
    sums = torch.stack([terms[name].detach().sum() for name in TERMS])
    return torch.cat([sums.new_full((1,), len(result.total)), sums]).to(wide(sums.device))


def label_hits(model: CCVAE, posterior: Normal, y: Tensor) -> Tensor:
    """How many observed binary and categorical labels are predicted rightly, and how many there are: `(2,)`."""
    counts = torch.zeros(2, dtype=wide(y.device), device=y.device)
    for block in model.label_blocks():
        labels = y[:, block.columns]
        if not isinstance(block, ContinuousBlocks):
            predicted = block.predict(posterior.loc[:, block.latents], posterior.scale[:, block.latents]).argmax(-1)
            counts += torch.stack([(predicted == labels.round()).sum(), (~labels.isnan()).sum()])  # NaN equals nothing
    return counts


def wide(device: torch.device) -> torch.dtype:
    """The widest floats that a device has, to sum with."""
    return torch.float32 if device.type == "mps" else torch.float64
