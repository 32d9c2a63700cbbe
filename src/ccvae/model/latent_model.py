"""The latent model: its distributions, and what takes users' images and tables: encoding, decoding, predictions."""

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
from torch.distributions import Normal

from ccvae.config import ModelConfig
from ccvae.labels import LabelSpace
from ccvae.model.calibration import Calibration, Threshold, decide, tempered
from ccvae.model.inference import GrowingRows, evaluating, full
from ccvae.model.inputs.arrays import as_floats
from ccvae.model.inputs.format import InputFormat
from ccvae.model.inputs.reading import Inputs, open_inputs
from ccvae.model.latent_distributions import LatentDistributions
from ccvae.model.networks.attention import LabelAttention
from ccvae.model.networks.build import Decoder, Encoder
from ccvae.model.networks.separate import SeparateEncoder

__all__ = ["LatentModel", "tensors_only"]

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


class LatentModel(LatentDistributions):
    """A characteristic-capturing VAE without actions: its distributions, and predictions for users' images and tables.

    `LatentDistributions` documents the arguments, the latent vector and further attributes.

    Attributes: `input_format` says how rows become inputs, `calibration` has the temperatures that `predict_proba` applies.
    `run_folder` is the folder that the model was trained into or loaded from, if there is one.
    """

    def __init__(
        self,
        space: LabelSpace,
        input_shape: Sequence[int],
        config: ModelConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__(space, input_shape, config, encoder, decoder)
        self.calibration: Calibration | None = None
        self.input_format = InputFormat()
        self.run_folder: Path | None = None

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
