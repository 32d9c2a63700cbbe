"""Where an image changes if its labels are neutralised."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import max_pool2d

__all__ = ["changed_region"]

WHOLE_CHANGE = 0.1
"""Difference of pixels in [0, 1] from which a pixel counts as changed wholly; smaller ones count in proportion."""
SIDES_PER_MARGIN = 16
"""The region reaches this fraction of the image's shorter side beyond the pixels that change."""


def changed_region(before: Tensor, after: Tensor) -> Tensor:
    """How far each pixel belongs to the region that changes, from 0 to 1: `(batch, 1, height, width)`.

    Args:
        before: images `(batch, channels, height, width)` in [0, 1].
        after: the same images changed.

    >>> import torch
    >>> before, after = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    >>> after[0, 0, 10, 10] = 1
    >>> changed_region(before, after)[0, 0].nonzero().aminmax(dim=0)
    torch.return_types.aminmax(
    min=tensor([8, 8]),
    max=tensor([12, 12]))
    """
    difference = (after - before).abs().amax(1, keepdim=True)
    margin = max(1, min(before.shape[-2:]) // SIDES_PER_MARGIN)
    return max_pool2d((difference / WHOLE_CHANGE).clamp(max=1), 2 * margin + 1, 1, margin)
