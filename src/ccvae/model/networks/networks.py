"""Encoders and decoders, built from the shape of the data.

An encoder is any module from inputs `(batch, *shape)` to `(batch, 2 * latent_dim)`: means, then scales before softplus. A
decoder is any module from `(batch, latent_dim)` to `(batch, *shape)`, before the likelihood's sigmoid. Ours rectify in place,
which saves memory and the time to get it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ccvae.config import ModelConfig
from ccvae.model.networks.attention import LabelAttention
from ccvae.model.networks.layers import CoveringConv2d, DoublingConvTranspose2d, SpreadingConvTranspose2d
from ccvae.model.networks.painting import PaintingDecoder
from ccvae.model.networks.separate import SeparateEncoder
from ccvae.model.networks.stages import channels_of, convolution, doubling, map_sizes, stages_to

__all__ = ["Decoder", "Encoder", "build_decoder", "build_encoder"]

SMALLEST_SIDE, LARGEST_SIDE = 16, 256
COARSEST_SIDE = 4
FEATURES = 256
HIDDEN_UNITS_A_WIDTH = 8
PAPER_WIDTHS = (32, 32, 64, 128)


class Encoder(Protocol):
    """What encodes: inputs `(batch, *shape)` to means and unconstrained scales, `(batch, 2 * latent_dim)`."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Encode."""
        ...


class Decoder(Protocol):
    """What decodes: latents `(batch, latent_dim)` to the data's location before the sigmoid, `(batch, *shape)`."""

    def __call__(self, z: Tensor, /) -> Tensor:
        """Decode."""
        ...


def build_encoder(config: ModelConfig, shape: Sequence[int], sizes: Sequence[int] = ()) -> nn.Module:
    """Encoder of a configuration.

    Args:
        config: the configuration, with a `latent_dim`.
        shape: of one input.
        sizes: dimensions of each label's block, which come first in the latent vector; needed by networks in which labels have
            parts of their own.

    Raises:
        ValueError: the shape is neither (channels, height, width) with sides from 16 to 256 nor (features,), or the network
            cannot take it.
    """
    if config.encoder is not None:
        return class_at(config.encoder)(tuple(shape), 2 * config.latent_dim)
    return build_networks(config, tuple(shape), sizes)[0]


def build_decoder(config: ModelConfig, shape: Sequence[int], sizes: Sequence[int] = ()) -> nn.Module:
    """Decoder of a configuration; arguments and errors as `build_encoder`'s."""
    if config.decoder is not None:
        return class_at(config.decoder)(config.latent_dim, tuple(shape))
    return build_networks(config, tuple(shape), sizes)[1]


def build_networks(config: ModelConfig, shape: tuple[int, ...], sizes: Sequence[int] = ()) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of one of our own networks."""
    image = len(shape) == 3
    if len(shape) not in (1, 3):
        raise ValueError(f"inputs must be (channels, height, width) or (features,), not {shape}")
    if image and not SMALLEST_SIDE <= min(shape[1:]) <= max(shape[1:]) <= LARGEST_SIDE:
        raise ValueError(
            f"images must have sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, not {shape[1]}×{shape[2]}; resize them"
        )
    network = config.network if config.network != "auto" else "conv" if image else "mlp"
    if not image and network not in ("attentive", "mlp"):
        raise ValueError(f"network {network!r} is for images; for vectors of {shape[0]} features choose attentive or mlp")
    latent, width, dropout = config.latent_dim, config.width, config.dropout
    if network == "attentive":
        if not sizes:
            raise ValueError("network 'attentive' has parts for each label: give the sizes of their blocks")
        networks = attentive_image_networks if image else separate_vector_networks
        return networks(shape, latent, sizes, width, dropout)
    if network == "paper":
        return paper_networks(shape, latent, dropout)
    if network == "mlp":
        return mlp_networks(shape, latent, HIDDEN_UNITS_A_WIDTH * width, dropout)
    return conv_networks(shape, latent, width, dropout, residual=network == "resnet")


def class_at(path: str) -> type[nn.Module]:
    """Class of a path "package.module:Class".

    This imports the module, which runs its code: only for paths that the caller chose, never for those that a file names.

    Raises:
        ValueError: there is no such class, or it is not a subclass of `nn.Module`; nothing of it is called then.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'no network {path!r}: {error}; write "package.module:Class", importable from here') from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"network {path!r}: expected a subclass of torch.nn.Module, found {found!r}")
    return found


class Residual(nn.Module):
    """x + f(x), f two normalised convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what is learned."""
        return torch.relu(x + self.change(x))


