"""Stages of strided convolutions: how many, the sizes of their maps, and their layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from ccvae.model.networks.layers import DoublingConvTranspose2d

__all__ = ["COARSEST_SIDE", "channels_of", "convolution", "doubling", "map_sizes", "stages_to"]

COARSEST_SIDE = 4
"""About how many cells the smallest maps have along their shorter side."""


def stages_to(side: int, sides: Sequence[int]) -> int:
    """Number of halvings, at least one, after which the shorter side is about as given."""
    return max(1, round(math.log2(min(sides) / side)))


def channels_of(inputs: int, width: int, stages: int) -> list[int]:
    """Channels of the input and after each stage: `width`, doubled twice."""
    return [inputs] + [width * 2 ** min(stage, 2) for stage in range(stages)]


def map_sizes(sides: Sequence[int], stages: int) -> list[tuple[int, int]]:
    """Height and width of the input and after each stage."""
    sizes = [(sides[0], sides[1])]
    for _ in range(stages):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """A 3×3 convolution, normalised and rectified."""
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def doubling(inputs: int, outputs: int, size: Sequence[int], bias: bool) -> nn.Module:
    """A transposed convolution of stride 2 to maps of a size: a kernel of 4 doubles a side, one of 3 doubles it less one."""
    kernel = (4 - size[0] % 2, 4 - size[1] % 2)
    if kernel == (4, 4):
        return DoublingConvTranspose2d(inputs, outputs, bias=bias)
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, bias=bias)
