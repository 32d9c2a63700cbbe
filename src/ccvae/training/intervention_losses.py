"""Terms beside the bound that make edits do what they say; none is the paper's, and all leave the bound as it is.

The bound asks that blocks and style together explain an image. It does not ask that the decoder shows a block which has been
changed (it never meets one in training), nor in which part of the latent vector it is kept how a label shows.

- `misreading`: after an intervention, drawn as users make them, the encoder should read what was set, and all else as it was.
  Only the decoder learns from it; the encoder is that of real images, and cannot agree upon signs with the decoder.
- `kept_elsewhere`: nats kept outside the blocks of labels that hold. Where they cost more, how a label shows moves into its own
  block: the only place that is idle whenever the label does not hold.
- `between_passes`: where the style is read from the neutralised input, that of the first pass, which the neutralised input is
  painted with, should be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import smooth_l1_loss

from ccvae.distributed.shard import Shard
from ccvae.distributions.likelihoods import sum_of_elements
from ccvae.model.bound import style_term
from ccvae.model.interventions import draw_labels
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.latent_model import LatentModel, evaluating, full

__all__ = ["between_passes", "kept_elsewhere", "misreading"]

CHANGED = 2.5
"""Labels changed in an image on average, at most half of them."""
REST = 0.3
"""How much the reading of an unchanged latent counts beside that of a changed one."""
REAL = 0.6
"""Share of rows whose changed blocks are other rows' own, not drawn from p(z|y)."""
REAL_SPREAD = 0.3
"""Deviation of the noise on such a block, as a share of its posterior's."""
SMALLEST_DEVIATION = 0.3


def misreading(
    model: LatentModel, posterior: Normal, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Tensor:
    """How far the encoder reads edited images from what was set: `(batch,)`, in deviations of p(z|y).

    In each row some blocks are drawn anew, z_i ~ p(z_i|y_i) with y_i ~ p(y_i), between the mean and a full draw. Distances are
    squared where small and absolute where large (Huber), summed over latents.

    Args:
        model: the model.
        posterior: q(z|x) of the batch.
        generator: source of the noise; torch's global one if not given.
        shard: see `ccvae.model.bound.bound`.
    """
    mu, sigma = posterior.loc.detach(), posterior.scale.detach()
    shard = shard or Shard(len(mu))
    latents, labels = model.config.latent_dim, len(model.space)
    noise = mu.new_empty(2, shard.total, latents).normal_(generator=generator)[:, shard.rows]
    uniform = mu.new_empty(2, shard.total, labels + 1).uniform_(generator=generator)[:, shard.rows]
    spread, uniform = uniform[0, :, -1:], uniform[..., :-1]
    with torch.no_grad():
        prior = model.conditional_prior(draw_labels(model, uniform[0]).to(mu.dtype))
        drawn = prior.loc + prior.scale * noise[0] * spread
        changed = torch.cat([uniform[1] < min(0.5, CHANGED / labels), uniform.new_zeros(len(mu), 1).bool()], 1)
        changed = changed[:, model.owner]
        z = torch.where(changed, drawn, mu + sigma * noise[1])
    images = model.likelihood_of.mean(full(model.decoder(z)))
    weight = torch.where(changed, 1.0, REST)

    def distance(seen: Tensor) -> Tensor:
        read = full(model.encoder(seen))[:, :latents]
        return (smooth_l1_loss(read / prior.scale, z / prior.scale, reduction="none") * weight).sum(-1)

    with evaluating(cast(nn.Module, model.encoder)):
        return by_input_alone(distance, images)


def between_passes(model: LatentModel, first: Normal, posterior: Normal) -> Tensor:
    """How far the style of the first pass is from that of q(z|x), from which only the former learns: `(batch,)`.

    In deviations of q(z_s|x), taken to be at least `SMALLEST_DEVIATION`; squared where small and absolute where large (Huber).

    Args:
        model: the model.
        first: what was read in the first pass.
        posterior: q(z|x).
    """
    wanted, deviation = posterior.loc[:, model.style].detach(), posterior.scale[:, model.style].detach()
    deviation = deviation.clamp_min(SMALLEST_DEVIATION)
    return smooth_l1_loss(first.loc[:, model.style] / deviation, wanted / deviation, reduction="none").sum(-1)


def by_input_alone(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a function gives for inputs row by row, `(batch,)`, differentiable in them and in nothing that it knows of besides.

    Networks need not be copied or frozen for it, which FSDP, while it spreads them over processes, would not bear.
    """
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        value = function(given)
        (slope,) = torch.autograd.grad(value.sum(), given)
    change = sum_of_elements((x - given.detach()) * slope)  # zero, with the slope as its derivative
    return value.detach() + change


def kept_elsewhere(model: LatentModel, posterior: Normal, y: Tensor) -> Tensor:
    """Nats kept in the style, and in blocks of binary labels by the share that they do not hold: `(batch,)`.

    Args:
        model: the model.
        posterior: q(z|x) of the batch.
        y: labels `(batch, labels)`, NaN where missing: q(y|x) then says how far they hold.
    """
    nats = -style_term(model, posterior)
    for block in model.label_blocks():
        if isinstance(block, BinaryBlocks):
            mu, sigma = posterior.loc[:, block.latents], posterior.scale[:, block.latents]
            observed = y[:, block.columns]
            with torch.no_grad():
                absent = torch.where(observed.isnan(), block.predict(mu, sigma)[..., 0], 1 - observed)
            nats = nats + (absent * block.divergence(mu, sigma, 0)).sum(-1)
    return nats
