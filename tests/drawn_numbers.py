"""Random numbers that are the same on every machine; how torch draws sixteen and more depends on the CPU.

Tests that compare an approximation with the truth need one problem, whose difficulty is known.
"""

import numpy as np
import torch

from ccvae.model.label_blocks.categorical import CategoricalBlocks


def normal(*shape, seed):
    """Standard normal numbers in torch's default precision."""
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape)).to(torch.get_default_dtype())


def uniform(*shape, seed):
    """Numbers between 0 and 1 in torch's default precision."""
    return torch.as_tensor(np.random.default_rng(seed).random(shape)).to(torch.get_default_dtype())


def perturb(module, seed, scale=0.4):
    """Add normal numbers to the parameters of a module, so that they have no special form; gives the module."""
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.as_tensor(scale * random.standard_normal(parameter.shape)).to(parameter)
    return module


def at_slope(blocks, sigma, slope=1.0):
    """Scales of posteriors, `(rows, labels, d)`; those of categorical labels changed so that the largest |σW| is `slope`.

    How exact integrals over such blocks are depends on it: see docs/model.md.
    """
    if not isinstance(blocks, CategoricalBlocks):
        return sigma
    return slope * sigma / (sigma[:, :, None] * blocks.weight.detach()).norm(dim=-1).amax(-1)[..., None]
