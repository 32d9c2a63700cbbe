"""The latent variable model of CCVAE: a VAE whose latent vector has one block for each label (Joy et al., ICLR 2021).

The five distributions of the model, and predictions from them; no files and no loops:

    q(z|x)      posterior              p(z_c|y)   conditional_prior
    q(y|z_c)    classifier             p(y)       label_prior
    p(x|z)      log_likelihood
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import softplus

from ccvae.config import ModelConfig, check_input_shape
from ccvae.distributions.likelihoods import build_likelihood
from ccvae.distributions.positive import SMALLEST_SCALE
from ccvae.labels import LabelSpace
from ccvae.model.calibration import Calibration, Threshold, decide, tempered
from ccvae.model.defaults import resolved
from ccvae.model.inference import GrowingRows, evaluating, full
from ccvae.model.inputs.arrays import as_floats
from ccvae.model.inputs.format import InputFormat
from ccvae.model.inputs.reading import Inputs, open_inputs
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.layout import block_slices, build_blocks
from ccvae.model.networks.attention import LabelAttention
from ccvae.model.networks.build import Decoder, Encoder, build_decoder, build_encoder
from ccvae.model.networks.separate import Part, SeparateEncoder
from ccvae.model.neutralising import changed_region

__all__ = ["LatentModel", "reading_once", "tensors_only"]

STYLE_DIMENSIONS = 32
"""Dimensions of the style if `latent_dim` is not configured."""
IMAGE_SCALE = 0.1
"""Scale of the likelihood for images, whose values are in [0, 1], if it is not configured."""
ROWS_AT_ONCE = 64
"""Rows encoded or decoded together outside training. Small chunks are fastest, since they stay in the CPU cache."""
ROWS_ON_ACCELERATOR = 2048
"""The same on a GPU, where each chunk pays for launching about a hundred kernels."""
ALL_ROWS = 1 << 62
"""More rows than there are."""


class Data(Protocol):
    """What a model needs to know about data: the shape of an input, and the labels with their priors."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) or (features,)."""
        ...

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        ...


