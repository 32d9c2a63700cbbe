"""The networks of the paper (Joy et al. 2021, appendix C, after Higgins et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from ccvae.model.networks.layers import CoveringConv2d, DoublingConvTranspose2d, SpreadingConvTranspose2d
from ccvae.model.networks.stages import COARSEST_SIDE, stages_to

__all__ = ["paper_networks"]

FEATURES = 256
WIDTHS = (32, 32, 64, 128)
"""Channels of the convolutions, from the image on."""


def paper_networks(shape: Sequence[int], latent: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """4×4 convolutions of stride 2, four of them for images of 64×64, and the mirrored decoder.

    Raises:
        ValueError: the sides cannot be halved as often as needed.
    """
    channels, height, width = shape
    stages = stages_to(COARSEST_SIDE, shape[1:])
    if height % 2**stages or width % 2**stages:
        raise ValueError(f"network 'paper' needs sides divisible by {2**stages}, not {height}×{width}; choose conv")
    widths = [channels, *WIDTHS[-min(stages, 4) :]] if stages <= 4 else [channels, *[32] * (stages - 4), *WIDTHS]
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
