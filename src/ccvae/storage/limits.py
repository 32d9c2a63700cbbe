"""Limits on what files and arguments may ask for, so that no input takes all memory or time. Each can be raised.

The environment variable CCVAE_LIMIT_TABLE_BYTES=1e9 sets the limit `table_bytes`, and so on.
"""

from __future__ import annotations

import math
import os
from typing import Literal

__all__ = ["LIMITS", "check_limit", "limit"]

Name = Literal["table_bytes", "table_cells", "pixels", "faces", "images", "grid_images", "download_bytes"]
LIMITS: dict[Name, int] = {
    "table_bytes": 2**28,
    "table_cells": 16_000_000,
    "pixels": 64_000_000,
    "faces": 10_000_000,
    "images": 1_000_000,
    "grid_images": 10_000,
    "download_bytes": 2_000_000_000,
}
"""Default limits: bytes of a table or idx file when unpacked, cells of a table, pixels of an image file, drawn faces, images
that one command writes, images in one grid, and bytes of a model on the Hub."""


def limit(name: Name) -> int:
    """A limit: its environment variable, or its default. Raises `ValueError` if the variable is not a number above 0."""
    variable = f"CCVAE_LIMIT_{name.upper()}"
    given = os.environ.get(variable)
    if given is None:
        return LIMITS[name]
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise ValueError(f"environment variable {variable}: expected a number of at least 1, found {given!r}")
    return int(value)


def check_limit(name: Name, found: int, what: str) -> None:
    """Raise `ValueError` if something exceeds a limit.

    Args:
        name: the limit.
        found: what was found or asked for.
        what: what messages say has so much, such as "labels.csv, unpacked,".
    """
    most = limit(name)
    if found > most:
        unit = name.replace("_", " ")
        raise ValueError(
            f"{what} has more than {most:,} {unit}; to raise this limit, set the environment variable "
            f"CCVAE_LIMIT_{name.upper()}"
        )
