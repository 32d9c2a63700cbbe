"""A decoder in which every label paints maps of its own, over a base that the style paints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ccvae.model.networks.stages import channels_of, convolution, doubling, map_sizes

__all__ = ["PaintingDecoder"]

POSE = 8
"""Features of the style that every label's painter knows: where, and how, to paint."""
LABEL_CHANNELS, MOST_CHANNELS_A_LABEL = 96, 16
"""Channels of all labels' maps together, and of one label's at most."""
HIDDEN = 64
"""Hidden units of a label's painter."""
BASE_FEATURES = 256


class PaintingDecoder(nn.Module):
    """Images from a latent vector: maps of about 8×8 that labels and style paint apart, mixed by convolutions and enlarged.

    Each label's painter is a small network from its block, and a few features of the style, to its own maps. The base is
    painted from the style. What a block says is therefore not lost among the others, and moves with the block to another image.

    Args:
        shape: (channels, height, width) of the images.
        sizes: dimensions of each label's block.
        style: dimensions of the style; the base is painted from the whole latent vector if there is none.
        width: channels of the last map before the image.
        stages: how often maps double from the coarsest, at least twice.
    """

    entries: Tensor
    present: Tensor

    def __init__(self, shape: Sequence[int], sizes: Sequence[int], style: int, width: int, stages: int) -> None:
        super().__init__()
        channels, maps = channels_of(shape[0], width, stages), map_sizes(shape[1:], stages)
        self.blocks, self.cells = sum(sizes), maps[-2]
        self.channels = max(1, min(MOST_CHANNELS_A_LABEL, LABEL_CHANNELS // len(sizes)))
        largest, known = max(sizes), style or self.blocks
        # where each label's block lies, with a place that does not count for dimensions that only larger blocks have
        starts = [sum(sizes[:label]) for label in range(len(sizes))]
        entries = [
            [start + min(place, size - 1) for place in range(largest)] for start, size in zip(starts, sizes, strict=True)
        ]
        present = [[float(place < size) for place in range(largest)] for size in sizes]
        self.same_sizes = len(set(sizes)) == 1
        self.register_buffer("entries", torch.tensor(entries), persistent=False)
        self.register_buffer("present", torch.tensor(present), persistent=False)
        self.pose = nn.Linear(known, POSE)
        inputs, cells = largest + POSE, math.prod(self.cells)
        self.hidden_weight = nn.Parameter(torch.randn(len(sizes), inputs, HIDDEN) / math.sqrt(inputs))
        self.hidden_bias = nn.Parameter(torch.zeros(len(sizes), HIDDEN))
        self.map_weight = nn.Parameter(torch.randn(len(sizes), HIDDEN, self.channels * cells) / math.sqrt(HIDDEN))
        painted, base = len(sizes) * self.channels, 3 * width // 2
        self.painted_norm = nn.BatchNorm2d(painted)
        coarse = channels[-1] * math.prod(maps[-1])
        self.base = nn.Sequential(
            *[nn.Linear(known, BASE_FEATURES, bias=False), nn.BatchNorm1d(BASE_FEATURES), nn.ReLU(inplace=True)],
            *[nn.Linear(BASE_FEATURES, coarse, bias=False), nn.BatchNorm1d(coarse), nn.ReLU(inplace=True)],
            nn.Unflatten(1, (channels[-1], *maps[-1])),
            *[doubling(channels[-1], base, self.cells, bias=False), nn.BatchNorm2d(base)],
        )
        mixed = 3 * width
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            *[nn.Conv2d(painted + base, mixed, 1, bias=False), nn.BatchNorm2d(mixed), nn.ReLU(inplace=True)],
            *convolution(mixed, channels[-2], stride=1),
        )
        up: list[nn.Module] = []
        for stage in reversed(range(stages - 1)):
            up += [doubling(channels[stage + 1], channels[stage], maps[stage], bias=stage == 0)]
            up += [nn.BatchNorm2d(channels[stage]), nn.ReLU(inplace=True)] if stage else []
            up += convolution(channels[1], channels[1], stride=1) if stage == 1 else []  # sharper, for a tenth of a step
        self.enlarge = nn.Sequential(*up)

    def forward(self, z: Tensor) -> Tensor:
        """Decode `(batch, latent_dim)`."""
        blocks = (
            z[:, : self.blocks].unflatten(1, (len(self.entries), -1)) if self.same_sizes else z[:, self.entries] * self.present
        )
        style = z[:, self.blocks :] if z.shape[1] > self.blocks else z
        pose = self.pose(style)[:, None].expand(-1, len(self.entries), -1)
        hidden = torch.einsum("bli,lih->blh", torch.cat([blocks, pose.to(blocks.dtype)], -1), self.hidden_weight)
        painted = torch.einsum("blh,lhm->blm", torch.relu(hidden + self.hidden_bias), self.map_weight)
        painted = self.painted_norm(painted.reshape(z.shape[0], -1, *self.cells))
        image: Tensor = self.enlarge(self.mix(torch.cat([painted, self.base(style)], 1)))
        return image
