"""Grids of images with text: images enlarged by whole factors, so that pixels stay sharp.

Grids are drawn at twice the size at which they are shown, so that text is sharp on high-resolution screens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from ccvae.storage.atomic import writing

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "Row", "captioned", "grid", "to_pil", "to_pixels", "write_png"]

INK, GREY, BLUE, ORANGE, PALE = "#1c2128", "#667080", "#1f6feb", "#c2570c", "#e3e7ec"
TYPE, SMALL_TYPE = 26, 22
LINE = 1.25  # line height in font sizes
MARGIN, SPACE, GROUP_SPACE = 24, 8, 32
WIDEST_NAME, MOST_LINES = 320, 3
MOST_TILE_LINES = 4  # of text above or below an image
LEAST_CAPTION_WIDTH, MOST_CAPTION_LINES = 640, 6
BAR = 8


@dataclass(frozen=True)
class Row:
    """A row of a grid. Entries of the sequences belong to the image at the same position; they may be shorter than the images.

    Args:
        images: uint8 `(height, width, channels)`, all of the same size; None leaves a gap.
        name: text at the left of the row.
        note: smaller text below the name.
        above: text above each image.
        below: text below each image.
        colors: colors of the texts below; gray by default.
        bars: filled fraction of a bar below each image; None draws no bar.
        apart: whether to leave space between this row and the one before.
    """

    images: Sequence[np.ndarray | None]
    name: str = ""
    note: str = ""
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    colors: Sequence[str] = ()
    bars: Sequence[float | None] = ()
    apart: bool = False


def grid(rows: Sequence[Row], tile: int = 160, breaks: Sequence[int] = ()) -> Image.Image:
    """A grid of images with text.

    Args:
        rows: from top to bottom.
        tile: pixels of an image's longer side; images are enlarged by the largest whole factor that fits, and never shrunk.
        breaks: columns before which extra space is left.
    """
    height, width = next(image.shape[:2] for row in rows for image in row.images if image is not None)
    factor = max(1, tile // max(height, width))
    height, width = height * factor, width * factor
    names = [
        (wrapped(row.name, TYPE, WIDEST_NAME, MOST_LINES), wrapped(row.note, SMALL_TYPE, WIDEST_NAME, MOST_LINES))
        for row in rows
    ]
    widths = [
        length(line, size) for pair in names for lines, size in zip(pair, (TYPE, SMALL_TYPE), strict=True) for line in lines
    ]
    left = MARGIN + (max(widths) + 2 * SPACE + 4 if widths else 0)
    columns = max(len(row.images) for row in rows)
    lefts = [
        left + column * (width + SPACE) + GROUP_SPACE * sum(break_ <= column for break_ in breaks) for column in range(columns)
    ]
    words = [
        [[wrapped(text, SMALL_TYPE, width, MOST_TILE_LINES) for text in texts] for texts in (row.above, row.below)]
        for row in rows
    ]
    tops: list[int] = []
    top = MARGIN
    for row, (above, below) in zip(rows, words, strict=True):
        top += (GROUP_SPACE if row.apart and tops else 0) + lines_height(above)
        tops.append(top)
        top += height + (BAR + SPACE if row.bars else 0) + lines_height(below) + SPACE
    canvas = Image.new("RGB", (lefts[-1] + width + MARGIN, top - SPACE + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for row, (above, below), (name, note), top in zip(rows, words, names, tops, strict=True):
        start = top + (height - round(LINE * (TYPE * len(name) + SMALL_TYPE * len(note)))) // 2
        write(draw, (left - 2 * SPACE, start), name, TYPE, INK, "ra")
        write(draw, (left - 2 * SPACE, start + round(LINE * TYPE * len(name))), note, SMALL_TYPE, GREY, "ra")
        for x, image in zip(lefts, row.images, strict=False):
            if image is not None:
                canvas.paste(to_pil(image).resize((width, height), Image.Resampling.NEAREST), (x, top))
        for x, lines in zip(lefts, above, strict=False):
            write(
                draw, (x + width // 2, top - SPACE // 2 - round(LINE * SMALL_TYPE * len(lines))), lines, SMALL_TYPE, GREY, "ma"
            )
        bottom = top + height
        if row.bars:
            for x, share in zip(lefts, row.bars, strict=False):
                if share is not None:
                    across = (x, bottom + SPACE // 2)
                    draw.rectangle((*across, x + width - 1, across[1] + BAR - 1), PALE)
                    if round(share * width):
                        draw.rectangle((*across, x + round(share * width) - 1, across[1] + BAR - 1), BLUE)
            bottom += BAR + SPACE
        for position, (x, lines) in enumerate(zip(lefts, below, strict=False)):
            color = row.colors[position] if position < len(row.colors) else GREY
            write(draw, (x + width // 2, bottom), lines, SMALL_TYPE, color, "ma")
    return canvas


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """A grid with a caption below it."""
    lines = wrapped(caption, SMALL_TYPE, max(image.width, LEAST_CAPTION_WIDTH) - 2 * MARGIN, MOST_CAPTION_LINES)
    width = max([image.width, *(length(line, SMALL_TYPE) + 2 * MARGIN for line in lines)])
    canvas = Image.new("RGB", (width, image.height + round(LINE * SMALL_TYPE * len(lines)) + SPACE), "white")
    canvas.paste(image, (0, 0))
    write(ImageDraw.Draw(canvas), (MARGIN, image.height - SPACE), lines, SMALL_TYPE, GREY, "la")
    return canvas


def to_pixels(images: Tensor) -> np.ndarray:
    """Images `(…, channels, height, width)` in [0, 1] as uint8 `(…, height, width, channels)`."""
    pixels: np.ndarray = (images.detach().clamp(0, 1) * 255).round().byte().movedim(-3, -1).cpu().numpy()
    return pixels


def to_pil(pixels: np.ndarray | Tensor) -> Image.Image:
    """One image, uint8 `(height, width, channels)` or a tensor `(channels, height, width)` in [0, 1], for Pillow."""
    array = to_pixels(pixels) if isinstance(pixels, Tensor) else pixels
    return Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])


def write_png(path: Path, image: Image.Image, title: str, caption: str) -> Path:
    """Write a PNG file with a title and a caption in its metadata, where reports find them."""
    metadata = PngImagePlugin.PngInfo()
    metadata.add_itxt("Title", title)
    metadata.add_itxt("Description", caption)
    with writing(path) as beside:
        image.save(beside, format="PNG", pnginfo=metadata)
    return path


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Latin, Greek and Cyrillic letters."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    # the other engine raises errors for some texts
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], size: int, color: str, anchor: str) -> None:
    """Write lines below each other."""
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + round(LINE * size * number)), line, color, font(size), anchor)


def lines_height(texts: Sequence[Sequence[str]]) -> int:
    """Height of the longest of some wrapped texts."""
    count = max(map(len, texts), default=0)
    return round(LINE * SMALL_TYPE * count) + (SPACE if count else 0)


def length(text: str, size: int) -> int:
    """Width of a line of text."""
    return round(font(size).getlength(text))


def wrapped(text: str, size: int, width: int, most: int) -> list[str]:
    """Text broken into lines after spaces, hyphens and underscores where possible, and shortened to `most` lines."""
    lines: list[str] = []
    for piece in pieces(text, size, width):
        if lines and length((lines[-1] + piece).rstrip(), size) <= width:
            lines[-1] += piece
        else:
            lines.append(piece)
    lines = [line.strip() for line in lines]
    if len(lines) > most:
        last = lines[most - 1]
        while last and length(last + "…", size) > width:
            last = last[:-1]
        lines = [*lines[: most - 1], last + "…"]
    return lines


def pieces(text: str, size: int, width: int) -> Iterator[str]:
    """What a text can be broken into: words, or parts of those that are wider than a line."""
    for word in re.findall(r"[^ _\-]*[ _\-]*", " ".join(text.split())):
        part = ""
        for letter in word:
            if part and length((part + letter).rstrip(), size) > width:
                yield part
                part = ""
            part += letter
        if part:
            yield part
