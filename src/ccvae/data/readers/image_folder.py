"""A folder of images and a table of their labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from ccvae.data.assembly import assemble, chosen_columns, groups_from, splits_from
from ccvae.data.dataset import Dataset
from ccvae.data.images.decoding import Fit, Framing
from ccvae.data.images.image_cache import decoded_files
from ccvae.data.tables.files import TableSource, read_table
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few, is_missing, text_of

__all__ = ["image_folder", "with_images"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
LEAST_SHARE_OF_IDS = 0.5


def image_folder(
    folder: str | Path,
    csv: TableSource,
    *,
    id_column: str | None = None,
    labels: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    size: int | tuple[int, int] = 64,
    channels: Literal[1, 3] | None = None,
    fit: Fit = "stretch",
    unlisted: Literal["unlabelled", "ignore", "error"] = "unlabelled",
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    group_column: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """Images of a folder, with labels from a table; an empty cell of it means *not observed*.

    Images are decoded once, into a cache that later calls read at once (see `ccvae.data.images.decoding` for what happens
    to sizes,
    colours, transparency and rotation). The cache is keyed by the files' paths, sizes and times of change: after a change
    of any image, or of which images the table lists, they are decoded anew.

    Args:
        folder: holds the images, in sub-folders too.
        csv: CSV or Parquet file, or a table: one row an image (see `ccvae.data.tables.files`).
        id_column: column that names the images: file names with or without extension, or paths within the folder. If not
            given, the column that names most images.
        labels: label columns; if not given, all but those of ids, groups and splits.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed (see `LabelSpace.infer`).
        space: labels as they are known already, such as a trained model's; its columns are read, nothing is guessed or fitted.
        size: height and width in pixels that images are brought to, or one number for both.
        channels: 1 for grey, 3 for colour; if not given, 1 where all images are grey.
        fit: "stretch" to the size, "crop" the middle, or "pad" with black.
        unlisted: images that the table does not list are taken without labels, ignored, or an error.
        labelled: hide the labels of all training rows but so many, or but such a share.
        validation: how many rows, or which share of them, to validate on.
        test: how many rows, or which share of them, to test on.
        group_column: column of what must not be torn apart by splits, such as patients.
        split_column: column that says train, validation or test, instead of a random split.
        seed: what decides the splits and which labels are hidden.
        name: what reports call the data; the folder's name if not given.

    Returns:
        Images `(rows, height, width, channels)`: first those of the table, in its order, then the unlisted ones.

    Raises:
        FileNotFoundError: the folder or table is not there.
        PermissionError: something may not be read.
        ValueError: images are missing or unreadable, ids repeat, labels are unknown, constant or never observed, …
    """
    folder = Path(folder)
    framing = Framing.of(size, fit)
    table, source = read_table(csv)
    files = files_of(folder)
    finder = Finder(files, folder)
    id_column = id_column or finder.id_column(table, source)
    wanted = list(space.names) if space and labels is None else labels
    chosen = chosen_columns(table, wanted, (id_column, group_column, split_column), source)
    ids, listed = finder.listed(table, id_column, source)
    notes = [f"{len(listed)} images listed by column {id_column!r} of {source}"]
    rest = sorted(set(files) - set(listed))
    if rest:
        notes.append(note_on_unlisted(rest, unlisted, group_column, source))
    if rest and unlisted == "unlabelled":
        fresh = pd.DataFrame({split_column: ["train"] * len(rest)} if split_column else {}, index=range(-len(rest), 0))
        row_name = str(table.index.name)
        table = pd.concat([table, fresh]).rename_axis(row_name)
        chosen = chosen.reindex(table.index)
        ids, listed = [*ids, *rest], [*listed, *rest]
    groups = groups_from(table, group_column, source)
    splits = splits_from(table, split_column, groups, source, validation=validation, test=test, seed=seed)
    draft = assemble(
        None,
        chosen,
        ids,
        splits,
        name=name or folder.resolve().name,
        source=source,
        kinds=kinds,
        space=space,
        labelled=labelled,
        seed=seed,
        groups=groups,
    )
    return with_images(draft, folder, listed, framing, channels, notes)


def with_images(
    draft: Dataset, folder: Path, files: Sequence[str], framing: Framing, channels: int | None, notes: Sequence[str] = ()
) -> Dataset:
    """Data whose labels are checked already, with the images of a folder in place of the stand-ins."""
    inputs, found = decoded_files(folder, files, framing, channels)
    return replace(draft, inputs=inputs, notes=(*draft.notes, *notes, *found))


def note_on_unlisted(rest: Sequence[str], unlisted: str, group_column: str | None, source: str) -> str:
    """What is done with images that the table does not list; raises `ValueError` if that is not allowed, or not known."""
    what = f"{len(rest)} images that {source} does not list"
    if unlisted == "ignore":
        return f"{what}, ignored"
    if unlisted == "error":
        raise ValueError(f"there are {what}: {first_few(rest)}; list them, or allow them with unlisted")
    if unlisted != "unlabelled":
        raise ValueError(f"unlisted must be unlabelled, ignore or error, not {unlisted!r}")
    if group_column is not None:
        raise ValueError(
            f"there are {what} ({first_few(rest)}), so that their groups are unknown; list them, or pass unlisted='ignore'"
        )
    return f"{what}, taken without labels"


def files_of(folder: Path) -> list[str]:
    """Images in a folder and its sub-folders: sorted paths within it, with slashes.

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: it, or a folder in it, may not be read.
        ValueError: there is no image in it.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder of images")

    def refuse(error: OSError) -> None:
        raise PermissionError(f"cannot read the folder {error.filename} ({error.strerror}); its permissions must allow it")

    files, others = [], Counter[str]()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in names:
            suffix = Path(name).suffix.lower()
            if name.startswith(".") or suffix not in IMAGE_SUFFIXES:
                others[suffix or name] += 1
            else:
                files.append(Path(parent, name).relative_to(folder).as_posix())
    if not files:
        found = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5)) or "nothing"
        raise ValueError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); it holds {found}")
    return sorted(files)


