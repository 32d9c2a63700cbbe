"""Memory allocation: keep freed memory instead of returning it to the operating system.

Large tensors are allocated and freed at every step. Returning freed memory to the OS is expensive: it is page-faulted back
every step.
"""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Option numbers of glibc's `mallopt`."""


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
