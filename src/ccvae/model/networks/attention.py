"""Label blocks read by attention: every label looks for itself, and tells where it looked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ccvae.model.networks.stages import channels_of, convolution, map_sizes, stages_to

__all__ = ["LabelAttention"]

ATTENTION_SIDE = 8
"""About how many cells attention maps have along their shorter side."""
HEADS = 3
"""Attention maps of each label, for a label may show in several places."""
FEATURES_A_WIDTH = 3


class LabelAttention(nn.Module):
    """The blocks of all labels, each from what its own attention pools of features that all share.

    Convolutions give features on a map of about 8×8 cells, and each cell's position is added. Every label has three attention
    maps over the cells, by what is there and by which cell it is. The features that they pool, normalised and rectified, give
    the label's block through a linear layer of its own. A block therefore depends on the rest of the image only as far as its
    label looks there.

    Args:
        shape: (channels, height, width) of the images.
        sizes: dimensions of each label's block.
        width: channels of the first convolution.
        dropout: probability with which a pooled feature is dropped in training.
    """

    columns: Tensor

    def __init__(self, shape: Sequence[int], sizes: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.sides = (shape[1], shape[2])
        stages = stages_to(ATTENTION_SIDE, self.sides)
        self.cells = map_sizes(self.sides, stages)[-1]
        channels, features = channels_of(shape[0], width, stages), FEATURES_A_WIDTH * width
        down = [layer for inputs, outputs in pairwise(channels) for layer in convolution(inputs, outputs, stride=2)]
        self.features = nn.Sequential(*down, *convolution(channels[-1], features, stride=1))
        self.position = nn.Parameter(0.1 * torch.randn(1, features, *self.cells))
        # without biases: they would cancel in the softmax and in the normalisation, and Adam would let them drift
        self.where = nn.Conv2d(features, len(sizes) * HEADS, 1, bias=False)
        self.place = nn.Parameter(torch.randn(len(sizes) * HEADS, math.prod(self.cells)))
        self.what = nn.Conv2d(features, features, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        pooled, largest = HEADS * features, max(sizes)
        self.norm = nn.BatchNorm1d(len(sizes) * pooled)
        self.weight = nn.Parameter(torch.randn(len(sizes), pooled, 2 * largest) / math.sqrt(pooled))
        self.bias = nn.Parameter(torch.zeros(len(sizes), 2 * largest))
        # every label has as many outputs as the largest block needs; these are the ones in use, all means before all scales
        used = [
            (2 * label + scale) * largest + dimension
            for scale in (0, 1)
            for label, size in enumerate(sizes)
            for dimension in range(size)
        ]
        self.register_buffer("columns", torch.tensor(used), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Means, then unconstrained scales, of all blocks: `(batch, 2 * blocks)`."""
        seen = self.features(x) + self.position
        values = self.what(seen).flatten(2)
        pooled = self.norm((self.attention(seen).to(values.dtype) @ values.transpose(1, 2)).flatten(1))
        pooled = self.dropout(torch.relu(pooled)).unflatten(1, (len(self.bias), -1))
        read = torch.einsum("bli,lio->blo", pooled, self.weight.to(pooled.dtype)) + self.bias
        return read.flatten(1)[:, self.columns]

    def attention(self, seen: Tensor) -> Tensor:
        """Each head's weights of the cells, `(batch, labels * heads, cells)`, from features with positions; they sum to 1."""
        scores: Tensor = self.where(seen).flatten(2)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) + self.place
        return scores.softmax(-1)

    def maps(self, x: Tensor) -> Tensor:
        """Where each label looks, the mean over its heads at the images' size: `(batch, labels, height, width)`, sums are 1."""
        weights = self.attention(self.features(x) + self.position)
        cells = weights.reshape(len(x), -1, HEADS, *self.cells).mean(2)
        maps = interpolate(cells, self.sides, mode="bilinear", align_corners=False)
        return maps / maps.sum((-2, -1), keepdim=True)
