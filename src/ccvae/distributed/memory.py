"""Memory: keep freed memory instead of returning it to the operating system, and say what there was too little for.

Large tensors are allocated and freed at every step. Returning freed memory to the OS is expensive: it is page-faulted back
every step.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_memory", "making", "memory_needed"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Option numbers of glibc's `mallopt`."""
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "alloc_failed")
"""Parts of the messages, in lower case, of errors of torch and its libraries for which there is no class."""


def keep_memory() -> bool:
    """Let this process keep up to one gigabyte of freed memory for its next allocations.

    The setting affects the whole process until it ends, so programs should call this, not libraries. Only glibc has it.

    Returns:
        Whether the setting was applied.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    options = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: 1 << 30, TOP_PAD: 1 << 28}
    set_option = ctypes.CDLL(None).mallopt
    return all(set_option(option, number) == 1 for option, number in options.items())


@contextmanager
def making(what: str) -> Iterator[None]:
    """Within, an error for lack of memory gets a note of what was being made; the innermost one is told.

    Args:
        what: completes "out of memory while …", such as "training with 64 rows per step".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if memory_needed(error) is not None:
            error.add_note(what)
        raise


def memory_needed(error: BaseException) -> str | None:
    """What memory was asked for, if that is what an error is about: numpy and torch say how much. None if it is not."""
    message = next(iter(str(error).splitlines()), "") or "no amount is known"
    if isinstance(error, MemoryError):
        return message
    torch = sys.modules.get("torch")
    on_device = torch is not None and isinstance(error, torch.OutOfMemoryError)
    lacking = isinstance(error, RuntimeError) and any(words in message.lower() for words in OUT_OF_MEMORY)
    return message if on_device or lacking else None
