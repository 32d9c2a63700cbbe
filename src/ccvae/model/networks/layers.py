"""Convolutions of a network's ends in forms that a processor computes faster, exactly as torch's own ones otherwise.

- A convolution whose kernel covers its whole input is a matrix product, and so is its transpose from a single pixel.
- A transposed convolution of 4×4 with stride 2 is a 2×2 convolution that makes four pixels at a time (sub-pixel form): faster
  where its output has few channels, as images do. Its derivatives are plain convolutions, for which there are better kernels.

Parameters and their names are those of the layers they stand for. Elsewhere than on a processor, in mixed precision, in
compiled or exported models, and within `torch_layers`, torch's own layers compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, conv_transpose2d, linear, pixel_shuffle

__all__ = ["CoveringConv2d", "DoublingConvTranspose2d", "SpreadingConvTranspose2d", "torch_layers"]

FEW_CHANNELS = 4
"""Output channels up to which the sub-pixel form is the faster one."""
TAPS = ((2, 0), (3, 1))
"""Which rows of a 4-row kernel make an odd output row, and the even one after it, from two neighbouring input rows."""

only_torch = ContextVar("only_torch", default=False)


@contextmanager
def torch_layers() -> Iterator[None]:
    """Within, torch's own layers compute."""
    before = only_torch.set(True)
    try:
        yield
    finally:
        only_torch.reset(before)


def torch_computes(x: Tensor) -> bool:
    """Whether torch's own layer is to compute."""
    elsewhere = x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return elsewhere or only_torch.get()


class CoveringConv2d(nn.Conv2d):
    """A convolution whose kernel covers its whole input: `(batch, channels, *kernel)` to `(batch, channels, 1, 1)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if torch_computes(x):
            return super().forward(x)
        # channels last, as the model's weights lie: no copy is made
        flat, weight = (tensor.permute(0, 2, 3, 1).flatten(1) for tensor in (x, self.weight))
        return linear(flat, weight, self.bias)[:, :, None, None]


class SpreadingConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of single pixels: `(batch, channels, 1, 1)` to `(batch, channels, *kernel)`."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve."""
        if torch_computes(x):
            return super().forward(x, output_size)
        spread = linear(x.flatten(1), self.weight.permute(2, 3, 1, 0).flatten(0, 2))
        spread = spread.view(-1, *self.kernel_size, self.out_channels)
        return (spread if self.bias is None else spread + self.bias).permute(0, 3, 1, 2)


class DoublingConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of 4×4, stride 2 and padding 1, that doubles both sides."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve."""
        if torch_computes(x):
            return super().forward(x, output_size)
        doubled: Tensor = Doubling.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return doubled


class Doubling(torch.autograd.Function):
    """What `DoublingConvTranspose2d` computes, differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Double `(batch, channels, height, width)`."""
        ctx.save_for_backward(x, weight)
        if weight.shape[1] > FEW_CHANNELS:
            return conv_transpose2d(x, weight, bias, 2, 1)
        return four_at_a_time(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The transpose's derivatives: a convolution, and that convolution's derivative in its weight."""
        x, weight = ctx.saved_tensors
        by_x = conv2d(gradient, weight, None, 2, 1) if ctx.needs_input_grad[0] else None
        by_weight = torch.ops.aten.convolution_backward(
            x, gradient, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [False, ctx.needs_input_grad[1], False]
        )[1]
        return by_x, by_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def four_at_a_time(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The transposed convolution as a 2×2 convolution with four times the channels, put between each other."""
    taps = torch.tensor(TAPS, device=x.device)
    kernel = weight[:, :, taps][..., taps].permute(1, 2, 4, 0, 3, 5).reshape(-1, weight.shape[0], 2, 2)
    fours = conv2d(x, kernel, None if bias is None else bias.repeat_interleave(4), padding=1)
    return pixel_shuffle(fours, 2)[:, :, 1:-1, 1:-1].contiguous(memory_format=torch.channels_last)
