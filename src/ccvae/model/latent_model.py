"""CCVAE: a VAE whose latent vector holds one block for every label (Joy et al., ICLR 2021).

The five distributions of the model, and nothing of files or loops:

    q(z|x)      posterior             p(z_c|y)   conditional_prior
    q(y|z_c)    classifier             p(y)       label_prior
    p(x|z)      likelihood
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import softplus

from ccvae.config import ModelConfig
from ccvae.distributions.likelihoods import build_likelihood
from ccvae.labels import LabelSpace
from ccvae.model.calibration import Calibration, Threshold, decide, tempered
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.layout import block_slices, build_blocks
from ccvae.model.networks.networks import Decoder, Encoder, build_decoder, build_encoder

__all__ = ["LatentModel", "evaluating", "full"]

SMALLEST_SCALE = 1e-3
STYLE_DIMENSIONS = 32
"""Dimensions of the style, where no size of the latent vector is configured."""
IMAGE_SCALE = 0.1
"""The likelihood's scale for images, which lie in [0, 1], where none is configured."""
ROWS_AT_ONCE = 64
"""Rows encoded or decoded together outside training: small chunks are fastest, since they stay in the processor's caches."""
ROWS_ON_ACCELERATOR = 2048
"""The same on a GPU, where every chunk waits for some hundred small computations to be started."""


class Data(Protocol):
    """What a model must know of data: the shape of an input, and the labels with their priors."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) or (features,)."""
        ...

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        ...


