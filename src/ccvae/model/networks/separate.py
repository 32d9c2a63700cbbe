"""An encoder whose labels' blocks and style have networks of their own."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

__all__ = ["Part", "SeparateEncoder"]

Part = Literal["all", "labels", "style"]
"""Which part of the latent vector to encode."""


class SeparateEncoder(nn.Module):
    """Two networks side by side: one for the labels' blocks, one for the style.

    What tells labels apart and what tells inputs apart are different features. With one network for both, gradients of
    classification cost sharpness. And each part can be had without the other.

    Args:
        labels: from inputs to means, then unconstrained scales, of all blocks: `(batch, 2 * blocks)`.
        style: from inputs to those of the style, `(batch, 2 * style)`; None if there is no style.
    """

    def __init__(self, labels: nn.Module, style: nn.Module | None) -> None:
        super().__init__()
        self.labels = labels
        self.style = style

    def forward(self, x: Tensor, part: Part = "all") -> Tensor:
        """Means, then unconstrained scales.

        Args:
            x: inputs `(batch, *shape)`.
            part: "all" for the whole latent vector, "labels" for the labels' blocks alone, "style" for the style alone.
        """
        if part == "style":
            return cast(Tensor, self.style(x)) if self.style is not None else x.new_zeros(len(x), 0)
        blocks: Tensor = self.labels(x)
        if part == "labels" or self.style is None:
            return blocks
        pairs = [output.chunk(2, -1) for output in (blocks, self.style(x))]
        return torch.cat([means for means, _ in pairs] + [scales for _, scales in pairs], -1)
