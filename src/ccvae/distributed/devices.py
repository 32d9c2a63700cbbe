"""Which device computes, and whether a precision suits it."""

from __future__ import annotations

import warnings

import torch

__all__ = ["device_named", "has_bfloat16", "warn_of_slow_precision"]


def device_named(name: str, number: int = 0) -> torch.device:
    """A device by torch's name for it; "auto" is a GPU, if there is one, else the processor.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", …
        number: of several GPUs, which "auto" is; one that is too high begins again at the first.
    """
    if name != "auto":
        return torch.device(name)
    gpus = torch.cuda.device_count()
    return torch.device(f"cuda:{number % gpus}" if gpus else "cpu")


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
