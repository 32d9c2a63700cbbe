"""Pictures that commands write: one sheet with names and a caption, or a file for each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccvae.cli.console import tell

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ccvae.drawing.image_grid import Row
    from ccvae.labels import Label

__all__ = [
    "check_place",
    "ends_of",
    "folded",
    "row_of",
    "shown_ids",
    "texts_of_rows",
    "values_text",
    "write_each",
    "write_pictures",
]

OTHER_SUFFIXES = (".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".pdf", ".svg", ".eps")
MOST_ACROSS = 8
"""Images of a row; the others are shown below, so that sheets stay readable."""


def check_place(out: Path) -> None:
    """Raise an error unless pictures can be written to a place: a .png file, or a folder."""
    from ccvae.storage.atomic import check_writable

    if out.suffix.lower() in OTHER_SUFFIXES:
        raise ValueError(f"out: expected a .png file for one sheet, or a folder for a file for each image, found {out}")
    check_writable(out, folder=out.suffix.lower() != ".png")


def write_pictures(out: Path, results: Tensor, rows: Sequence[Row], caption: str, breaks: Sequence[int] = ()) -> None:
    """Write images as one sheet with names and a caption, or the results into a folder.

    Args:
        out: a .png file, or a folder.
        results: `(count, *input_shape)`.
        rows: of the sheet; the results and what they came from.
        caption: text below the sheet.
        breaks: columns before which extra space is left.
    """
    from ccvae.drawing.image_grid import captioned, grid, write_png

    if out.suffix.lower() != ".png":
        write_each(out, results)
        tell(f"{len(results)} pictures in {out}")
        return
    write_png(out, captioned(grid(rows, breaks=breaks), caption), out.stem, caption)
    tell(f"{len(rows)} × {max(len(row.images) for row in rows)} pictures in {out}")


def write_each(folder: Path, pictures: Tensor, first: int = 0) -> None:
    """Write pictures `(count, *shape)` into a folder, named by their numbers."""
    from ccvae.drawing.image_grid import to_pil
    from ccvae.storage.atomic import writing

    check_images(pictures)
    for number, pixels in enumerate(pictures.cpu(), first):
        with writing(folder / f"{number:04d}.png", durable=False) as path:
            to_pil(pixels).save(path, format="PNG")


def row_of(pictures: Tensor, name: str = "", above: Sequence[str] = (), below: Sequence[str] = ()) -> Row:
    """A row of a sheet, of pictures `(count, *shape)`."""
    from ccvae.drawing.image_grid import Row, to_pixels

    check_images(pictures)
    return Row(list(to_pixels(pictures)), name, above=above, below=below)


def folded(rows: Sequence[Row]) -> list[Row]:
    """Rows whose images belong to each other by their place, a few places at a time below each other."""
    from dataclasses import replace

    parts = range(0, max(len(row.images) for row in rows), MOST_ACROSS)
    return [
        replace(
            row,
            images=row.images[first : first + MOST_ACROSS],
            above=row.above[first : first + MOST_ACROSS],
            below=row.below[first : first + MOST_ACROSS],
            apart=len(rows) > 1 and number == 0,
        )
        for first in parts
        for number, row in enumerate(rows)
    ]


def check_images(pictures: Tensor) -> None:
    """Raise `ValueError` unless there are images `(count, channels, height, width)`."""
    if pictures.ndim != 4:
        raise ValueError("the model's inputs are vectors; only models of images make pictures")


def shown_ids(ids: Iterable[Any] | None) -> list[str]:
    """Ids of images, of paths their last parts."""
    return [] if ids is None else [Path(str(each)).name for each in ids]


def values_text(values: Mapping[Any, Any]) -> str:
    """Label values in words, such as "Smiling=1, Eyeglasses=0"; those that are missing are left out."""
    from ccvae.labels.cells import is_empty, text_of

    return ", ".join(f"{name}={text_of(value)}" for name, value in values.items() if not is_empty(value))


def texts_of_rows(values: dict[str, Any] | pd.DataFrame, without: str) -> list[str]:
    """Label values of each row of a table in words; none where they are the same for all."""
    if isinstance(values, dict):
        return []
    return [values_text(row) or without for row in values.to_dict("records")]


def ends_of(label: Label) -> tuple[str, str]:
    """What stands at both ends of a traversal."""
    first, last = (label.decode(end) for end in label.ends)
    shown = (f"{each:.4g}" if isinstance(each, float) else str(each) for each in (first, last))
    left, right = (f"{label.name}={each}" for each in shown)
    return left, right