class LatentModel(nn.Module):
    """The distributions of a characteristic-capturing VAE (Joy et al., ICLR 2021), and predictions from them.

    The latent vector is z = (z_c, z_s): one block z_i for each label, in the labels' order, then the style z_s. The decoder
    never sees a label, so z_i must contain *how* label i shows, and not only whether it does.

    Attributes: `block_slices` has the slice of each label's block, `style` that of the style. `owner` `(latent_dim,)` has the
    column of the label to whose block each latent belongs; in the style, the number of labels. `run_folder` is the folder that
    the model was trained into or loaded from, if there is one. Training sets `rows_read_once` (see `reading_once`) and
    `shown_instead` (see `ccvae.training.intervention_losses.absent_redrawn`) for the time of a step.

    Args:
        space: the labels, with their priors.
        input_shape: (channels, height, width) of images in [0, 1], or (features,) of vectors.
        config: sizes and choices.
        encoder: any module from inputs to `(batch, 2 * latent_dim)`, instead of the configured one.
        decoder: any module from `(batch, latent_dim)` to the shape of inputs, instead of the configured one.

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
        self.calibration: Calibration | None = None
        self.input_format = InputFormat()
        self.run_folder: Path | None = None
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

    @classmethod
    def for_data(cls, data: Data, encoder: Encoder | None = None, decoder: Decoder | None = None, **settings: Any) -> Self:
        """A model for the inputs and labels of a data set.

        Args:
            data: gives the shape of inputs, and the labels with their priors.
            encoder: see the class.
            decoder: see the class.
            settings: fields of `ModelConfig`.
        """
        model = cls(data.space, data.input_shape, replace(ModelConfig(), **settings), encoder, decoder)
        model.input_format = getattr(data, "input_format", model.input_format)
        return model

    # ------------------------------------------------------------------ the distributions

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

    # ------------------------------------------------------------------ from and to users' arrays

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def rows_at_once(self) -> int:
        """Number of rows encoded or decoded together outside training."""
        return ROWS_AT_ONCE if self.device.type == "cpu" else ROWS_ON_ACCELERATOR

    def inputs(self, images: Any) -> Tensor:
        """Convert one or more inputs to the float tensor `(rows, *input_shape)` that the model takes, on its device.

        Args:
            images: a tensor or array, one input or several: floats as the model takes them, or uint8 images from 0 to 255 with
                channels first or last. A table of raw rows, if the model was trained on one: its columns in any order. Paths of
                image files and folders, or PIL images, of any size: they are framed as in training. A data set of
                `ccvae.data`, or a torch data set or data loader, whose items may be tuples that begin with an input.

        Raises:
            ValueError: the shape is not the model's, images leave [0, 1], or cells of a table or image files cannot be read.
            FileNotFoundError: there is no such file or folder.
        """
        parts = [self.prepared(rows) for rows in self.opened(images).batches(ALL_ROWS)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def opened(self, images: Any, skip_broken: bool = False) -> Inputs:
        """Inputs (see `inputs`) to be read a few rows at a time, with their ids (see `ccvae.model.inputs.reading`)."""
        return images if isinstance(images, Inputs) else open_inputs(images, self.input_shape, self.input_format, skip_broken)

    def prepared(self, rows: Tensor) -> Tensor:
        """Rows `(rows, *input_shape)` as floats on the model's device; raises `ValueError` if images leave [0, 1]."""
        image = len(self.input_shape) == 3
        rows = as_floats(rows, self.input_shape) if image else rows
        x = rows.to(self.device, next(self.parameters()).dtype)
        if image and len(x) and not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"inputs: images must lie in [0, 1], or be whole numbers from 0 to 255, found {x.min():.3g} to {x.max():.3g}"
            )
        return x

    def encode(self, images: Any) -> Normal:
        """q(z|x) of images (see `inputs`), in evaluation mode, without gradients, a few rows at a time."""
        return self.in_chunks(self.posterior, images)

    def in_chunks(self, read: Callable[[Tensor], Normal], images: Any) -> Normal:
        """What is read from images (see `inputs`), in evaluation mode, without gradients, a few rows at a time."""
        with evaluating(self), torch.no_grad():
            loc, scale = GrowingRows(), GrowingRows()
            for rows in self.opened(images).batches(self.rows_at_once):
                part = read(self.prepared(rows))
                loc.add(part.loc)
                scale.add(part.scale)
        return Normal(loc.rows, scale.rows, validate_args=False)

    def attention(self, images: Any) -> Tensor:
        """Where in images (see `inputs`) each label is looked for, whether it is present or not.

        Returns:
            Maps `(rows, labels, height, width)`, each with sum 1: the mean over a label's attention heads.

        Raises:
            ValueError: the encoder has no attention, as only the network "attentive" has for images.

        >>> maps = model.attention(images)  # doctest: +SKIP
        >>> maps[0, model.space.index("Eyeglasses")].max()  # doctest: +SKIP
        """
        if not self.attends:
            raise ValueError(
                f"attention: network {self.config.network!r} has none for inputs of shape {self.input_shape}; "
                "train a model of images with network attentive"
            )
        x, labels = self.inputs(images), cast(LabelAttention, cast(SeparateEncoder, self.encoder).labels)
        with evaluating(self), torch.no_grad():
            return torch.cat([labels.maps(chunk) for chunk in x.split(self.rows_at_once)])

    @property
    def attends(self) -> bool:
        """Whether the encoder attends to labels: see `attention`."""
        return isinstance(self.encoder, SeparateEncoder) and isinstance(self.encoder.labels, LabelAttention)

    def decode(self, z: Tensor) -> Tensor:
        """Expected inputs `(rows, *input_shape)` of latents `(rows, latent_dim)`, in evaluation mode, without gradients."""
        with evaluating(self), torch.no_grad():
            return torch.cat([self.likelihood_of.mean(full(self.decoder(chunk))) for chunk in z.split(self.rows_at_once)])

    def predict_proba(self, images: Any, calibrated: bool = True) -> pd.DataFrame:
        """Label probabilities: a column "label=value" for each value, or "label" and "label.std" for a continuous label.

        Args:
            images: see `inputs`. Rows are named by the index of a table, the ids of a data set, or the paths of files.
            calibrated: apply the temperatures that training fitted on held-out labelled rows (see `ccvae.model.calibration`).
                False gives the exact q(y|x) of the bound; so does True if nothing was held out.
        """
        opened = self.opened(images)
        exact = self.proba_of(self.in_chunks(lambda x: self.read(x, "labels"), opened))
        if opened.read_ids is not None:
            exact.index = opened.read_ids
        if not calibrated or self.calibration is None:
            return exact
        return tempered(exact, self.calibration.temperatures, self.space)

    @torch.no_grad()
    def proba_of(self, posterior: Normal) -> pd.DataFrame:
        """q(y|x) from posteriors, of which only the labels' blocks are needed, in the columns of `predict_proba`."""
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


def over_latents(model: LatentModel, y: Tensor, prior_of: Callable[[LabelBlocks], Normal]) -> Normal:
    """Normal over `(batch, latent_dim)` from that of each module of label blocks; standard in the style."""
    loc, scale = y.new_zeros(len(y), model.config.latent_dim), y.new_ones(len(y), model.config.latent_dim)
    for block in model.label_blocks():
        prior = prior_of(block)
        loc[:, block.latents], scale[:, block.latents] = prior.loc, prior.scale
    return Normal(loc, scale, validate_args=False)


@contextmanager
def reading_once(model: LatentModel, rows: Tensor) -> Iterator[None]:
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


@contextmanager
def tensors_only(model: nn.Module) -> Iterator[None]:
    """Within, a model that was trained on a table gives tensors, not tables in own units."""
    before = getattr(model, "input_format", None)
    if isinstance(model, LatentModel):
        model.input_format = InputFormat()
    try:
        yield
    finally:
        if isinstance(model, LatentModel) and before is not None:
            model.input_format = before
