"""Image files for tests."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FILES = [f"{number:02}.png" for number in range(90)]
PICTURES = np.random.default_rng(0).integers(0, 256, (90, 16, 16), dtype=np.uint8)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random pixels, uint8 `(height, width, channels)`, without the last axis if there is one channel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def saved(path: Path, pixels: np.ndarray, **how: Any) -> Path:
    """Write pixels into a file, with arguments of Pillow; its path."""
    Image.fromarray(pixels).save(path, **how)
    return path


def folder_of_pictures(folder: Path) -> Path:
    """A folder `im` with `PICTURES` in `FILES`."""
    (folder / "im").mkdir()
    for name, picture in zip(FILES, PICTURES, strict=True):
        saved(folder / "im" / name, picture)
    return folder / "im"
