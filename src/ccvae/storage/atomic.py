"""Atomic writes: a temporary file beside the path to write, then a rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["writing"]


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Temporary path beside `path`, renamed to it when the block ends without an error.

    The parent folder is made if it does not exist. After an error the temporary file is removed and `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
