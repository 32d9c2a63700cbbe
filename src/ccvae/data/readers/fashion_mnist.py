"""MNIST, Fashion-MNIST and other data in MNIST's idx files."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.origin import recorded
from ccvae.data.parsing import parse_labels
from ccvae.data.splits import split_rows
from ccvae.labels import Categorical
from ccvae.labels.cells import Value
from ccvae.model.inputs.decoding import Framing
from ccvae.storage.files import check_regular
from ccvae.storage.limits import check_limit, limit
from ccvae.storage.links import check_inside

__all__ = ["FASHION", "fashion_mnist", "mnist"]

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
"""The ten classes of Fashion-MNIST, in the order of their numbers."""

FASHION_FOLDERS = ("/usr/share/datasets/fashion-mnist",)  # of Debian's package dataset-fashion-mnist
PARTS = ("train", "t10k")
BATCH = 4096


@recorded
def fashion_mnist(
    folder: str | Path | None = None,
    *,
    size: int | tuple[int, int] = 28,
    labelled: int | float | None = None,
    validation: int | float = 5000,
    seed: int = 0,
) -> Dataset:
    """Fashion-MNIST: 70,000 grey pictures of clothes, 28×28, with the label "class" of ten values.

    Args:
        folder: holds the four idx files; if not given, where Debian's package `dataset-fashion-mnist` puts them.
        size: height and width in pixels, or one number for both.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of the 60,000 training images to validate on. The 10,000 test images are
            the test split.
        seed: random seed of the validation split and of which labels are hidden.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged.
    """
    if folder is None:
        folder = next((place for place in FASHION_FOLDERS if Path(place).is_dir()), None)
        if folder is None:
            raise FileNotFoundError(
                f"Fashion-MNIST is not in {' or '.join(FASHION_FOLDERS)}; install Debian's package dataset-fashion-mnist, "
                f"or name the folder that holds its idx files"
            )
    data = idx_files(folder, "class", FASHION, size, labelled, validation, seed, "Fashion-MNIST")
    return replace(data, mirrored=True)


@recorded
def mnist(
    folder: str | Path | None = None,
    *,
    size: int | tuple[int, int] = 28,
    labelled: int | float | None = None,
    validation: int | float = 5000,
    seed: int = 0,
) -> Dataset:
    """MNIST: 70,000 grey pictures of digits, 28×28, with the label "digit" of ten values.

    Args:
        folder: contains the four idx files, which this package neither has nor downloads.
        size: height and width in pixels, or one number for both.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of the training images to validate on; the test files are the test split.
        seed: random seed of the validation split and of which labels are hidden.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged.
    """
    if folder is None:
        raise FileNotFoundError(
            "MNIST does not come with this package; give the folder that contains its four idx files, such as "
            "train-images-idx3-ubyte.gz, and the reader mnist: ccvae train FOLDER --data.reader mnist"
        )
    return idx_files(folder, "digit", range(10), size, labelled, validation, seed, "MNIST")


def idx_files(
    folder: str | Path,
    label: str,
    values: Sequence[Value],
    size: int | tuple[int, int],
    labelled: int | float | None,
    validation: int | float,
    seed: int,
    name: str,
) -> Dataset:
    """Data from `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and their `t10k` counterparts, gzipped or not."""
    folder = Path(folder)
    framing = Framing.of(size)
    images = [read_idx(folder, f"{part}-images-idx3-ubyte", 3) for part in PARTS]
    classes = [read_idx(folder, f"{part}-labels-idx1-ubyte", 1) for part in PARTS]
    for part, pictures, numbers in zip(PARTS, images, classes, strict=True):
        if len(pictures) != len(numbers):
            raise ValueError(f"{folder}: {len(pictures)} images but {len(numbers)} labels in the {part} files")
        if numbers.max(initial=0) >= len(values):
            raise ValueError(f"{folder}: {part} labels reach {numbers.max()}; expected 0 to {len(values) - 1}")
    pixels = np.concatenate(images)[..., None]
    if pixels.shape[1:3] != (framing.height, framing.width):
        pixels = resized(pixels, framing.height, framing.width)
    trained, total = len(images[0]), len(pixels)
    table = pd.DataFrame({label: [values[number] for number in np.concatenate(classes).tolist()]}).rename_axis("row")
    return assemble(
        pixels,
        parse_labels(table, str(folder), known={label: Categorical(label, tuple(values))}),
        [f"{part}-{row}" for part, pictures in zip(PARTS, images, strict=True) for row in range(len(pictures))],
        split_rows(trained, validation, 0, seed) | {"test": np.arange(trained, total)},
        name=name,
        source=str(folder),
        labelled=labelled,
        seed=seed,
    )


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Grey pictures of another size: bilinear and antialiased, as for all images, but all at once."""
    parts = [
        torch.nn.functional.interpolate(
            torch.tensor(part[:, None, :, :, 0]).float(), (height, width), mode="bilinear", antialias=True
        )
        for part in np.array_split(pixels, max(len(pixels) // BATCH, 1))
    ]
    return torch.cat([part.round().to(torch.uint8) for part in parts]).numpy().reshape(-1, height, width, 1)


def read_idx(folder: Path, name: str, axes: int) -> np.ndarray:
    """Array of an idx file of bytes, gzipped or not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another kind.
    """
    path = next((folder / f"{name}{suffix}" for suffix in ("", ".gz") if (folder / f"{name}{suffix}").exists()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no {name} or {name}.gz")
    check_regular(path)
    check_inside(folder, [path.name])
    most = limit("table_bytes")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(most + 1)
        check_limit("table_bytes", len(content), path.name)
        zero, kind, found, *shape = struct.unpack_from(f">HBB{axes}I", content)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if (zero, kind, found) != (0, 8, axes):
        raise ValueError(f"{path} is no idx file of bytes with {axes} axes")
    start = 4 + 4 * axes
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} should hold {math.prod(shape)} bytes of data but holds {len(content) - start}; is it cut short?"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
