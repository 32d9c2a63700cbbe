"""Counterfactuals: the smallest change of a label's block after which q(y|x) favours another value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ccvae.labels import Continuous
from ccvae.model.interventions import across, block_of
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.model.label_blocks.discrete import DiscreteBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.model.outputs import as_given

__all__ = ["Counterfactual", "counterfactual"]

NEWTON_STEPS = 60


@dataclass(frozen=True)
class Counterfactual:
    """The smallest changes after which q(y|x) favours another value.

    Args:
        images: changed images `(rows, *input_shape)`.
        values: the value that each image shows now.
        before: q(y|x) of the label before the change, one column per value.
        after: q(y|x) after the change.
        distance: length of each change, in standard deviations of p(z_i|y_i) (of the whole mixture, if it is one), `(rows,)`.
    """

    images: Any
    values: list[Any]
    before: pd.DataFrame
    after: pd.DataFrame
    distance: np.ndarray


def counterfactual(model: LatentModel, images: Any, label: str, value: Any = None, probability: float = 0.9) -> Counterfactual:
    """Change a label's block by as little as possible, so that q(y|x) favours another value (Wachter et al. 2017).

    Args:
        model: the model.
        images: see `CCVAE.inputs`.
        label: the label's name.
        value: the value to reach; by default the second most probable one. Required for a continuous label, whose mean is moved
            there.
        probability: q(y|x) of that value to reach, in (0, 1); images that are there already are not changed.

    Raises:
        ValueError: an unknown label or value, a continuous label without value, or a probability outside (0, 1).
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability: expected a number above 0 and below 1, found {probability}")
    column = model.space.index(label)
    kind = model.space.labels[column]
    if value is None and isinstance(kind, Continuous):
        raise ValueError(f"value: {label!r} is continuous; say which value it is to have")
    opened = model.opened(images)
    posterior = model.encode(opened)
    mu, sigma = posterior.loc, posterior.scale
    before = model.proba_of(posterior)[list(kind.output_columns)]
    if value is not None:
        wanted = torch.full((len(mu),), float(kind.encode(value)), device=mu.device)
    else:
        wanted = torch.tensor(before.to_numpy().argsort(1)[:, -2].astype(np.float32), device=mu.device)
    where = model.block_slices[column]
    change = nearest_change(model, column, mu[:, where], sigma[:, where], wanted, probability)
    z = mu.clone()
    z[:, where] += change
    scale = block_scale(model, column, wanted)
    return Counterfactual(
        images=as_given(model, model.decode(z), images, opened),
        values=[kind.decode(number) for number in wanted.tolist()],
        before=before,
        after=model.proba_of(type(posterior)(z, sigma, validate_args=False))[list(kind.output_columns)],
        distance=(change / scale).norm(dim=-1).cpu().numpy(),
    )


def nearest_change(model: LatentModel, column: int, mu: Tensor, sigma: Tensor, wanted: Tensor, probability: float) -> Tensor:
    """The smallest shift of block means, `(rows, d)`, after which q(y_i|x) of the wanted value is the given probability.

    Newton's method on a linearised constraint. Distances are in standard deviations of p(z_i|y_i). The slope is that of the
    classifier's log odds, which is at least as steep as that of q(y|x), so steps do not overshoot.
    """
    block, position = block_of(model, column)
    scale = block_scale(model, column, wanted)
    target = math.log(probability / (1 - probability))
    change = torch.zeros_like(mu)
    satisfied = torch.zeros(len(mu), dtype=torch.bool, device=mu.device)
    for step in range(NEWTON_STEPS):
        shifted = mu + scale * change
        if isinstance(block, DiscreteBlocks):
            excess, slope = log_odds(block, position, shifted, sigma, wanted)
            excess = excess - target
            satisfied = excess >= 0 if step == 0 else satisfied
        elif isinstance(block, ContinuousBlocks):
            excess = block.centre(shifted[:, None])[:, position] - block.standardised(across(block, wanted))[:, position]
            slope = block.weight[position].expand_as(mu)
        slope = slope.detach() * scale
        change = slope * ((slope * change).sum(-1) - excess)[:, None] / slope.square().sum(-1, keepdim=True).clamp_min(1e-12)
    return torch.where(satisfied[:, None], 0, scale * change).detach()


def log_odds(block: DiscreteBlocks, position: int, mu: Tensor, sigma: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Log odds of the wanted value under q(y_i|x) `(rows,)`; gradient of the classifier's in z_i `(rows, d)`."""
    value = wanted.long()[:, None]
    mus, sigmas = (one[:, None].expand(-1, len(block.columns), -1) for one in (mu, sigma))
    with torch.no_grad():
        probability = block.predict(mus, sigmas)[:, position].gather(-1, value)[:, 0]
    with torch.enable_grad():
        z = mu.detach().requires_grad_()
        log_values = block.value_log_classifiers(z[:, None].expand_as(mus))[:, position]
        others = log_values.scatter(-1, value, -torch.inf)
        odds = log_values.gather(-1, value)[:, 0] - others.logsumexp(-1)
        (slope,) = torch.autograd.grad(odds.sum(), z)
    return torch.logit(probability, eps=1e-7), slope


def block_scale(model: LatentModel, column: int, wanted: Tensor) -> Tensor:
    """Standard deviations of p(z_i|y_i) of one label, `(rows, d)`."""
    block, position = block_of(model, column)
    scale: Tensor = block.conditional_prior(across(block, wanted)).scale[:, position].detach()
    return scale