class LatentModel(nn.Module):
    """Characteristic-capturing VAE.

    The latent vector is z = (z_c, z_s): one block z_i for each label, in order, then the style z_s. The decoder never sees a
    label, so z_i must hold *how* label i shows. `owner` tells of each latent the column of its label, or, in the style, how
    many labels there are.

    Args:
        space: the labels, with their priors.
        input_shape: (channels, height, width) of images in [0, 1], or (features,) of vectors.
        config: sizes and choices.
        encoder: instead of the configured one, any module from inputs to `(batch, 2 * latent_dim)`.
        decoder: instead of the configured one, any module from `(batch, latent_dim)` to inputs' shape.

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
        self.input_shape = tuple(input_shape)
        self.config = config or ModelConfig()
        self.block_slices = block_slices(space, self.config)
        if not self.config.latent_dim:
            self.config = replace(self.config, latent_dim=self.block_slices[-1].stop + STYLE_DIMENSIONS)
        self.style = slice(self.block_slices[-1].stop, self.config.latent_dim)
        owner = torch.full((self.config.latent_dim,), len(space))
        for column, block in enumerate(self.block_slices):
            owner[block] = column
        self.register_buffer("owner", owner, persistent=False)
        self.encoder = encoder if encoder is not None else build_encoder(self.config, self.input_shape)
        self.decoder = decoder if decoder is not None else build_decoder(self.config, self.input_shape)
        image = len(self.input_shape) == 3
        scale = self.config.scale or (1.0 if self.config.likelihood == "bernoulli" or not image else IMAGE_SCALE)
        self.likelihood_of = build_likelihood(self.config.likelihood, image, scale, self.config.learn_scale)
        self.calibration: Calibration | None = None
        self.blocks = nn.ModuleList(build_blocks(space, self.block_slices))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def for_data(cls, data: Data, encoder: Encoder | None = None, decoder: Decoder | None = None, **settings: Any) -> Self:
        """A model for the inputs and labels of a data set.

        Args:
            data: what to model.
            encoder: see the class.
            decoder: see the class.
            settings: fields of `ModelConfig`.
        """
        return cls(data.space, data.input_shape, replace(ModelConfig(), **settings), encoder, decoder)

    # ------------------------------------------------------------------ the distributions

    def posterior(self, x: Tensor) -> Normal:
        """q(z|x) of inputs `(batch, *input_shape)`: Normal over `(batch, latent_dim)`."""
        mu, raw_sigma = full(self.encoder(x)).chunk(2, -1)
        return Normal(mu, softplus(raw_sigma).clamp_min(SMALLEST_SCALE), validate_args=False)

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z|y) of labels `(batch, labels)`, none missing: Normal over `(batch, latent_dim)`, standard in the style."""
        loc, scale = y.new_zeros(len(y), self.config.latent_dim), y.new_ones(len(y), self.config.latent_dim)
        for block in self.label_blocks():
            prior = block.conditional_prior(y[:, block.columns])
            loc[:, block.latents], scale[:, block.latents] = prior.loc, prior.scale
        return Normal(loc, scale, validate_args=False)

    def classifier(self, z: Tensor) -> dict[str, Distribution]:
        """q(y_i|z_i) of latents `(batch, latent_dim)`: by label name, distributions over `(batch,)`."""
        maps = {
            column: map_
            for block in self.label_blocks()
            for column, map_ in block.by_column(block.classifier(z[:, block.latents]))
        }
        return {name: maps[column] for column, name in enumerate(self.space.names)}

    def label_prior(self) -> dict[str, Distribution]:
        """p(y_i), by label name."""
        priors = {column: prior for block in self.label_blocks() for column, prior in block.by_column(block.label_prior())}
        return {name: priors[column] for column, name in enumerate(self.space.names)}

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """Log p(x|z) of inputs and latents: `(batch,)` nats."""
        return self.likelihood_of.log_prob(full(self.decoder(z)), x)

    def label_blocks(self) -> Iterator[LabelBlocks]:
        """The label blocks, one module for each kind and size."""
        return iter(self.blocks)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ from and to users' arrays

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def rows_at_once(self) -> int:
        """Rows that are encoded or decoded together outside training."""
        return ROWS_AT_ONCE if self.device.type == "cpu" else ROWS_ON_ACCELERATOR

    def inputs(self, images: Any) -> Tensor:
        """Inputs as the model takes them: float `(rows, *input_shape)`, on its device.

        Args:
            images: a tensor or array, one input or several; floats as the model takes them, or uint8 images from 0 to 255 with
                channels first or last.

        Raises:
            ValueError: the shape is not the model's, or images leave [0, 1].
        """
        given = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))  # read-only or reversed ones too
        found = tuple(given.shape)
        dimensions = len(self.input_shape)
        if given.ndim == dimensions:
            given = given[None]
        if dimensions == 3 and given.ndim == 4 and given.shape[1:] != self.input_shape:
            given = given.permute(0, 3, 1, 2)
        if given.shape[1:] != self.input_shape:
            raise ValueError(f"inputs: the model takes (rows, {', '.join(map(str, self.input_shape))}), found {found}")
        if given.dtype == torch.uint8 and dimensions == 3:
            given = given.float() / 255
        x = given.to(self.device, next(self.parameters()).dtype)
        if dimensions == 3 and len(x) and not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(f"inputs: images must lie in [0, 1] (or be uint8), found {x.min():.3g} to {x.max():.3g}")
        return x

    def encode(self, images: Any) -> Normal:
        """q(z|x) of images (see `inputs`), in evaluation mode, without gradients, a few rows at a time."""
        x = self.inputs(images)
        with evaluating(self), torch.no_grad():
            parts = [self.posterior(chunk) for chunk in x.split(self.rows_at_once)]
        loc, scale = (torch.cat([getattr(part, name) for part in parts]) for name in ("loc", "scale"))
        return Normal(loc, scale, validate_args=False)

    def decode(self, z: Tensor) -> Tensor:
        """Expected inputs `(rows, *input_shape)` of latents `(rows, latent_dim)`, in evaluation mode, without gradients."""
        with evaluating(self), torch.no_grad():
            return torch.cat([self.likelihood_of.mean(full(self.decoder(chunk))) for chunk in z.split(self.rows_at_once)])

    def predict_proba(self, images: Any, calibrated: bool = True) -> pd.DataFrame:
        """Label probabilities: a column "label=value" for each value, or "label" and "label.std" for a continuous label.

        Args:
            images: see `inputs`.
            calibrated: apply the temperatures that training fitted on held-out labelled rows (see `ccvae.model.calibration`).
                False gives the exact q(y|x) of the bound; so does True if nothing was held out.
        """
        exact = self.proba_of(self.encode(images))
        if not calibrated or self.calibration is None:
            return exact
        return tempered(exact, self.calibration.temperatures, self.space)

    @torch.no_grad()
    def proba_of(self, posterior: Normal) -> pd.DataFrame:
        """q(y|x) of posteriors `(rows, latent_dim)`, exact, in the columns of `predict_proba`."""
        columns: dict[int, np.ndarray] = {}
        for block in self.label_blocks():
            chunks = zip(posterior.loc.split(self.rows_at_once), posterior.scale.split(self.rows_at_once), strict=True)
            parts = [block.predict(mu[:, block.latents], sigma[:, block.latents]) for mu, sigma in chunks]
            predicted = torch.cat(parts).cpu().numpy()
            columns |= {column: predicted[:, position] for position, column in enumerate(block.columns.tolist())}
        table = {}
        for column, label in enumerate(self.space):
            for position, title in enumerate(label.output_columns):
                table[title] = columns[column][:, position]
        return pd.DataFrame(table)

    def predict(self, images: Any, threshold: Threshold | float = "half", calibrated: bool = True) -> pd.DataFrame:
        """The value of every label, or a continuous label's mean: one column a label.

        Args:
            images: see `inputs`.
            threshold: where probabilities become decisions: "half" takes the most probable value, "prior" and "balanced" suit
                balanced accuracy, a number is the probability from which a binary label counts as present. See
                `ccvae.model.calibration.decide`.
            calibrated: see `predict_proba`.
        """
        return decide(self.predict_proba(images, calibrated), self.space, threshold, self.calibration)


def full(output: Tensor) -> Tensor:
    """A network's output in single precision at least: in mixed precision only networks compute with less."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within, and what was before after, in every part."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