def conv_networks(
    shape: Sequence[int], latent: int, width: int, dropout: float, residual: bool = False
) -> tuple[nn.Module, nn.Module]:
    """Strided 3×3 convolutions with batch normalisation down to a map of about 4×4, which is flattened; and its mirror."""
    encoder = conv_encoder(shape, 2 * latent, width, dropout, residual)
    stages = stages_to(COARSEST_SIDE, shape[1:])
    widths, sizes = channels_of(shape[0], width, stages), map_sizes(shape[1:], stages)
    up: list[nn.Module] = []
    for stage in reversed(range(stages)):
        up += [Residual(widths[stage + 1])] if residual else []
        up += [doubling(widths[stage + 1], widths[stage], sizes[stage], bias=stage == 0)]
        up += [nn.BatchNorm2d(widths[stage]), nn.ReLU(inplace=True)] if stage else []
    coarse = widths[-1] * math.prod(sizes[-1])
    decoder = nn.Sequential(
        nn.Linear(latent, FEATURES, bias=False),
        nn.BatchNorm1d(FEATURES),
        nn.ReLU(inplace=True),
        nn.Linear(FEATURES, coarse, bias=False),
        nn.BatchNorm1d(coarse),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (widths[-1], *sizes[-1])),
        *up,
    )
    return encoder, decoder


def conv_encoder(shape: Sequence[int], outputs: int, width: int, dropout: float, residual: bool = False) -> nn.Module:
    """Strided 3×3 convolutions with batch normalisation down to a map of about 4×4, and two linear layers."""
    stages = stages_to(COARSEST_SIDE, shape[1:])
    widths = channels_of(shape[0], width, stages)
    down: list[nn.Module] = []
    for inputs, channels in pairwise(widths):
        down += convolution(inputs, channels, stride=2)
        down += [Residual(channels)] if residual else []
    return nn.Sequential(
        *down,
        nn.Flatten(),
        nn.Linear(widths[-1] * math.prod(map_sizes(shape[1:], stages)[-1]), FEATURES, bias=False),
        nn.BatchNorm1d(FEATURES),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(FEATURES, outputs),
    )


def attentive_image_networks(
    shape: Sequence[int], latent: int, sizes: Sequence[int], width: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """Labels that look for themselves, with a convolutional encoder of the style beside them; and labels that paint."""
    style = latent - sum(sizes)
    labels = LabelAttention(shape, sizes, width, dropout)
    encoder = SeparateEncoder(labels, conv_encoder(shape, 2 * style, width, 0.0) if style else None)
    return encoder, PaintingDecoder(shape, sizes, style, width, stages_to(COARSEST_SIDE, shape[1:]))


def separate_vector_networks(
    shape: Sequence[int], latent: int, sizes: Sequence[int], width: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """One multilayer perceptron for the labels and one for the style; the decoder is that of "mlp"."""
    hidden, style = HIDDEN_UNITS_A_WIDTH * width, latent - sum(sizes)
    labels = mlp_encoder(shape, 2 * sum(sizes), hidden, dropout)
    encoder = SeparateEncoder(labels, mlp_encoder(shape, 2 * style, hidden, 0.0) if style else None)
    return encoder, mlp_networks(shape, latent, hidden, 0.0)[1]


def paper_networks(shape: Sequence[int], latent: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """The paper's 4×4 convolutions of stride 2 (Joy et al., appendix, after Higgins et al. 2017), four at 64×64."""
    channels, height, width = shape
    stages = max(1, round(math.log2(min(height, width) / COARSEST_SIDE)))
    if height % 2**stages or width % 2**stages:
        raise ValueError(f"network 'paper' needs sides divisible by {2**stages}, not {height}×{width}; choose conv")
    widths = [channels, *PAPER_WIDTHS[-min(stages, 4) :]] if stages <= 4 else [channels, *[32] * (stages - 4), *PAPER_WIDTHS]
    coarse = (height >> stages, width >> stages)
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for fine, deep in pairwise(widths):
        down += [nn.Conv2d(fine, deep, 4, 2, 1), nn.ReLU(inplace=True)]
        up = [nn.ReLU(inplace=True), DoublingConvTranspose2d(deep, fine), *up]
    encoder = nn.Sequential(
        *down,
        CoveringConv2d(widths[-1], FEATURES, coarse),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(FEATURES, 2 * latent),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, FEATURES),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (FEATURES, 1, 1)),
        SpreadingConvTranspose2d(FEATURES, widths[-1], coarse),
        *up,
    )
    return encoder, decoder


def mlp_networks(shape: Sequence[int], latent: int, hidden: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """Two hidden layers with batch normalisation each way."""
    encoder = mlp_encoder(shape, 2 * latent, hidden, dropout)
    decoder = [*mlp_layers(latent, hidden), nn.Linear(hidden, math.prod(shape)), nn.Unflatten(1, tuple(shape))]
    return encoder, nn.Sequential(*decoder)


def mlp_encoder(shape: Sequence[int], outputs: int, hidden: int, dropout: float) -> nn.Module:
    """Two hidden layers with batch normalisation, and dropout before the outputs."""
    layers = mlp_layers(math.prod(shape), hidden)
    return nn.Sequential(nn.Flatten(), *layers, nn.Dropout(dropout), nn.Linear(hidden, outputs))


def mlp_layers(inputs: int, hidden: int) -> list[nn.Module]:
    """Two hidden layers."""
    return [
        *[nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
        *[nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
    ]
