"""Blocks of binary labels: everything along the one direction that the label map sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torch.nn.functional import logsigmoid

from ccvae import labels as label_kinds
from ccvae.label_blocks import FIRST_DISTANCE, SMALLEST_SLOPE, DiscreteBlocks, Expectations, TiltedPosterior, full_precision
from ccvae.tilted_normal import log_normaliser, on_accelerator, tilted_normal

__all__ = ["BinaryBlocks"]


class BinaryBlocks(DiscreteBlocks):
    """Blocks of binary labels: q(y_i|z_i) = Bernoulli(sigmoid(w·z_i + b)).

    A label between 0 and 1 is the probability of 1 (annotators who disagree): its bound is the average of both values' bounds.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors.
    """

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Binary]) -> None:
        size = len(latents[0])
        side = torch.tensor([-1.0, 1.0])[:, None].expand(len(columns), 2, size)
        super().__init__(columns, latents, [label.priors for label in labels], FIRST_DISTANCE / math.sqrt(size) * side)
        self.weight = nn.Parameter(torch.full((len(columns), size), 1 / math.sqrt(size)))
        self.bias = nn.Parameter(torch.zeros(len(columns)))

    def logits(self, z: Tensor) -> Tensor:
        """w·z_i + b, `(…, labels)`."""
        return (self.weight * z).sum(-1) + self.bias

    def label_map(self, z: Tensor) -> list[Bernoulli]:
        """q(y_i|z_i)."""
        return [Bernoulli(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-1)]

    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i), averaged over both values where y_i is a probability."""
        s = self.logits(z)
        return logsigmoid(s) - (1 - y) * s

    def value_log_label_maps(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of both values."""
        s = self.logits(z)
        return torch.stack([logsigmoid(-s), logsigmoid(s)], -1)

    def label_prior(self) -> list[Bernoulli]:
        """p(y_i)."""
        return [Bernoulli(probs=present, validate_args=False) for present in self.log_prior[:, 1].exp()]

    def toward(self, y: Tensor) -> Tensor:
        """±w."""
        return self.weight * torch.where(y >= 0.5, 1.0, -1.0).to(self.weight.dtype)[..., None]

    def weights(self, y: Tensor) -> Tensor:
        """How much each value is observed."""
        present = y.nan_to_num()
        return torch.stack([1 - present, present], -1)

    def section(self, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logit under q(z_i|x) as beta + alpha e, e ~ Normal(0, 1): alpha and beta `(batch, labels)`, and the unit vectors
        `(batch, labels, d)` along which e lies in white noise.
        """
        along = self.weight * sigma
        alpha = torch.linalg.vector_norm(along, dim=-1).clamp_min(SMALLEST_SLOPE)
        return alpha, self.logits(mu), along / alpha[..., None]

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, 2)`."""
        alpha, beta, _ = self.section(mu, sigma)
        return torch.stack([log_normaliser(alpha, -beta), log_normaliser(alpha, beta)], -1).softmax(-1)

    @full_precision
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i): tilted Normals along the label map's direction, white noise across it.

        A missing label's expectations are those of both its values, weighed by q(y_i|x).
        """
        alpha, beta, along = self.section(mu, sigma)
        observed, present, share = ~y.isnan(), y, self.weights(y)
        drawn_from = torch.stack([uniform >= present, uniform < present], -1)  # the value, which only soft labels leave open
        others = (~observed[..., None] | (share > 0)) & ~drawn_from
        # the tilt by value 0 is that by value 1 with e reversed, at −beta
        sign = torch.arange(-1, 2, 2, dtype=beta.dtype, device=beta.device)
        slope, offset = alpha[..., None].expand_as(share).flatten(), (sign * beta[..., None]).flatten()
        level = torch.stack([(1 - uniform) / (1 - present), uniform / present], -1).flatten()
        quantities = tilted_where(slope, offset, level, drawn_from.flatten(), others.flatten())
        log_mass, mean, square, log_sigmoid, e = quantities.view(5, *share.shape)
        given = Expectations(
            log_evidence=log_mass,
            log_label_map=log_sigmoid,
            mean=(sign * mean)[..., None] * along[..., None, :],
            variance=1 + (square - mean**2 - 1)[..., None] * along[..., None, :] ** 2,
        )
        weight = torch.where(observed[..., None], share, log_mass.exp())
        exchange = torch.where(observed, (sign * e).sum(-1) - (along * noise).sum(-1), 0)  # Matheron's rule
        return TiltedPosterior(
            log_evidence=torch.where(observed, (share * log_mass).sum(-1), 0),
            log_ratio=self.log_ratio(mu, sigma, weight, given),
            noise=noise + along * exchange[..., None],
        )


def tilted_where(slope: Tensor, offset: Tensor, level: Tensor, drawn: Tensor, other: Tensor) -> Tensor:
    """What `tilted_normal` gives of some rows with draws and of others without, `(5, rows)`; of the rest it may be
    anything finite, and a row without a draw has 0 for it.

    Args:
        slope: `(rows,)`.
        offset: likewise.
        level: likewise.
        drawn: which rows with draws, `(rows,)`.
        other: which rows without, none of those.
    """
    if on_accelerator(slope):
        # it would have to be waited for to know which rows they are; to it, all of them cost no more
        quantities = tilted_normal(slope, offset, torch.where(drawn, level, 0.5))
        return torch.cat([quantities[:4], torch.where(drawn, quantities[4:], 0)])
    with_draws, without = drawn.nonzero()[:, 0], other.nonzero()[:, 0]
    return (
        slope.new_zeros(5, len(slope))
        .index_copy(1, with_draws, tilted_normal(slope[with_draws], offset[with_draws], level[with_draws]))
        .index_copy(1, without, tilted_normal(slope[without], offset[without]))
    )
