"""Rows of memory-mapped arrays, read without keeping them in memory."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["rows_of"]


def rows_of(array: np.ndarray, rows: Any) -> np.ndarray:
    """Rows of an array, as a copy where it is a memory map.

    Rows of a read-only map are read from its file: pages touched through the map would stay in memory until all of the file
    is there, and each page fault costs more than a read.

    Args:
        array: `(rows, …)`.
        rows: any index of an array.

    Raises:
        OSError: the file has been cut short.
    """
    if not (isinstance(array, np.memmap) and array.mode == "r" and isinstance(array.base, mmap.mmap)):
        return np.asarray(array[rows])
    numbers = np.arange(len(array))[rows]
    found = np.empty((len(numbers), *array.shape[1:]), dtype=array.dtype)
    path = Path(os.fsdecode(array.filename))
    if not found.size or not path.exists():  # the name may be gone, but what it named is still mapped
        return np.asarray(array[rows])
    size, buffer = array.strides[0], memoryview(found).cast("B")
    with path.open("rb", buffering=0) as file:
        for position, number in enumerate(numbers.tolist()):
            file.seek(array.offset + number * size)
            if file.readinto(buffer[position * size : (position + 1) * size]) != size:
                raise OSError(f"{path} is cut short: row {number} is not there")
    return found
