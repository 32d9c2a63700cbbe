"""`ccvae data check`, `ccvae data cache` and `ccvae data avatars`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ccvae.cli.console import description, printable, tell
from ccvae.cli.sheets import row_of, write_pictures
from ccvae.config import DataConfig

if TYPE_CHECKING:
    from ccvae.data import Dataset

__all__ = ["avatars", "cache", "check"]

DATA = DataConfig()


def check(source: str, data: DataConfig = DATA, html: Path | None = None, json: bool = False, mirror: bool = False) -> int:
    """Check data before training: counts, labels, duplicates, leaks between splits. Exit code 1 if there are problems.

    Args:
        source: "avatars", "digits", "fashion_mnist", a folder of images, or a table.
        data: how the source is read.
        html: page to write, with pictures.
        json: print JSON instead of text.
        mirror: train a classifier (a minute or so) to test whether mirrored images keep their labels, as
            `--training.flip true` assumes.
    """
    from dataclasses import replace

    from ccvae.data import check as check_dataset
    from ccvae.data.open import open_data
    from ccvae.model.inputs.columns import MissingInputsError
    from ccvae.storage.atomic import check_writable, writing

    if html is not None:
        check_writable(html, folder=False)
    problems: tuple[str, ...] = ()
    try:
        dataset = open_data(source, data)
    except MissingInputsError as error:  # the rest is looked at all the same
        problems = (str(error),)
        dataset = open_data(source, replace(data, options={**data.options, "missing": "mean"}))
    found = check_dataset(dataset)
    found = replace(found, problems=(*found.problems, *problems))
    sys.stdout.write(found.to_json() + "\n" if json else printable(found.to_text()))
    if html is not None:
        with writing(html) as path:
            path.write_text(found.to_html(), encoding="utf-8")
        tell(f"page: {html}")
    if mirror:
        tell(mirror_report(dataset))
    return 1 if found.problems else 0


def mirror_report(dataset: "Dataset") -> str:
    """Whether mirrored images keep their labels, in a sentence."""
    from ccvae.training.mirror_check import check_mirrored

    sided = [found for found in check_mirrored(dataset) if found.sided]
    if not sided:
        return "mirrored images keep their labels, as far as a classifier can tell: --training.flip true is safe"
    named = ", ".join(f"{found.label} ({found.loss:.2f} ± {found.error:.2f} nats per row)" for found in sided)
    return f"labels depend on the side, so leave --training.flip false: on mirrored images a classifier loses {named}"


def cache(source: str, data: DataConfig = DATA) -> None:
    """Decode a source's images into the cache ahead of training.

    Args:
        source: "avatars", a folder of images, or another source of images.
        data: how the source is read; training uses the cache if it reads the source with the same settings.
    """
    import numpy as np

    from ccvae.data.open import open_data

    dataset = open_data(source, data)
    tell(description(dataset))
    if isinstance(dataset.inputs, np.memmap):
        tell(f"{dataset.inputs.nbytes / 1e6:,.0f} MB are cached in {dataset.inputs.filename}")
    else:
        tell("nothing to cache: these data are read quickly without it")


def avatars(
    count: int = 20_000,
    size: int = 32,
    style: Literal["avataaars", "pixel-art"] = "avataaars",
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Draw and cache the bundled faces, and show some of them.

    Args:
        count: how many.
        size: height and width in pixels.
        style: which style.
        seed: which faces.
        out: a .png file for a sheet of the first faces.
    """
    from ccvae import data

    dataset = data.avatars(count, size=size, style=style, seed=seed)
    tell(description(dataset))
    if out is not None:
        columns = min(count, 12)
        faces = dataset.tensor(slice(min(count, 96) // columns * columns))
        rows = [row_of(faces[first : first + columns]) for first in range(0, len(faces), columns)]
        write_pictures(out, faces, rows, f"The first faces of {dataset.name}.")
