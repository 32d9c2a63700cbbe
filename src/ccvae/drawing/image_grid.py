"""Rows of pictures with words beside them, as one sheet: pixels enlarged by whole factors, type that can be read.

Sheets are drawn at twice the size at which they are meant to be seen, so that type is sharp on fine screens.
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

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "Row", "grid", "picture_of", "pixels_of", "sheet", "write_picture"]

INK, GREY, BLUE, ORANGE, PALE = "#1c2128", "#667080", "#1f6feb", "#c2570c", "#e3e7ec"
TYPE, SMALL_TYPE = 26, 22
LINE = 1.25  # of lines of type, in sizes of it
MARGIN, SPACE, GROUP_SPACE = 24, 8, 32
WIDEST_NAME, MOST_LINES = 320, 3
BAR = 8


@dataclass(frozen=True)
class Row:
    """A row of a sheet. What belongs to a picture stands at its place, and may be shorter than the pictures.

    Args:
        pictures: uint8 `(height, width, channels)`, all of one size; None leaves a gap.
        name: at the left of the row.
        note: beneath the name, smaller.
        above: words above each picture.
        below: words beneath each picture.
        colours: of the words beneath; grey if not given.
        bars: share to fill of a bar beneath each picture; None draws no bar.
        apart: whether to keep a distance from the row before, if there is one.
    """

    pictures: Sequence[np.ndarray | None]
    name: str = ""
    note: str = ""
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    colours: Sequence[str] = ()
    bars: Sequence[float | None] = ()
    apart: bool = False


def grid(rows: Sequence[Row], tile: int = 160, breaks: Sequence[int] = ()) -> Image.Image:
    """A sheet of rows of pictures.

    Args:
        rows: from top to bottom.
        tile: pixels that a picture's longer side should take; it gets the largest whole multiple of its own that fits, or its
            own size if it is larger.
        breaks: columns before which there is a distance.
    """
    height, width = next(picture.shape[:2] for row in rows for picture in row.pictures if picture is not None)
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
    columns = max(len(row.pictures) for row in rows)
    lefts = [
        left + column * (width + SPACE) + GROUP_SPACE * sum(break_ <= column for break_ in breaks) for column in range(columns)
    ]
    words = [[[wrapped(text, SMALL_TYPE, width, 2) for text in texts] for texts in (row.above, row.below)] for row in rows]
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
        for x, picture in zip(lefts, row.pictures, strict=False):
            if picture is not None:
                canvas.paste(picture_of(picture).resize((width, height), Image.Resampling.NEAREST), (x, top))
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
            colour = row.colours[position] if position < len(row.colours) else GREY
            write(draw, (x + width // 2, bottom), lines, SMALL_TYPE, colour, "ma")
    return canvas


def sheet(pictures: Tensor, tile: int = 160) -> Image.Image:
    """A sheet of nothing but pictures `(rows, columns, channels, height, width)` in [0, 1]."""
    return grid([Row(list(pixels_of(row))) for row in pictures], tile)


def pixels_of(pictures: Tensor) -> np.ndarray:
    """Pictures `(…, channels, height, width)` in [0, 1] as uint8 `(…, height, width, channels)`."""
    pixels: np.ndarray = (pictures.detach().clamp(0, 1) * 255).round().byte().movedim(-3, -1).cpu().numpy()
    return pixels


def picture_of(pixels: np.ndarray | Tensor) -> Image.Image:
    """One picture: uint8 `(height, width, channels)`, or a tensor `(channels, height, width)` in [0, 1]."""
    array = pixels_of(pixels) if isinstance(pixels, Tensor) else pixels
    return Image.fromarray(array if array.shape[-1] == 3 else array[..., 0])


def write_picture(path: Path, picture: Image.Image, title: str, caption: str) -> Path:
    """Write a picture as PNG that bears its own title and caption, which reports show."""
    told = PngImagePlugin.PngInfo()
    told.add_itxt("Title", title)
    told.add_itxt("Description", caption)
    with writing(path) as beside:
        picture.save(beside, format="PNG", pnginfo=told)
    return path


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The type that everything is written in: matplotlib's, which knows Latin, Greek and Cyrillic."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    # the other engine refuses some texts
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], size: int, colour: str, anchor: str) -> None:
    """Write lines beneath each other."""
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + round(LINE * size * number)), line, colour, font(size), anchor)


def lines_height(texts: Sequence[Sequence[str]]) -> int:
    """Height that the longest of some wrapped texts takes."""
    count = max(map(len, texts), default=0)
    return round(LINE * SMALL_TYPE * count) + (SPACE if count else 0)


def length(text: str, size: int) -> int:
    """Width of a line of type."""
    return round(font(size).getlength(text))


def wrapped(text: str, size: int, width: int, most: int) -> list[str]:
    """Text in lines of a width, broken after spaces, hyphens and underscores where it can be; shortened to a number of them."""
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
