"""One door to all readers: what a source is, and how its settings reach the reader."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ccvae import data as readers
from ccvae.config import READERS, DataConfig
from ccvae.data.dataset import Dataset
from ccvae.labels.cells import first_few
from ccvae.model.inputs.decoding import UNREADABLE, Framing, decode
from ccvae.model.inputs.files import files_of

__all__ = ["open_data", "read_images"]

WITHOUT_SOURCE = ("avatars", "digits", "fashion_mnist", "mnist")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def open_data(source: str, config: DataConfig | None = None) -> Dataset:
    """Read data.

    Args:
        source: a name ("avatars", "digits", "fashion_mnist", "mnist"), a folder of images (CelebA's and CheXpert's layouts are
            recognised), or a table file.
        config: settings.

    Raises:
        ValueError: the source is nothing that can be read, or the reader does not know a setting.
        FileNotFoundError: there is no such file or folder.
    """
    config = config or DataConfig()
    name = reader_name(source) if config.reader == "auto" else config.reader
    reader: Callable[..., Dataset] = getattr(readers, name)
    known = inspect.signature(reader).parameters
    own = ("reader", "options", "labelled_per_class")  # what is not the reader's
    settings = {key: value for key, value in asdict(config).items() if key not in own and value is not None}
    for key in ("labels", "exclude", "missing_values"):
        if isinstance(settings.get(key), str):
            settings[key] = [part.strip() for part in settings[key].split(",")]
    settings |= config.options
    unknown = [key for key in settings if key not in known and key != "seed"]
    if unknown:
        raise ValueError(f"data: reader {name} does not know {', '.join(unknown)}; it knows {', '.join(known)}")
    if name == "table" and "labels" not in settings:
        raise ValueError(f"{source}: say which columns are labels: --data.labels NAME, or --data.labels NAME,NAME")
    settings = {key: value for key, value in settings.items() if key in known}
    # where a reader works without a folder, the source's name is no path
    arguments: list[Any] = [] if name in WITHOUT_SOURCE and source.replace("-", "_") == name else [source]
    dataset = reader(*arguments, **settings)
    count = config.labelled_per_class
    return dataset if count is None else dataset.hide(seed=config.seed, labelled_per_class=count)


def reader_name(source: str) -> str:
    """Which reader a source is for."""
    if source.replace("-", "_") in WITHOUT_SOURCE:
        return source.replace("-", "_")
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"{source}: no such file or folder, nor one of the built-in data sets {', '.join(WITHOUT_SOURCE)}"
        )
    if path.is_dir():
        if any(path.rglob("list_attr_celeba.*")):
            return "celeba"
        if (path / "train.csv").exists() and (path / "valid.csv").exists():
            return "chexpert"
        return "image_folder"
    if path.suffix.lower() in TABLE_SUFFIXES:
        return "table"
    raise ValueError(
        f"{source}: expected a folder of images or a table ({', '.join(TABLE_SUFFIXES)}); readers are {', '.join(READERS)}"
    )


def read_images(
    paths: Sequence[str | Path], shape: Sequence[int], config: DataConfig | None = None
) -> tuple[list[str], np.ndarray]:
    """Image files, and all those in folders, as a model takes them.

    Args:
        paths: files or folders.
        shape: (channels, height, width) of the model's inputs.
        config: how the model's own data were read; the same framing is used.

    Returns:
        Names of the files, and uint8 `(images, height, width, channels)`.

    Raises:
        ValueError: the model takes vectors, or files are unreadable (the first few are named).
        FileNotFoundError: there is no such file or folder, or no image in a folder.
    """
    if len(shape) != 3:
        raise ValueError(f"the model takes vectors of {shape[0]} features, not images; give a table instead")
    options = (config or DataConfig()).options
    framing = Framing(shape[1], shape[2], options.get("fit", "stretch"), options.get("square"))
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        inside = [path / name for name in files_of(path)] if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"{path}: no image in this folder")
        files += inside
    images, offenders = [], []
    for file in files:
        try:
            images.append(decode(file, framing, shape[0]))
        except UNREADABLE as error:
            offenders.append(f"{file}: {error}")
    if offenders:
        raise ValueError(f"unreadable images: {first_few(offenders)}")
    return [str(file) for file in files], np.stack(images)
