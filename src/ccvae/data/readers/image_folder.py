"""A folder of images and a table of their labels, or one folder for each class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.findings import Delimiter
from ccvae.data.images.finding import Absent, Finder, Listed, Repeated
from ccvae.data.images.image_cache import decoded_files
from ccvae.data.missing_values import MissingValues, is_unlabelled
from ccvae.data.origin import recorded
from ccvae.data.parsing import choose_columns, parse_labels
from ccvae.data.splits import SPLIT_NAMES, groups_from, splits_from
from ccvae.data.stratification import memberships
from ccvae.data.tables.files import TABLE_SUFFIXES, TableSource, read_table
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few, text_of
from ccvae.model.inputs.decoding import Fit, Framing
from ccvae.model.inputs.files import files_of

__all__ = ["image_folder"]

Unlisted = Literal["unlabelled", "ignore", "error"]
"""What is done about images that the table does not list."""

FILE, CLASS, SPLIT = "image", "class", "split"
"""Columns of the table made from class folders."""


@recorded
def image_folder(
    folder: str | Path,
    csv: TableSource | None = None,
    *,
    id_column: str | None = None,
    labels: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    missing_values: MissingValues = None,
    delimiter: Delimiter = None,
    size: int | tuple[int, int] = 64,
    channels: Literal[1, 3] | None = None,
    fit: Fit = "stretch",
    unlisted: Unlisted = "unlabelled",
    absent: Absent = "error",
    repeated: Repeated = "error",
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    group_column: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """Images of a folder, with labels from a table; an empty cell means *not observed*.

    Without a table, folders are classes: `cat/` and `dog/` give a label "class" with these values, and images directly in the
    folder, or in one called `unlabeled/` or the like, have none. Folders called `train/`, `validation/` and `test/` above them
    are splits, and folders that all images share are passed over.

    Images are decoded once, into a cache that later calls read (see `ccvae.model.inputs.decoding` for sizes, colors,
    transparency and rotation). The cache is keyed by the files' paths, sizes and times of change: after a change of any image,
    or of which images the table lists, all are decoded again.

    Args:
        folder: contains the images, in sub-folders too.
        csv: CSV or Parquet file, or a table: one row an image (see `ccvae.data.tables.files`); None for class folders.
        id_column: column that names the images: file names with or without extension, or paths within the folder. If not
            given, the column that names most images.
        labels: label columns. If not given, all but those of ids, groups and splits; free text and constant columns are then
            left out with a note.
        exclude: columns that are no labels.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed (see `LabelSpace.infer`).
        space: labels that are known, such as a trained model's; its columns are read, nothing is guessed or fitted.
        missing_values: values that mean *not observed*, such as -1 or "Unknown": for all labels, besides empty cells and words
            such as "NA"; or by label, exactly those besides empty cells.
        delimiter: what separates findings in cells such as "Edema|Mass": each finding becomes a binary label. One text for all
            label columns, or by column; cells that are lists need none.
        size: height and width in pixels, or one number for both.
        channels: 1 for grey, 3 for color; if not given, 1 where all images are grey.
        fit: "stretch" to the size, "crop" the middle, or "pad" with black.
        unlisted: images that the table does not list are taken without labels, ignored, or an error.
        absent: rows whose image does not exist are an error, or ignored with a note.
        repeated: several rows for one image, such as of readers who disagree, are an error, or joined into shares.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of rows to validate on.
        test: number (int) or fraction (float) of rows to test on.
        group_column: column of groups, such as patients, that stay whole in one split.
        split_column: column that says train, validation or test, instead of a random split stratified by labels.
        seed: random seed of the splits and of which labels are hidden.
        name: what reports call the data; the folder's name if not given.

    Returns:
        Images `(rows, height, width, channels)`: first those of the table, in its order, then the unlisted ones.

    Raises:
        FileNotFoundError: the folder or table does not exist.
        PermissionError: something may not be read.
        ValueError: images are missing or unreadable, ids repeat, labels are unknown, constant or never observed, …
    """
    folder = Path(folder).expanduser()
    framing = Framing.of(size, fit)
    files = files_of(folder)
    notes: tuple[str, ...] = ()
    if csv is None:
        table, source, notes = table_of_folders(files, folder)
        id_column, split_column = FILE, SPLIT if SPLIT in table.columns else split_column
    else:
        table, source = read_table(csv)
    finder = Finder(files, folder)
    id_column = id_column or finder.id_column(table, source, absent, repeated)
    wanted = list(space.names) if space and labels is None else labels
    reserved = (id_column, group_column, split_column)
    chosen = choose_columns(
        table, wanted, reserved, source, delimiter=delimiter, exclude=exclude, missing_values=missing_values
    )
    listed = finder.listed(table, id_column, source, absent, repeated)
    table, cells = table.iloc[listed.rows], chosen.table.iloc[listed.rows]
    parsed = parse_labels(
        cells,
        source,
        kinds=kinds,
        space=space,
        exact=chosen.exact,
        drop_unusable=wanted is None,
    )
    parsed = parsed.joined(np.array(listed.owner))
    table = first_rows(table, listed, (group_column, split_column), source)
    rest = sorted(set(files) - set(listed.files))
    if rest:
        notes = (*notes, note_on_unlisted(rest, unlisted, group_column, source))
    if rest and unlisted == "unlabelled":
        fresh = pd.DataFrame({split_column: ["train"] * len(rest)} if split_column else {}, index=range(-len(rest), 0))
        table = pd.concat([table, fresh]).rename_axis(str(table.index.name))
        parsed = parsed.with_unlabelled(len(rest))
    else:
        rest = []
    groups = groups_from(table, group_column, source)
    splits = splits_from(
        table,
        split_column,
        groups,
        source,
        validation=validation,
        test=test,
        seed=seed,
        strata=memberships(parsed.array, parsed.space),
    )
    return assemble(
        partial(decoded_files, folder, [*listed.files, *rest], framing, channels),
        parsed,
        [*listed.ids, *rest],
        splits,
        name=name or folder.resolve().name,
        framing=framing,
        source=source,
        fit_priors=space is None,
        labelled=labelled,
        seed=seed,
        groups=groups,
        notes=(*chosen.notes, *listed.notes, *notes),
        warnings=chosen.warnings,
    )


def table_of_folders(files: Sequence[str], folder: Path) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """The table that class folders stand for, what messages call it, and notes.

    Raises:
        ValueError: there are no folders, or only one class.
    """
    paths = folders = [PurePosixPath(file).parts[:-1] for file in files]
    spelled = {spelling: split for split, spellings in SPLIT_NAMES.items() for spelling in spellings}
    columns: dict[str, list[str | None]] = {FILE: list(files)}
    paths = without_shared(paths, spelled)
    if all(parts and (parts[0].lower() in spelled or is_unlabelled(parts[0])) for parts in paths):
        columns[SPLIT] = [spelled.get(parts[0].lower(), "train") for parts in paths]
        paths = without_shared([parts[1:] if parts[0].lower() in spelled else () for parts in paths], spelled)
    classes = ["/".join(parts) for parts in paths]
    columns[CLASS] = [None if not each or is_unlabelled(each) else each for each in classes]
    found = sorted({each for each in columns[CLASS] if each is not None})
    if len(found) < 2:
        what = f"only one folder, {found[0]!r}" if found else "none"
        tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
        raise ValueError(
            f"{folder}: a folder of images needs a table of labels; name it with --data.csv (csv in Python), or sort the "
            f"images into one folder for each class: there is {what}"
            + (f". Tables in the folder: {first_few(tables)}" if tables else "")
        )
    without = sum(each is None for each in columns[CLASS])
    pairs = zip(folders, columns[CLASS], strict=True)
    others = sorted({"/".join(parts) or "none of them" for parts, each in pairs if each is None})
    note = f"classes from folders: {first_few(found)}" + (
        f"; {without} images without a class, in {first_few(others)}" if without else ""
    )
    return pd.DataFrame(columns, dtype=object).rename_axis("row"), f"folders of {folder.name}", (note,)


def without_shared(paths: Sequence[tuple[str, ...]], splits: Collection[str]) -> list[tuple[str, ...]]:
    """Paths of folders without those that all images share, such as that of an archive; splits and classes stay.

    Images without folders, and those in a folder called `unlabeled/` or the like, have no class, and share nothing.
    """
    found = list(paths)
    while True:
        classed = [parts for parts in found if parts and not is_unlabelled(parts[0])]
        first = {parts[0] for parts in classed}
        if len(first) != 1 or min(map(len, classed)) < 2 or next(iter(first)).lower() in splits:
            return found
        found = [parts[1:] if parts and parts[0] in first else parts for parts in found]


def first_rows(table: pd.DataFrame, listed: Listed, columns: Sequence[str | None], source: str) -> pd.DataFrame:
    """One row for each image; raises `ValueError` if an image's rows disagree about its group or split."""
    owner = np.array(listed.owner)
    _, first = np.unique(owner, return_index=True)
    for column in filter(None, columns):
        cells = np.array([text_of(cell) for cell in table[column].tolist()], dtype=object)
        wrong = np.flatnonzero(cells != cells[first][owner])
        if len(wrong):
            offenders = [f"{table.index.name} {table.index[row]}: {cells[row]}" for row in wrong.tolist()]
            raise ValueError(f"{source}, column {column!r}: rows of one image differ: {first_few(offenders)}")
    return table.iloc[first]


def note_on_unlisted(rest: Sequence[str], unlisted: Unlisted, group_column: str | None, source: str) -> str:
    """What is done with images that the table does not list; raises `ValueError` if that is not allowed, or not known."""
    what = f"{len(rest)} images that {source} does not list"
    if unlisted == "ignore":
        return f"{what}, ignored"
    if unlisted == "error":
        raise ValueError(f"there are {what}: {first_few(rest)}; list them, or allow them with unlisted='unlabelled'")
    if unlisted != "unlabelled":
        raise ValueError(f"unlisted must be unlabelled, ignore or error, not {unlisted!r}")
    if group_column is not None:
        raise ValueError(
            f"there are {what} ({first_few(rest)}), so that their groups are unknown; list them, or pass unlisted='ignore'"
        )
    return f"{what}, taken without labels"
