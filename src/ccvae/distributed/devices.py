"""Which device computes, and whether it supports a precision."""

from __future__ import annotations

import warnings

import torch

__all__ = ["chosen_precision", "device_named", "has_bfloat16", "warn_of_slow_precision"]


def device_named(name: str, number: int = 0) -> torch.device:
    """A torch device by name; "auto" selects a GPU if there is one, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", …
        number: index of the GPU that "auto" selects, modulo the number of GPUs.

    Raises:
        ValueError: torch has no device of this name, or this machine does not have it.
    """
    if name != "auto":
        return available_device(name)
    gpus = torch.cuda.device_count()
    return torch.device(f"cuda:{number % gpus}" if gpus else "cpu")


def available_device(name: str) -> torch.device:
    """A device by its name, on which a tensor can be made."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"device {name!r} is not available here: {reason}; use auto or cpu") from None
    if device.type == "meta":
        raise ValueError("device 'meta' computes nothing; use auto or cpu")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16 instructions; anything but a CPU is assumed to have them."""
    return device.type != "cpu" or any("bf16" in name and able for name, able in torch.cpu.get_capabilities().items())


def chosen_precision(precision: str, accelerator: str, images: bool, dtype: torch.dtype = torch.float32) -> str:
    """The precision to train with: "auto" is bf16-mixed for images where the device has instructions for bfloat16.

    Networks of vectors are too small to gain by it, and have single precision; a model in double precision keeps it.

    Args:
        precision: "auto", or Lightning's name of one, which stays.
        accelerator: Lightning's name of the device's kind.
        images: whether the inputs are images.
        dtype: of the model's parameters.
    """
    if precision != "auto":
        return precision
    if dtype == torch.float64:
        return "64-true"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        other = accelerator not in ("auto", "cpu") or (accelerator == "auto" and torch.backends.mps.is_available())
        able = not other and has_bfloat16(torch.device("cpu"))
    return "bf16-mixed" if able and images else "32-true"


def warn_of_slow_precision(precision: str, device: torch.device) -> None:
    """Warn if bfloat16 is requested on a CPU without bfloat16 instructions, where torch emulates it many times slower.

    Args:
        precision: one of Lightning's names, such as "bf16-mixed".
        device: the device that trains.
    """
    if "bf16" in precision and not has_bfloat16(device):
        warnings.warn(
            f"precision {precision}: this CPU has no bfloat16 instructions and will be about ten times slower than with "
            "32-true; leave precision out, or train on a GPU",
            stacklevel=3,
        )
