"""The five distributions of CCVAE: a VAE whose latent vector has one block for each label (Joy et al., ICLR 2021).

    q(z|x)      posterior              p(z_c|y)   conditional_prior
    q(y|z_c)    classifier             p(y)       label_prior
    p(x|z)      log_likelihood

Tensors in, distributions out; `ccvae.model.latent_model` adds what takes users' images and tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import softplus

from ccvae.config import ModelConfig, check_input_shape
from ccvae.distributions.likelihoods import build_likelihood
from ccvae.distributions.positive import SMALLEST_SCALE
from ccvae.labels import LabelSpace
from ccvae.model.defaults import resolved
from ccvae.model.inference import evaluating, full
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.layout import block_slices, build_blocks
from ccvae.model.networks.build import Decoder, Encoder, build_decoder, build_encoder
from ccvae.model.networks.separate import Part, SeparateEncoder
from ccvae.model.neutralising import changed_region

__all__ = ["LatentDistributions", "reading_once"]

STYLE_DIMENSIONS = 32
"""Dimensions of the style if `latent_dim` is not configured."""
IMAGE_SCALE = 0.1
"""Scale of the likelihood for images, whose values are in [0, 1], if it is not configured."""


class LatentDistributions(nn.Module):
    """The distributions of a characteristic-capturing VAE (Joy et al., ICLR 2021); `LatentModel` is made of it.

    The latent vector is z = (z_c, z_s): one block z_i for each label, in the labels' order, then the style z_s. The decoder
    never sees a label, so z_i must contain *how* label i shows, and not only whether it does.

    Attributes: `block_slices` has the slice of each label's block, `style` that of the style. `owner` `(latent_dim,)` has the
    column of the label to whose block each latent belongs; in the style, the number of labels. Training sets `rows_read_once`
    (see `reading_once`) and `shown_instead` (see `ccvae.training.intervention_losses.absent_redrawn`) for the time of a step.

    Args:
        space: the labels, with their priors.
        input_shape: (channels, height, width) of images in [0, 1], or (features,) of vectors.
        config: sizes and choices.
        encoder: any module from inputs to `(batch, 2 * latent_dim)`, instead of the configured one.
        decoder: any module from `(batch, latent_dim)` to the shape of inputs, instead of the configured one. For images, it
            gives values before the sigmoid, which the likelihood applies.

    Raises:
        ValueError: `latent_dim` is too small for the labels' blocks, or the networks cannot take the shape.
    """

    owner: Tensor

    def __init__(
        self,
        space: LabelSpace,
        input_shape: Sequence[int],
        config: ModelConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__()
        self.space = space
        self.input_shape = check_input_shape(input_shape)
        self.config = resolved(config or ModelConfig(), len(space), self.input_shape)
        self.block_slices = block_slices(space, self.config)
        if not self.config.latent_dim:
            self.config = replace(self.config, latent_dim=self.block_slices[-1].stop + STYLE_DIMENSIONS)
        self.style = slice(self.block_slices[-1].stop, self.config.latent_dim)
        owner = torch.full((self.config.latent_dim,), len(space))
        for column, block in enumerate(self.block_slices):
            owner[block] = column
        self.register_buffer("owner", owner, persistent=False)
        sizes = [block.stop - block.start for block in self.block_slices]
        self.encoder = encoder if encoder is not None else build_encoder(self.config, self.input_shape, sizes)
        self.decoder = decoder if decoder is not None else build_decoder(self.config, self.input_shape, sizes)
        wanted = self.config.neutral_style
        self.neutral_style = isinstance(self.encoder, SeparateEncoder) if wanted is None else wanted
        image = len(self.input_shape) == 3
        scale = self.config.scale or (1.0 if self.config.likelihood == "bernoulli" or not image else IMAGE_SCALE)
        self.likelihood_of = build_likelihood(self.config.likelihood, image, scale, self.config.learn_scale)
        self.rows_read_once: Tensor | None = None
        self.shown_instead: Callable[[Tensor], Tensor] | None = None
        self.blocks = nn.ModuleList(build_blocks(space, self.block_slices, self.config.prior_components))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        """One line, for notebooks; print `model.encoder` and `model.decoder` for their layers."""
        labels = f"{len(self.space)} label{'s' if len(self.space) > 1 else ''}"
        shape = "×".join(map(str, self.input_shape))
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return f"{type(self).__name__}({labels}, inputs {shape}, {self.config.latent_dim} latents, {parameters:,} parameters)"

    def posterior(self, x: Tensor) -> Normal:
        """q(z|x) of inputs `(batch, *input_shape)`: Normal over `(batch, latent_dim)`."""
        return self.passes(x)[1]

    def passes(self, x: Tensor) -> tuple[Normal, Normal]:
        """What is read from inputs in a first pass, and q(z|x), which is the same without `neutral_style`.

        With it, blocks are those of the first pass, and the style is read in a second one, from the neutralised input (see
        `neutralised`). How a label shows can then reach the decoder through the label's block only. Both passes depend on x
        alone, so q(z|x) is an ordinary posterior, and the bound stays exact. No gradient passes through the neutralised input:
        it would be taught to carry in secret what it must not.
        """
        first = self.read(x)
        if not self.neutral_style or self.style.start == self.style.stop:
            return first, first
        start = self.style.start
        if self.rows_read_once is None:
            second = self.read_neutralised(x, first.loc)
            loc, scale = torch.cat([first.loc[:, :start], second.loc], 1), torch.cat([first.scale[:, :start], second.scale], 1)
            return first, Normal(loc, scale, validate_args=False)
        again = ~self.rows_read_once
        if not again.any():
            return first, first
        second = self.read_neutralised(x[again], first.loc[again])
        loc, scale = first.loc.clone(), first.scale.clone()
        loc[again, start:], scale[again, start:] = second.loc, second.scale
        return first, Normal(loc, scale, validate_args=False)

    def read_neutralised(self, x: Tensor, z: Tensor) -> Normal:
        """The style read from the neutralised input (see `neutralised`): Normal over the style."""
        neutral = self.neutralised(x, z)
        with evaluating(cast(nn.Module, self.encoder)):
            return self.read(neutral, "style")

    def read(self, x: Tensor, part: Part = "all") -> Normal:
        """What the encoder reads from inputs in one pass: Normal over the whole latent vector, or one part of it."""
        if isinstance(self.encoder, SeparateEncoder):
            loc, raw_scale = full(self.encoder(x, part)).chunk(2, -1)
            return Normal(loc, softplus(raw_scale).clamp_min(SMALLEST_SCALE), validate_args=False)
        loc, raw_scale = full(self.encoder(x)).chunk(2, -1)
        if part != "all":
            columns = self.style if part == "style" else slice(0, self.style.start)
            loc, raw_scale = loc[:, columns], raw_scale[:, columns]
        return Normal(loc, softplus(raw_scale).clamp_min(SMALLEST_SCALE), validate_args=False)

    @torch.no_grad()
    def neutralised(self, x: Tensor, z: Tensor) -> Tensor:
        """Inputs with all labels neutral.

        Where neutralising changes what the decoder shows, images become what it then shows; everywhere else they stay as they
        are. Vectors become what the decoder shows, in all features.

        Args:
            x: inputs `(batch, *input_shape)`.
            z: latents read from them, `(batch, latent_dim)`.
        """
        neutral = z.clone()
        for block in self.label_blocks():
            neutral[:, block.latents] = block.neutral().to(z.dtype)
        with evaluating(cast(nn.Module, self.decoder)):
            if len(self.input_shape) == 1:
                return self.likelihood_of.mean(full(self.decoder(neutral)))
            both = self.likelihood_of.mean(full(self.decoder(torch.cat([z, neutral]))))
        shown, without = both[: x.shape[0]], both[x.shape[0] :]
        return x + changed_region(shown, without) * (without - x)

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z|y) of labels `(batch, labels)`, none missing: Normal over `(batch, latent_dim)`, standard in the style.

        With several `prior_components`, it is the Normal with the mixture's means and variances; draw from
        `conditional_component` then.
        """
        return over_latents(self, y, lambda block: block.conditional_prior(y[:, block.columns]))

    def conditional_component(self, y: Tensor, uniform: Tensor) -> Normal:
        """The components of p(z|y) that uniform numbers choose by their weights: a draw from them is a draw from p(z|y).

        With one component, they are p(z|y) itself.

        Args:
            y: labels `(batch, labels)`, none missing.
            uniform: numbers in (0, 1), `(batch, labels)`, independent of y (see `remaining_uniform`).
        """
        return over_latents(self, y, lambda block: block.component(y[:, block.columns], uniform[:, block.columns]))

    def classifier(self, z: Tensor) -> dict[str, Distribution]:
        """q(y_i|z_i) of latents `(batch, latent_dim)`: a distribution over `(batch,)` by label name."""
        maps = {
            column: map_
            for block in self.label_blocks()
            for column, map_ in block.by_column(block.classifier(z[:, block.latents]))
        }
        return {name: maps[column] for column, name in enumerate(self.space.names)}

    def label_prior(self) -> dict[str, Distribution]:
        """p(y_i) by label name."""
        priors = {column: prior for block in self.label_blocks() for column, prior in block.by_column(block.label_prior())}
        return {name: priors[column] for column, name in enumerate(self.space.names)}

    def draw_labels(self, uniform: Tensor) -> Tensor:
        """Labels y ~ p(y) from uniform numbers in (0, 1): both `(rows, labels)`."""
        drawn = torch.empty_like(uniform)
        for block in self.label_blocks():
            drawn[:, block.columns] = block.prior_quantile(uniform[:, block.columns])
        return drawn

    def remaining_uniform(self, uniform: Tensor, y: Tensor) -> Tensor:
        """Uniform numbers independent of the labels y that `draw_labels` made of others: all `(rows, labels)`.

        They choose components of p(z|y); with one component there is no choice, and they are the same numbers.
        """
        if self.config.prior_components == 1:
            return uniform
        remaining = torch.empty_like(uniform)
        for block in self.label_blocks():
            remaining[:, block.columns] = block.remaining_level(uniform[:, block.columns], y[:, block.columns])
        return remaining

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """Log p(x|z) of inputs and latents: `(batch,)` nats."""
        shown = z if self.shown_instead is None else self.shown_instead(z)
        return self.likelihood_of.log_prob(full(self.decoder(shown)), x)

    def label_blocks(self) -> Iterator[LabelBlocks]:
        """The label blocks, one module for each kind and size."""
        return iter(self.blocks)  # type: ignore[arg-type]


def over_latents(model: LatentDistributions, y: Tensor, prior_of: Callable[[LabelBlocks], Normal]) -> Normal:
    """Normal over `(batch, latent_dim)` from that of each module of label blocks; standard in the style."""
    loc, scale = y.new_zeros(len(y), model.config.latent_dim), y.new_ones(len(y), model.config.latent_dim)
    for block in model.label_blocks():
        prior = prior_of(block)
        loc[:, block.latents], scale[:, block.latents] = prior.loc, prior.scale
    return Normal(loc, scale, validate_args=False)


@contextmanager
def reading_once(model: LatentDistributions, rows: Tensor) -> Iterator[None]:
    """Context in which a model reads the style of some rows from the input itself, regardless of `neutral_style`.

    Args:
        model: the model.
        rows: whether to do so for each row of the batch, `(batch,)`.
    """
    before, model.rows_read_once = model.rows_read_once, rows
    try:
        yield
    finally:
        model.rows_read_once = before
