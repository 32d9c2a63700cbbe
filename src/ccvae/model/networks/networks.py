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
from typing import Protocol

import torch
from torch import Tensor, nn

from ccvae.config import ModelConfig
from ccvae.model.networks.layers import CoveringConv2d, DoublingConvTranspose2d, SpreadingConvTranspose2d

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


def build_encoder(config: ModelConfig, shape: Sequence[int]) -> nn.Module:
    """Encoder of a configuration, for inputs of a shape.

    Raises:
        ValueError: the shape is neither (channels, height, width) with sides from 16 to 256 nor (features,), or the network
            cannot take it.
    """
    if config.encoder is not None:
        return custom(config.encoder)(tuple(shape), 2 * config.latent_dim)
    return build_networks(config, tuple(shape))[0]


def build_decoder(config: ModelConfig, shape: Sequence[int]) -> nn.Module:
    """Decoder of a configuration, for inputs of a shape; errors as `build_encoder`'s."""
    if config.decoder is not None:
        return custom(config.decoder)(config.latent_dim, tuple(shape))
    return build_networks(config, tuple(shape))[1]


def build_networks(config: ModelConfig, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of one of our own networks."""
    image = len(shape) == 3
    if len(shape) not in (1, 3):
        raise ValueError(f"inputs must be (channels, height, width) or (features,), not {shape}")
    if image and not SMALLEST_SIDE <= min(shape[1:]) <= max(shape[1:]) <= LARGEST_SIDE:
        raise ValueError(
            f"images must have sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, not {shape[1]}×{shape[2]}; resize them"
        )
    network = config.network if config.network != "auto" else "conv" if image else "mlp"
    if not image and network != "mlp":
        raise ValueError(f"network {network!r} is for images; for vectors of {shape[0]} features choose mlp")
    latent, width, dropout = config.latent_dim, config.width, config.dropout
    if network == "paper":
        return paper_networks(shape, latent, dropout)
    if network == "mlp":
        return mlp_networks(shape, latent, HIDDEN_UNITS_A_WIDTH * width, dropout)
    return conv_networks(shape, latent, width, dropout, residual=network == "resnet")


def custom(path: str) -> type[nn.Module]:
    """Class of a path "package.module:Class"."""
    module_name, _, class_name = path.partition(":")
    try:
        found: type[nn.Module] = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f'no network {path!r}: {error}; write "package.module:Class", importable from here') from None
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
    channels, height, width_of_image = shape
    stages = max(1, round(math.log2(min(height, width_of_image) / COARSEST_SIDE)))
    widths = [channels] + [width * 2 ** min(stage, 2) for stage in range(stages)]
    sizes = [(height, width_of_image)]
    for _ in range(stages):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    coarse = widths[-1] * sizes[-1][0] * sizes[-1][1]

    down: list[nn.Module] = []
    for stage in range(stages):
        down += [
            nn.Conv2d(widths[stage], widths[stage + 1], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[stage + 1]),
            nn.ReLU(inplace=True),
        ]
        down += [Residual(widths[stage + 1])] if residual else []
    encoder = nn.Sequential(
        *down,
        nn.Flatten(),
        nn.Linear(coarse, FEATURES, bias=False),
        nn.BatchNorm1d(FEATURES),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(FEATURES, 2 * latent),
    )
    up: list[nn.Module] = []
    for stage in reversed(range(stages)):
        up += [Residual(widths[stage + 1])] if residual else []
        kernel = (4 - sizes[stage][0] % 2, 4 - sizes[stage][1] % 2)  # 4 doubles a side, 3 doubles it less one
        last = stage == 0
        outputs = channels if last else widths[stage]
        if kernel == (4, 4):
            up += [DoublingConvTranspose2d(widths[stage + 1], outputs, bias=last)]
        else:
            up += [nn.ConvTranspose2d(widths[stage + 1], outputs, kernel, 2, 1, bias=last)]
        up += [] if last else [nn.BatchNorm2d(widths[stage]), nn.ReLU(inplace=True)]
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
    size = math.prod(shape)

    def layers(first: int) -> list[nn.Module]:
        return [
            *[nn.Linear(first, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
            *[nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
        ]

    encoder = nn.Sequential(nn.Flatten(), *layers(size), nn.Dropout(dropout), nn.Linear(hidden, 2 * latent))
    decoder = nn.Sequential(*layers(latent), nn.Linear(hidden, size), nn.Unflatten(1, tuple(shape)))
    return encoder, decoder