class Finder:
    """Finds the file that an id names.

    An id is a path within the folder, or only a file's name; the extension may be left out of either.

    Args:
        files: paths within the folder, with slashes.
        folder: the folder.
    """

    def __init__(self, files: Sequence[str], folder: Path) -> None:
        self.files = frozenset(files)
        self.prefixes = (f"{folder.resolve().as_posix()}/", f"{folder.as_posix()}/", f"{folder.resolve().name}/", "./")
        self.named: dict[str, list[str]] = {}
        for file in files:
            path = PurePosixPath(file)
            for key in {str(path.with_suffix("")), path.name, path.stem}:
                self.named.setdefault(key, []).append(file)

    def matches(self, cell: object) -> list[str]:
        """Files that a cell may mean."""
        text = text_of(cell).replace("\\", "/")
        if text in self.files:
            return [text]
        if text in self.named:
            return self.named[text]
        inner = next((text.removeprefix(prefix) for prefix in self.prefixes if text.startswith(prefix)), None)
        return [] if inner is None else self.matches(inner)

    def id_column(self, table: pd.DataFrame, source: str) -> str:
        """The column of a table that names most of the files, the first such.

        Raises:
            ValueError: no column names a file in half of its rows or more.
        """
        found = {
            column: len({file for cell in table[column].tolist() for file in self.matches(cell)[:1]})
            for column in table.columns
        }
        best = max(found, key=found.__getitem__)
        if found[best] < LEAST_SHARE_OF_IDS * len(table):
            raise ValueError(
                f"{source}: no column names the images; the nearest, {best!r}, names {found[best]} of {len(self.files)} in "
                f"{len(table)} rows. Its cells look like {first_few([repr(cell) for cell in table[best].tolist()[:2]])}, "
                f"the images like {first_few([repr(file) for file in sorted(self.files)[:2]])}; name the column with id_column"
            )
        return str(best)

    def listed(self, table: pd.DataFrame, column: str, source: str) -> tuple[list[str], list[str]]:
        """Ids of a table's rows, and the files that they name.

        Raises:
            ValueError: an id is empty, repeated, or names no file or several.
        """
        ids, files = [], []
        empty, absent, unclear = [], [], []
        rows_of: dict[str, list[str]] = {}
        for index, cell in zip(table.index, table[column].tolist(), strict=True):
            row = f"{table.index.name} {index}"
            found = self.matches(cell)
            if is_missing(cell) and not found:
                empty.append(row)
            elif not found:
                absent.append(f"{row}: {text_of(cell)}")
            elif len(found) > 1:
                unclear.append(f"{row}: {text_of(cell)} may be {' or '.join(found[:3])}")
            else:
                ids.append(text_of(cell))
                files.append(found[0])
                rows_of.setdefault(found[0], []).append(row)
        repeated = [f"{file} in {' and '.join(rows[:3])}" for file, rows in rows_of.items() if len(rows) > 1]
        for offenders, what in (
            (empty, "ids are missing"),
            (absent, "images are missing"),
            (unclear, "ids name several images; give paths within the folder"),
            (repeated, "images are listed more than once"),
        ):
            if offenders:
                raise ValueError(f"{source}, column {column!r}: {what}: {first_few(offenders)}")
        return ids, files
