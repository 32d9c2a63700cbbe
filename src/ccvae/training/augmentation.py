"""Random changes of training images that leave their labels as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ccvae.distributed.shard import Shard

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """What a training image may be changed by. The changed image is both what is encoded and what is to be reconstructed.

    Args:
        flip: mirror every second image, left to right.
        shift: move by up to this many pixels each way; the edge is repeated.
        color: change contrast of each channel by up to this factor, and brightness by up to half of it.
    """

    flip: bool = False
    shift: int = 0
    color: float = 0.0

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0 or self.color > 0

    def __call__(self, x: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None) -> Tensor:
        """Changed images, `(batch, channels, height, width)` in [0, 1]; vectors stay as they are.

        Args:
            x: images.
            generator: source of the random numbers, which are drawn for the whole batch.
            shard: which rows of the batch these are.
        """
        if not self or x.ndim != 4:
            return x
        shard = shard or Shard(len(x))
        uniform = x.new_empty(shard.total, 7).uniform_(generator=generator)[shard.rows]
        if self.flip:
            x = torch.where((uniform[:, 0] < 0.5)[:, None, None, None], x.flip(3), x)
        if self.shift:
            x = shifted(x, ((2 * self.shift + 1) * uniform[:, 1:3]).floor().long() - self.shift)
        if self.color:
            contrast, brightness = 2 * uniform[:, 3:6, None, None] - 1, 2 * uniform[:, 6:, None, None] - 1
            x = (x * (1 + self.color * contrast[:, : x.shape[1]]) + self.color / 2 * brightness).clamp(0, 1)
        return x.contiguous(memory_format=torch.channels_last)


def shifted(x: Tensor, by: Tensor) -> Tensor:
    """Images moved down and right by whole pixels `(batch, 2)`, their edges repeated."""
    rows, columns = (
        (torch.arange(size, device=x.device) - by[:, axis, None]).clamp(0, size - 1) for axis, size in enumerate(x.shape[2:])
    )
    batch = torch.arange(len(x), device=x.device)
    return x.permute(0, 2, 3, 1)[batch[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
