"""From an image file to pixels.

What happens to an image, in this order:

1. Of an animation or several pages, the first picture is taken.
2. A rotation or mirroring noted in its EXIF data is carried out, also of an image in memory, which keeps that note when it is
   cropped, resized or turned: an image that is turned by hand must lose the note, as `ImageOps.exif_transpose` removes it.
3. 16-bit grey levels are scaled from 0–65535 to 0–255; they are not stretched to the levels that an image uses. Palettes,
   CMYK and YCbCr become RGB.
4. Transparent pixels are laid over white.
5. One channel: RGB becomes grey by ITU-R 601 (0.299 R + 0.587 G + 0.114 B). Three channels: grey is repeated.
6. Where asked for, a square is cut from its middle.
7. The size: `stretch` to it, whatever the proportions; `crop` as much as the proportions of the size demand, from the
   middle; or `pad` with black. Resampling is bilinear over all source pixels that a pixel covers (antialiased). Images in
   memory become the same pixels as their files.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ccvae.storage.files import check_regular
from ccvae.storage.limits import check_limit

__all__ = ["UNREADABLE", "Fit", "Framing", "Header", "decode", "header_of", "pixels_of", "reason"]

Fit = Literal["stretch", "crop", "pad"]
"""How an image of other proportions is brought to a size."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What is raised for a broken image, or one that has no meaning as grey levels or colours."""

GREY_MODES = ("1", "L", "LA", "La", "F")  # and all of 16 and 32 bits, "I…"
SIXTEEN_BITS = 65535
BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Framing:
    """How images are brought to one size.

    Args:
        height: in pixels.
        width: in pixels.
        fit: what happens to images of other proportions.
        square: side in pixels of a square that is cut from the middle first, or None.

    Raises:
        ValueError: these make no sense.
    """

    height: int
    width: int
    fit: Fit = "stretch"
    square: int | None = None

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, not {self.fit!r}")
        if self.square is not None and not (isinstance(self.square, int) and self.square > 0):
            raise ValueError(f"the square to cut out must have a positive whole number of pixels, not {self.square!r}")

    @classmethod
    def of(cls, size: int | tuple[int, int], fit: Fit = "stretch", square: int | None = None) -> Framing:
        """Framing to a height and width, or to one number for both."""
        pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
        if len(pair) != 2 or not all(isinstance(number, int) and number > 0 for number in pair):
            raise ValueError(f"size must be a positive whole number of pixels, or a height and a width, not {size!r}")
        return cls(*pair, fit, square)

    def __str__(self) -> str:
        how = {"stretch": "stretched", "crop": "cropped and scaled", "pad": "scaled and padded"}[self.fit]
        cut = f"cut to {self.square}×{self.square}, then " if self.square else ""
        return f"{cut}{how} to {self.width}×{self.height}"


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: width and height in pixels before any rotation, and whether it is grey."""

    size: tuple[int, int]
    grey: bool


def open_image(file: Path | IO[bytes]) -> Image.Image:
    """An image file, not decoded yet.

    Raises:
        OSError, SyntaxError, ValueError: one of `UNREADABLE`; it is not a regular file, is empty, or has too many pixels.
    """
    if isinstance(file, Path):
        check_regular(file)
        if not file.stat().st_size:
            raise ValueError("the file is empty")
    opened = Image.open(file)
    try:
        check_limit("pixels", opened.width * opened.height, f"an image of {opened.width}×{opened.height}")
    except ValueError:
        opened.close()
        raise
    return opened


def header_of(file: Path | IO[bytes]) -> Header:
    """Header of an image file."""
    with open_image(file) as image:
        return Header(image.size, is_grey(image))


def decode(file: Path | IO[bytes], framing: Framing, channels: int) -> np.ndarray:
    """Pixels of one image file, uint8 `(height, width, channels)` (see the module for how).

    Args:
        file: the file.
        framing: how it is brought to the size.
        channels: 1 or 3.

    Raises:
        OSError, SyntaxError, ValueError: one of `UNREADABLE`.
    """
    with open_image(file) as opened:
        return pixels_of(opened, framing, channels)


def pixels_of(opened: Image.Image, framing: Framing, channels: int) -> np.ndarray:
    """Pixels of an image in memory, as `decode` gives them of a file."""
    opened.load()
    turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1
    image = in_mode(flattened(ImageOps.exif_transpose(opened) if turned else opened), "L" if channels == 1 else "RGB")
    if framing.square is not None:
        if min(image.size) < framing.square:
            raise ValueError(f"{image.width}×{image.height} pixels are too few to cut a square of {framing.square} from")
        left, top = (image.width - framing.square) // 2, (image.height - framing.square) // 2
        image = image.crop((left, top, left + framing.square, top + framing.square))
    size = (framing.width, framing.height)
    if image.size != size:
        if framing.fit == "crop":
            image = ImageOps.fit(image, size, BILINEAR)
        elif framing.fit == "pad":
            image = ImageOps.pad(image, size, BILINEAR, color=0)
        else:
            image = image.resize(size, BILINEAR)
    return np.asarray(image).reshape(framing.height, framing.width, channels)


def flattened(image: Image.Image) -> Image.Image:
    """An image as 8-bit grey or RGB, without transparency."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > SIXTEEN_BITS:
            raise ValueError(f"grey levels from {levels.min()} to {levels.max()}; save it with 8 or 16 bits")
        return Image.fromarray(((levels * 255 + SIXTEEN_BITS // 2) // SIXTEEN_BITS).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point grey levels, whose range is unknown; save it with 8 or 16 bits")
    opaque = "L" if image.mode in GREY_MODES else "RGB"
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert(opaque)
    return in_mode(image, opaque)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image in a mode; itself, where it is in that already, for converting it would copy it."""
    return image if image.mode == mode else image.convert(mode)


def is_grey(image: Image.Image) -> bool:
    """Whether an image says that it has no colours: by its mode or palette, not by its pixels."""
    if image.mode == "P":
        palette = image.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in GREY_MODES or image.mode.startswith("I")


def reason(error: Exception) -> str:
    """Why a file could not be read, in few words."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of an unknown format"
    return str(error) or type(error).__name__
