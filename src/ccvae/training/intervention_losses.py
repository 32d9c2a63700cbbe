"""Losses beside the bound that make edits do what they say. None is in the paper, and the bound stays as it is.

The bound asks that blocks and style together explain an image. It does not ask that the decoder shows a block which has been
changed (training never decodes one), nor in which part of the latent vector a label's characteristics are stored.

- `intervention_loss`: after an intervention, drawn as users make them, the encoder should read the values that were set, and
  leave the others unchanged. Only the decoder receives gradients: if the encoder did too, the two could agree on signs that
  real images do not have.
- `elsewhere_kl`: KL of the style, plus KL of blocks whose label is absent. With a larger weight on it, a present label is
  cheapest to describe in its own block, and its characteristics move there.
- `absent_redrawn`: what the block of an absent label contains must not show, for an absent label has no characteristics. In
  some rows the decoder therefore sees other draws of these blocks from p(z|y), so that nothing else can be stored in them.
- `labels_alone`: at first, the decoder sees labels and no style, so that it learns to paint every label from the label's own
  block. If the style could show a label first, the decoder would never need the block, and interventions would give traces that
  only the encoder sees.
- `style_consistency`: where the style is read from the neutralised input, it should equal the style of the first pass, with
  which the neutralised input is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import smooth_l1_loss

from ccvae.distributed.shard import Shard
from ccvae.distributions.likelihoods import sum_of_elements
from ccvae.model.bound import style_term
from ccvae.model.inference import evaluating, full
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.latent_model import LatentModel

__all__ = ["absent_redrawn", "elsewhere_kl", "intervention_loss", "labels_alone", "style_consistency"]

LABELS_CHANGED = 2.5
"""Mean number of labels changed in an image; at most half of the labels."""
UNCHANGED_WEIGHT = 0.3
"""Weight of an unchanged latent, relative to a changed one."""
SMALLEST_DEVIATION = 0.3
ABSENT = 0.1
"""A label counts as absent where its probability is below this, as soft labels give it."""


def intervention_loss(
    model: LatentModel, posterior: Normal, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Tensor:
    """How far the encoder's reading of edited images is from what was set: `(batch,)`, in standard deviations of p(z|y).

    In each row the blocks of some labels are replaced by draws z_i ~ p(z_i|y_i) with y_i ~ p(y_i), between the mean and a full
    draw. If p(z_i|y_i) has several components, mean and standard deviations are those of the one that is drawn. Distances are
    Huber losses (squared where small, absolute where large), summed over latents.

    Args:
        model: the model.
        posterior: q(z|x) of the batch.
        generator: source of random numbers; torch's global one by default.
        shard: which rows of the full batch these are; see `ccvae.model.objective.Objective`.
    """
    mu, sigma = posterior.loc.detach(), posterior.scale.detach()
    shard = shard or Shard(len(mu))
    latents, labels = model.config.latent_dim, len(model.space)
    noise = mu.new_empty(2, shard.total, latents).normal_(generator=generator)[:, shard.rows]
    uniform = mu.new_empty(2, shard.total, labels + 1).uniform_(generator=generator)[:, shard.rows]
    spread, uniform = uniform[0, :, -1:], uniform[..., :-1]
    with torch.no_grad():
        y = model.draw_labels(uniform[0])
        prior = model.conditional_component(y.to(mu.dtype), model.remaining_uniform(uniform[0], y))
        drawn = prior.loc + prior.scale * noise[0] * spread
        changed = torch.cat([uniform[1] < min(0.5, LABELS_CHANGED / labels), uniform.new_zeros(len(mu), 1).bool()], 1)
        changed = changed[:, model.owner]
        z = torch.where(changed, drawn, mu + sigma * noise[1])
    images = model.likelihood_of.mean(full(model.decoder(z)))
    weight = torch.where(changed, 1.0, UNCHANGED_WEIGHT)

    def distance(edited: Tensor) -> Tensor:
        read = full(model.encoder(edited))[:, :latents]
        return (smooth_l1_loss(read / prior.scale, z / prior.scale, reduction="none") * weight).sum(-1)

    with evaluating(cast(nn.Module, model.encoder)):
        return with_input_gradient_only(distance, images)


@contextmanager
def absent_redrawn(
    model: LatentModel, y: Tensor, share: float, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Iterator[None]:
    """Context in which the decoder sees other draws of the blocks of absent binary labels, in a share of the rows.

    What is drawn comes from p(z_i|y_i = 0), without gradient. The reconstruction of these rows is that of a posterior which
    says nothing about these blocks, and the bound's other terms are as before: the objective is still a lower bound.

    Args:
        model: the model.
        y: labels of the batch, `(batch, labels)`; nothing is redrawn where one is missing (NaN).
        share: of the rows.
        generator: source of random numbers; torch's global one by default.
        shard: which rows of the full batch these are; see `ccvae.model.objective.Objective`.
    """
    shard = shard or Shard(len(y))
    rows = (y.new_empty(shard.total).uniform_(generator=generator) < share)[shard.rows, None]
    noise = y.new_empty(shard.total, model.config.latent_dim).normal_(generator=generator)[shard.rows]
    uniform = component_numbers(model, y, generator, shard)

    def redrawn(z: Tensor) -> Tensor:
        z = z.clone()
        for block in model.label_blocks():
            if isinstance(block, BinaryBlocks):
                labels = y[:, block.columns]
                with torch.no_grad():
                    prior = block.component(torch.zeros_like(labels), uniform[:, block.columns])
                    drawn = prior.loc + prior.scale * noise[:, block.latents]
                absent = (labels < ABSENT) & rows
                z[:, block.latents] = torch.where(absent[..., None], drawn.to(z.dtype), z[:, block.latents])
        return z

    with showing(model, redrawn):
        yield


@contextmanager
def labels_alone(
    model: LatentModel, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Iterator[None]:
    """Context in which the decoder sees blocks of known labels from p(z_i|y_i) and the style from p(z_s), without gradient.

    Where a label is missing, its block is that of the posterior. The reconstruction is then that of a posterior which says
    nothing more, and the bound's other terms are as before: the objective is still a lower bound.

    Args:
        model: the model.
        y: labels of the batch, `(batch, labels)`, NaN where missing.
        generator: source of random numbers; torch's global one by default.
        shard: which rows of the full batch these are; see `ccvae.model.objective.Objective`.
    """
    shard = shard or Shard(len(y))
    noise = y.new_empty(shard.total, model.config.latent_dim).normal_(generator=generator)[shard.rows]
    uniform = component_numbers(model, y, generator, shard)

    def redrawn(z: Tensor) -> Tensor:
        z = torch.cat([z[:, : model.style.start], noise[:, model.style].to(z.dtype)], 1)
        for block in model.label_blocks():
            labels = y[:, block.columns]
            with torch.no_grad():
                prior = block.component(labels.nan_to_num(), uniform[:, block.columns])
                drawn = prior.loc + prior.scale * noise[:, block.latents]
            z[:, block.latents] = torch.where(labels.isnan()[..., None], z[:, block.latents], drawn.to(z.dtype))
        return z

    with showing(model, redrawn):
        yield


def component_numbers(model: LatentModel, y: Tensor, generator: torch.Generator | None, shard: Shard) -> Tensor:
    """Uniform numbers that choose components of p(z|y), in the shape of y; nothing is drawn where there is no choice."""
    if model.config.prior_components == 1:
        return torch.zeros_like(y)
    return y.new_empty(shard.total, y.shape[1]).uniform_(generator=generator)[shard.rows]


@contextmanager
def showing(model: LatentModel, instead: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Context in which a model's likelihood sees a function of the latents instead of them."""
    before, model.shown_instead = model.shown_instead, instead
    try:
        yield
    finally:
        model.shown_instead = before


