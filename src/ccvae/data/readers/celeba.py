"""CelebA in its published layout: 202,599 aligned faces with 40 attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.images.finding import Absent
from ccvae.data.images.image_cache import decoded_files
from ccvae.data.origin import recorded
from ccvae.data.parsing import parse_labels
from ccvae.data.splits import SPLITS
from ccvae.data.tables.files import read_table, text_of_file
from ccvae.labels import Binary
from ccvae.labels.cells import first_few
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.decoding import Framing
from ccvae.model.inputs.files import remedy_for
from ccvae.storage.links import check_inside

__all__ = ["PAPER_ATTRIBUTES", "celeba", "present_rows"]

PAPER_ATTRIBUTES = (
    "Arched_Eyebrows", "Bags_Under_Eyes", "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Chubby",
    "Eyeglasses", "Heavy_Makeup", "Male", "No_Beard", "Pale_Skin", "Receding_Hairline", "Smiling", "Wavy_Hair",
    "Wearing_Necktie", "Young",
)  # fmt: skip
"""The 18 attributes of the paper's experiments."""

IMAGE_FOLDERS = (
    "img_align_celeba",
    "img_align_celeba/img_align_celeba",
    "Img/img_align_celeba",
    "Img/img_align_celeba/img_align_celeba",
    "img_align_celeba_png",
    "Img/img_align_celeba_png",
)
ATTRIBUTE_FILES = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION_FILES = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")


@recorded
def celeba(
    folder: str | Path,
    *,
    attributes: Literal["paper", "all"] | Sequence[str] = "paper",
    size: int | tuple[int, int] = 64,
    square: int | None = None,
    absent: Absent = "error",
    labelled: int | float | None = None,
    seed: int = 0,
    name: str = "CelebA",
) -> Dataset:
    """CelebA's aligned faces (178×218), in the official partition.

    Args:
        folder: holds `img_align_celeba/`, `list_attr_celeba.txt` and `list_eval_partition.txt`, side by side or in the folders
            `Img`, `Anno` and `Eval`; or the same as CSV files.
        attributes: the paper's 18, all 40, or names.
        size: height and width in pixels, or one number for both. As in the paper, the whole image is stretched to it.
        square: side in pixels of a square that is cut from the middle first, such as 148, which keeps the proportions.
        absent: rows whose image does not exist are an error, or ignored with a note.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        seed: random seed of which labels are hidden.
        name: what reports call the data.

    Returns:
        One binary label an attribute, 1 where the file says 1 and 0 where it says -1.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not as published, or an image is missing or unreadable.
    """
    folder = unpacked(Path(folder).expanduser(), IMAGE_FOLDERS)
    framing = Framing.of(size, "stretch", square)
    images = folder_of_images(folder)
    table, source = published_table(found_in(folder, ATTRIBUTE_FILES))
    names = attribute_names(attributes, table, source)
    coded = (table[list(names)] == "1").astype(np.int8)
    partition, partition_source = published_table(found_in(folder, PARTITION_FILES), ("partition",))
    files = table.index.tolist()
    if partition.index.tolist() != files:
        raise ValueError(f"{source} and {partition_source} do not list the same images in the same order")
    found = {path.name for path in images.iterdir()}
    if found.isdisjoint(files) and f"{files[0].partition('.')[0]}.png" in found:  # the published PNGs are listed as JPEGs
        files = [f"{file.partition('.')[0]}.png" for file in files]
    present, notes = present_rows([file in found for file in files], files, source, images, absent)
    files = [files[row] for row in present.tolist()]
    splits = official_splits(partition["partition"].iloc[present], partition_source)
    data = assemble(
        partial(decoded_files, images, files, framing, 3),
        parse_labels(
            coded.iloc[present].rename_axis("image"),
            source,
            known={attribute: Binary(attribute) for attribute in names},
        ),
        files,
        splits,
        name=name,
        framing=framing,
        source=source,
        labelled=labelled,
        seed=seed,
        notes=notes,
    )
    return replace(data, mirrored=True)


def unpacked(folder: Path, wanted: Sequence[str]) -> Path:
    """The folder of a published data set: the one that is named, or the only one in it, where an archive brought its own."""
    if any((folder / name).exists() for name in wanted) or not folder.is_dir():
        return folder
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and any((path / name).exists() for name in wanted)]
    if len(inner) != 1:
        return folder
    check_inside(folder, [inner[0].name])
    return inner[0]


