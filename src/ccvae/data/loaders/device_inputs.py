"""Inputs on the device that computes: kept there as bytes where they fit, and made floats there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.data.images.memory_maps import rows_of

__all__ = ["DeviceInputs", "sent"]

ROWS_AT_ONCE = 4096
"""Rows read and sent together where all are."""


class DeviceInputs:
    """A data set's inputs as floats on a device, some rows at a time.

    An accelerator gets all inputs once, as they are stored (bytes, for images), where they take at most half of its free
    memory; otherwise it gets the rows of each batch as bytes. Either way they become floats on the device. On the CPU the
    data are used where they are.

    Args:
        data: whose inputs.
        device: where they are wanted.
        resident: whether all of them are kept there, or sent batch by batch; None decides by its free memory.
    """

    def __init__(self, data: Dataset, device: torch.device | None = None, resident: bool | None = None) -> None:
        self.data = data
        self.device = device or torch.device("cpu")
        self.near = self.device.type == "cpu" and resident is None
        if resident is None:
            resident = not self.near and data.inputs.nbytes <= free_memory(self.device) // 2
        self.resident = all_sent(data.inputs, self.device) if resident else None

    def read(self, rows: np.ndarray) -> np.ndarray:
        """What of some rows must be sent to the device: their numbers, or themselves."""
        return rows if self.near or self.resident is not None else rows_of(self.data.inputs, rows)

    def floats(self, read: np.ndarray) -> Tensor:
        """Inputs as floats on the device, images channels first in [0, 1], from what `read` gave."""
        if self.near:
            return self.data.tensor(read)
        stored = sent(read, self.device)
        if self.resident is not None:
            stored = self.resident[stored]
        if stored.ndim == 2:
            return stored.float()
        # permute keeps channels last in memory, which the convolutions prefer
        return stored.permute(0, 3, 1, 2).float().div_(255)


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on a device, without waiting for it to arrive."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # what the system may move in memory could only be sent while the program waits
    return tensor.to(device, non_blocking=True)


def all_sent(inputs: np.ndarray, device: torch.device) -> Tensor:
    """All inputs on a device; a few thousand rows at a time, since they may not fit into the processor's memory."""
    stored = torch.empty(inputs.shape, dtype=torch.uint8 if inputs.dtype == np.uint8 else torch.float32, device=device)
    for first in range(0, len(inputs), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        stored[rows] = sent(np.array(rows_of(inputs, rows)), device)
    return stored


def free_memory(device: torch.device) -> int:
    """Free bytes of an accelerator; 0 where it does not tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
