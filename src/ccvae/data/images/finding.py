"""Which image files of a folder a table's cells name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import pandas as pd

from ccvae.labels.cells import first_few, is_missing, text_of
from ccvae.model.inputs.files import IMAGE_SUFFIXES, other_formats

__all__ = ["Absent", "Finder", "Listed", "Repeated"]

LEAST_FRACTION_OF_IDS = 0.5

Absent = Literal["error", "ignore"]
"""What is done about rows whose image does not exist."""

Repeated = Literal["error", "join"]
"""What is done about several rows that name one image: an error, or joined into one row of shares."""


@dataclass(frozen=True)
class Listed:
    """The images that a table's rows name.

    Args:
        rows: positions of the rows whose image exists.
        ids: the first such row's id for each image.
        files: paths of the images, each once, in the order of the table.
        owner: for each of `rows`, the position in `files` of its image.
        notes: what was decided, in sentences for people.
    """

    rows: list[int]
    ids: list[str]
    files: list[str]
    owner: list[int]
    notes: tuple[str, ...]


class Finder:
    """Finds the file that an id names.

    An id is a path within the folder, or only a file's name; the extension may be left out of either.

    Args:
        files: paths within the folder, with slashes.
        folder: the folder.
    """

    def __init__(self, files: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self.files = frozenset(files)
        self.prefixes: tuple[str, ...] = (
            f"{folder.resolve().as_posix()}/",
            f"{folder.as_posix()}/",
            f"{folder.resolve().name}/",
            "./",
        )
        self.named: dict[str, list[str]] = {}
        for file in files:
            path = PurePosixPath(file)
            exact = {str(path.with_suffix("")), path.name, path.stem}
            for key in exact | {each.lower() for each in (*exact, file)}:
                self.named.setdefault(key, []).append(file)

    def matches(self, cell: object) -> list[str]:
        """Files that a cell may mean."""
        text = text_of(cell).replace("\\", "/")
        if text in self.files:
            return [text]
        found = self.named.get(text) or self.named.get(text.lower())
        if found:
            return found
        inner = next((text.removeprefix(prefix) for prefix in self.prefixes if text.startswith(prefix)), None)
        return [] if inner is None else self.matches(inner)

    def pass_over_common_folders(self, cells: Sequence[object]) -> None:
        """Ignore the folders that all cells begin with, where they were written on another machine, or are addresses."""
        paths = [text_of(cell).replace("\\", "/") for cell in cells if not is_missing(cell)]
        folders = [path.split("/")[:-1] for path in paths]
        same = list(takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False)))
        common = "/".join(parts[0] for parts in same)
        if common and len(paths) > 1:
            self.prefixes = (*self.prefixes, f"{common}/")

    def files_named(self, cells: pd.Series) -> set[str]:
        """Files that cells name, one for each cell."""
        return {file for cell in cells.tolist() for file in self.matches(cell)[:1]}

    def id_column(self, table: pd.DataFrame, source: str, absent: Absent = "error", repeated: Repeated = "error") -> str:
        """The column of a table that names most of the files, the first of those.

        Raises:
            ValueError: no column names a file in half of its rows or more (in any row, where absent images are ignored).
        """
        found = {column: len(self.files_named(table[column])) for column in table.columns}
        best = max(found, key=found.__getitem__)
        if not found[best]:
            for column in table.columns:
                self.pass_over_common_folders(table[column].tolist())
            found = {column: len(self.files_named(table[column])) for column in table.columns}
            best = max(found, key=found.__getitem__)
        lost = [str(column) for column in table.columns if PurePosixPath(str(column)).suffix.lower() in IMAGE_SUFFIXES]
        if not lost and self.matches(best) and not {*self.matches(best)} & {*self.files_named(table[best])}:
            lost = [str(best)]
        if lost:
            raise ValueError(
                f"{source}: the first line, with {lost[0]!r}, looks like a row; add a line above it that names the columns, "
                f"such as image,label"
            )
        rows = found[best] if repeated == "error" else sum(bool(self.matches(cell)) for cell in table[best].tolist())
        if rows < (1 if absent == "ignore" else LEAST_FRACTION_OF_IDS * len(table)):
            several = len({text_of(cell) for cell in table[best].tolist()}) < LEAST_FRACTION_OF_IDS * len(table)
            raise ValueError(
                f"{source}: no column names the images; the nearest, {best!r}, names {found[best]} of {len(self.files)} in "
                f"{len(table)} rows. Its cells look like {first_few([repr(cell) for cell in table[best].tolist()[:2]])}, "
                f"the images like {first_few([repr(file) for file in sorted(self.files)[:2]])}; name the column with id_column"
                + ("" if found[best] == 0 else ", or ignore rows without an image with absent='ignore'")
                + (", or join rows of one image with repeated='join'" if several and found[best] else "")
            )
        return str(best)

    def lost_zeros(self, cells: Sequence[object]) -> str:
        """What is said where ids lost the zeros at their start, as they do when a table is read as numbers; or nothing."""
        stems = {PurePosixPath(file).stem for file in self.files}
        widths = {len(stem) for stem in stems if stem.isdigit()}
        texts = [text_of(cell) for cell in cells if not self.matches(cell)]
        lost = [text for text in texts if text.isdigit() and any(text.zfill(width) in stems for width in widths)]
        if not lost:
            return ""
        return "; they seem to have lost the zeros at their start: read the table with dtype=str, or pass its path"

    def listed(
        self, table: pd.DataFrame, column: str, source: str, absent: Absent = "error", repeated: Repeated = "error"
    ) -> Listed:
        """The images that a table's rows name.

        Raises:
            ValueError: an id is empty, names no file or several, or a file is named twice, unless that is allowed.
        """
        for argument, value, allowed in (("absent", absent, get_args(Absent)), ("repeated", repeated, get_args(Repeated))):
            if value not in allowed:
                raise ValueError(f"{argument} must be {' or '.join(allowed)}, not {value!r}")
        empty, missing, unclear = [], [], []
        rows: list[int] = []
        ids: dict[str, str] = {}
        rows_of: dict[str, list[int]] = {}
        for number, (index, cell) in enumerate(zip(table.index, table[column].tolist(), strict=True)):
            row = f"{table.index.name} {index}"
            found = self.matches(cell)
            if is_missing(cell) and not found:
                empty.append(row)
            elif not found:
                missing.append(f"{row}: {text_of(cell)}")
            elif len(found) > 1:
                unclear.append(f"{row}: {text_of(cell)} may be {' or '.join(found[:3])}")
            else:
                rows.append(number)
                ids.setdefault(found[0], text_of(cell))
                rows_of.setdefault(found[0], []).append(number)
        several = {file: numbers for file, numbers in rows_of.items() if len(numbers) > 1}
        shown = [
            f"{file} in {' and '.join(f'{table.index.name} {table.index[n]}' for n in ns[:3])}" for file, ns in several.items()
        ]
        for offenders, what, remedy in (
            (empty, "ids are missing", "; fill them, or leave these rows out"),
            (missing if absent == "error" else [], "images are missing", "; ignore these rows with absent='ignore'"),
            (unclear, "ids name several images; give paths within the folder", ""),
            (
                shown if repeated == "error" else [],
                "images are listed more than once",
                "; join the rows of an image, such as of readers who disagree, with repeated='join'",
            ),
        ):
            if offenders:
                if offenders is missing:
                    names = [each.partition(": ")[2] for each in missing]
                    remedy = self.lost_zeros(table[column].tolist()) or other_formats(self.folder, names) or remedy
                raise ValueError(f"{source}, column {column!r}: {what}: {first_few(offenders)}{remedy}")
        if not rows:
            raise ValueError(f"{source}, column {column!r}: not one of {len(missing)} listed images exists")
        notes = [f"{len(rows_of)} images listed by column {column!r} of {source}"]
        if missing:
            other = other_formats(self.folder, [each.partition(": ")[2] for each in missing])
            notes.append(f"{len(missing)} rows of {source} whose image does not exist, ignored{other}")
        if several:
            notes.append(f"{len(several)} images have several rows, joined into shares")
        position = {file: number for number, file in enumerate(rows_of)}
        owner_of = {number: position[file] for file, numbers in rows_of.items() for number in numbers}
        return Listed(rows, [ids[file] for file in rows_of], list(rows_of), [owner_of[number] for number in rows], tuple(notes))
