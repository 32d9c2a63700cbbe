"""What makes a training fit what it runs on: compiled parts, and a word where a precision does not suit the processor."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from ccvae.model import CCVAE

__all__ = ["compiled", "has_bfloat16", "warn_of_slow_precision"]


@contextmanager
def compiled(model: CCVAE, networks: bool = True, backend: str = "inductor") -> Iterator[None]:
    """Within, encoder, decoder and label terms run as compiled by `torch.compile`: a GPU starts few large computations instead
    of hundreds of small ones.

    Each is compiled when it is first met, anew in training and in evaluation, and where batches have another size.

    Args:
        model: the model.
        networks: whether encoder and decoder too, which must not talk to other processes then.
        backend: torch's name of what compiles.
    """
    parts: list[nn.Module] = list(model.label_blocks())
    if networks:
        parts += [cast(nn.Module, model.encoder), cast(nn.Module, model.decoder)]
    for part in parts:
        part.compile(backend=backend)
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16, as any but a processor is taken to have."""
    return device.type != "cpu" or any("bf16" in name and able for name, able in torch.cpu.get_capabilities().items())


def warn_of_slow_precision(precision: str, device: torch.device) -> None:
    """Warn if a processor is asked for bfloat16 for which it has no instructions: torch then computes many times slower.

    Args:
        precision: as Lightning's.
        device: where training runs.
    """
    if "bf16" in precision and not has_bfloat16(device):
        warnings.warn(
            f"precision {precision}: this processor has no instructions for bfloat16, and will take about ten times longer "
            "than with 32-true; leave precision out, or train on a GPU",
            stacklevel=3,
        )