def folder_of_images(folder: Path) -> Path:
    """The folder that contains the images; as Kaggle packs them, it lies in another of the same name."""
    candidates = [folder / candidate for candidate in IMAGE_FOLDERS if (folder / candidate).is_dir()]
    if not candidates:
        packed = sorted(path.name for path in folder.glob("*") if path.suffix.lower() in (".zip", ".7z", ".tar", ".gz"))
        advice = f"; it holds {first_few(packed)}: {remedy_for(packed[0])}" if packed else ""
        raise FileNotFoundError(f"{folder} holds none of {', '.join(IMAGE_FOLDERS)}{advice}")
    found = next(
        (path for path in candidates if any(file.suffix.lower() in (".jpg", ".png") for file in path.iterdir())), candidates[0]
    )
    check_inside(folder, [found.relative_to(folder).as_posix()])
    return found


def present_rows(
    found: Sequence[bool], files: Sequence[str], source: str, folder: Path, absent: Absent
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows of a published table whose image exists, and notes.

    Raises:
        ValueError: images are missing, unless that is allowed, or all of them are.
    """
    present = np.flatnonzero(found)
    missing = [file for file, exists in zip(files, found, strict=True) if not exists]
    if absent not in get_args(Absent):
        raise ValueError(f"absent must be {' or '.join(get_args(Absent))}, not {absent!r}")
    if missing and (absent == "error" or not len(present)):
        remedy = "not one listed image is there" if not len(present) else "ignore these rows with absent='ignore'"
        raise ValueError(f"images that {source} names are not in {folder}: {first_few(missing)}; {remedy}")
    return present, (f"{len(missing)} rows of {source} whose image does not exist, ignored",) if missing else ()


def found_in(folder: Path, candidates: Sequence[str]) -> Path:
    """The first of several paths that a folder holds; raises `FileNotFoundError` naming all."""
    for candidate in candidates:
        if (folder / candidate).exists():
            check_inside(folder, [candidate])
            return folder / candidate
    raise FileNotFoundError(f"{folder} holds none of {', '.join(candidates)}")


def published_table(path: Path, columns: Sequence[str] | None = None) -> tuple[pd.DataFrame, str]:
    """A list of CelebA as a table of texts, indexed by image.

    Args:
        path: a text file with blanks between its cells, whose first line may count the rows; or a CSV file.
        columns: names of the columns, if the text file has no line of them.
    """
    if path.suffix == ".csv":
        table, _ = read_table(path)
        return table.set_index(table.columns[0]), path.name
    lines = text_of_file(path).splitlines()
    offset, expected = 1, None
    if columns is None:
        if len(lines) < 2 or not lines[0].strip().isdigit():
            raise ValueError(f"{path.name}: expected the number of images in the first line and attributes in the second")
        expected, columns, offset = int(lines[0]), lines[1].split(), 3
    rows = [line.split() for line in lines[offset - 1 :] if line.strip()]
    ragged = [f"line {number} has {len(row)}" for number, row in enumerate(rows, offset) if len(row) != len(columns) + 1]
    if ragged:
        raise ValueError(f"{path.name}: expected an image and {len(columns)} values a line, but {first_few(ragged)} cells")
    if expected is not None and len(rows) != expected:
        raise ValueError(
            f"{path.name}: the first line counts {expected} images, but {len(rows)} follow; is the file cut short?"
        )
    index = pd.Index([row[0] for row in rows], name="image")
    return pd.DataFrame([row[1:] for row in rows], columns=pd.Index(columns), index=index, dtype=object), path.name


def attribute_names(attributes: str | Sequence[str], table: pd.DataFrame, source: str) -> tuple[str, ...]:
    """Names of the attributes that are asked for, which must be there and hold -1 and 1."""
    known = [str(column) for column in table.columns]
    if isinstance(attributes, str):
        if attributes not in ("paper", "all"):
            raise ValueError(f"attributes must be 'paper', 'all' or a list of names, not {attributes!r}")
        attributes = PAPER_ATTRIBUTES if attributes == "paper" else known
    absent = [attribute for attribute in attributes if attribute not in known]
    if absent:
        shown = first_few([f"{name!r}{did_you_mean(name, known)}" for name in absent])
        raise ValueError(
            f"{source} has no attribute {shown}; it has {', '.join(known)}. Choose with attributes='all', or a list of names"
        )
    for attribute in attributes:
        wrong = table[attribute][~table[attribute].isin(["1", "-1"])]
        if len(wrong):
            offenders = first_few([f"{image}: {cell}" for image, cell in wrong.items()])
            raise ValueError(f"{source}, attribute {attribute}: expected 1 or -1, found {offenders}")
    return tuple(attributes)


def official_splits(partition: pd.Series[str], source: str) -> dict[str, np.ndarray]:
    """Splits from numbers 0, 1 and 2."""
    wrong = partition[~partition.isin(["0", "1", "2"])]
    if len(wrong):
        raise ValueError(
            f"{source}: expected 0, 1 or 2, found {first_few([f'{image}: {cell}' for image, cell in wrong.items()])}"
        )
    return {split: np.flatnonzero(partition == str(number)) for number, split in enumerate(SPLITS)}
