"""Convolutional networks of images: strided 3×3 convolutions, plain ("conv") or with residual layers ("resnet")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ccvae.model.networks.stages import COARSEST_SIDE, channels_of, convolution, doubling, map_sizes, stages_to

__all__ = ["conv_encoder", "conv_networks"]

FEATURES = 256
"""Units of the linear layer between maps and latents."""


class Residual(nn.Module):
    """A residual layer: relu(x + f(x)), where f is two normalised convolutions (He et al. 2016)."""

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
        """Add f(x), and rectify."""
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