def style_consistency(model: LatentModel, first_pass: Normal, posterior: Normal) -> Tensor:
    """Huber distance between the style of the first pass and that of q(z|x), summed over latents: `(batch,)`.

    It is in standard deviations of q(z_s|x), at least `SMALLEST_DEVIATION`. Only the first pass receives gradients.

    Args:
        model: the model.
        first_pass: what was read from the input itself.
        posterior: q(z|x), whose style was read from the neutralised input.
    """
    target, deviation = posterior.loc[:, model.style].detach(), posterior.scale[:, model.style].detach()
    deviation = deviation.clamp_min(SMALLEST_DEVIATION)
    return smooth_l1_loss(first_pass.loc[:, model.style] / deviation, target / deviation, reduction="none").sum(-1)


def with_input_gradient_only(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Values `(batch,)` of a function of inputs, differentiable in the inputs but in none of the function's parameters.

    This neither copies nor freezes networks, which FSDP does not support while it shards their parameters.
    """
    with torch.enable_grad():
        inputs = x.detach().requires_grad_()
        value = function(inputs)
        (gradient,) = torch.autograd.grad(value.sum(), inputs)
    zero = sum_of_elements((x - inputs.detach()) * gradient)  # its derivative is the gradient
    return value.detach() + zero


def elsewhere_kl(model: LatentModel, posterior: Normal, y: Tensor) -> Tensor:
    """KL of the style, plus KL of binary labels' blocks times the probability that the label is absent: `(batch,)` nats.

    The KL from a mixture is an upper bound (see `ccvae.model.label_blocks.discrete.DiscreteBlocks.divergence`).

    Args:
        model: the model.
        posterior: q(z|x) of the batch.
        y: labels `(batch, labels)`; where one is missing (NaN), q(y|x) is the probability.
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
