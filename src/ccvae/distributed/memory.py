"""How memory is got from the system: large tensors come and go at every step, and pages given back are dear to get again."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's options."""


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, up to a gigabyte, for what it needs next.

    It holds for the whole process, to its end, so it is for programs to call and not for libraries. Only glibc has it.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    options = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: 1 << 30, TOP_PAD: 1 << 28}
    set_option = ctypes.CDLL(None).mallopt
    return all(set_option(option, number) == 1 for option, number in options.items())
