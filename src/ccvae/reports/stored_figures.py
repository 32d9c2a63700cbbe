"""Which files in a run's `figures/` may be shown: a stranger may have put anything there."""

from __future__ import annotations

import logging
from pathlib import Path

from PIL import Image

from ccvae.model.inputs.decoding import UNREADABLE, reason
from ccvae.storage.files import check_regular
from ccvae.storage.limits import check_limit
from ccvae.storage.links import check_inside

__all__ = ["stored_figures"]

LARGEST = 64_000_000
"""Bytes of a figure."""
FORMAT = "PNG"


def stored_figures(folder: Path) -> list[Path]:
    """PNG files in the `figures/` of a run folder, sorted by name; what is named so but is none is logged and left out.

    A figure is a regular file within the run folder, of bounded size, that Pillow reads as a PNG. A link that leads out of the
    folder, or `figures/` itself being one, would show a file of this machine.
    """
    shown = []
    for path in sorted((folder / "figures").glob("*.png")):
        try:
            check_figure(folder, path)
        except UNREADABLE as error:
            logging.getLogger("ccvae").warning("%s is left out of the report: %s", path, reason(error))
        else:
            shown.append(path)
    return shown


def check_figure(folder: Path, path: Path) -> None:
    """Raise one of `UNREADABLE` unless a path is a PNG file of a run folder."""
    check_inside(folder, [path.relative_to(folder).as_posix()])
    check_regular(path)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    with Image.open(path, formats=[FORMAT]) as image:
        check_limit("pixels", image.width * image.height, "the figure")
        image.verify()
