"""Images decoded once, in parallel, into a memory-mapped array; interrupted work continues where it stopped."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from ccvae.data.images.decoding_processes import IMAGES_PER_PROCESS, decoded_by_processes
from ccvae.distributed.worker_processes import useful_processes
from ccvae.labels.cells import first_few
from ccvae.model.inputs.decoding import UNREADABLE, Framing, Header, decode, header_of, reason
from ccvae.storage.cache import built_once
from ccvae.storage.links import check_inside

__all__ = ["decoded", "decoded_files"]

FORMAT = 3  # of the cache; to be raised whenever the same file would give other pixels
BATCH = 1024

Result = TypeVar("Result")


def decoded_files(
    folder: Path, files: Sequence[str], framing: Framing, channels: int | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels of image files, from the cache or decoded into it (see `decoded`).

    Args:
        folder: where the files are.
        files: paths within the folder.
        framing: how images are brought to one size.
        channels: 1 or 3; None for 1 if all images are grey, else 3.

    Raises:
        ValueError: a link leads out of the folder, or see `decoded`.
    """
    check_inside(folder, files)
    stamps = stamps_of(folder, files)

    def check_unchanged() -> None:
        if stamps_of(folder, files) != stamps:
            raise ValueError(f"images in {folder} changed while they were read; try again when nothing writes to them")

    key = [str(folder.resolve()), stamps]
    return decoded(files, lambda row: folder / files[row], framing, channels, str(folder), key, check_unchanged, on_disk=True)


def decoded(
    names: Sequence[str],
    file_of: Callable[[int], Path | IO[bytes]],
    framing: Framing,
    channels: int | None,
    source: str,
    key: Any,
    finish: Callable[[], None] = lambda: None,
    on_disk: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels of images, from the cache or decoded into it.

    Args:
        names: what messages call the images.
        file_of: the file of an image by its position, to read from the start.
        framing: how images are brought to one size.
        channels: 1 or 3; None for 1 if all images are grey, else 3.
        source: what messages call where the images are.
        key: JSON value that changes whenever the images change; part of the cache key.
        finish: called when all is decoded, to raise if it cannot be trusted.
        on_disk: whether `file_of` gives paths only, so that several processes can decode.

    Returns:
        uint8 `(images, height, width, channels)`, a read-only memory map; and notes for people.

    Raises:
        ValueError: images cannot be read, or arguments make no sense.
        OSError: the cache cannot be written, for example because the disk is full.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    settings = [FORMAT, asdict(framing), channels, key]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]

    def build(fresh: Path) -> None:
        about = fresh / "about.json"
        if not about.exists():
            attempts = read_by_threads(range(len(names)), lambda row: header_or_none(file_of, row))
            headers = [header for header in read_all(names, 0, attempts, source, "reading headers") if header is not None]
            sizes = Counter(header.size for header in headers)
            found = {
                "channels": channels or (1 if all(header.grey for header in headers) else 3),
                "sizes": [[*size, count] for size, count in sizes.most_common()],
            }
            part = fresh / "about.part"
            part.write_text(json.dumps(found), encoding="utf-8")
            part.replace(about)
        count: int = json.loads(about.read_text(encoding="utf-8"))["channels"]

        def rows_from(start: int) -> Iterator[np.ndarray]:
            rows = range(start, len(names))
            processes = useful_processes(len(rows), IMAGES_PER_PROCESS) if on_disk else 1
            attempts = (
                read_by_threads(rows, lambda row: decode(file_of(row), framing, count))
                if processes == 1
                else decoded_by_processes([Path(str(file_of(row))) for row in rows], framing, count, processes)
            )
            return read_all(names, start, attempts, source, "decoding images")

        write_array(fresh / "images.npy", (len(names), framing.height, framing.width, count), rows_from)
        finish()

    folder = built_once(f"images-{digest}", build, resumable=True)
    images: np.ndarray = np.load(folder / "images.npy", mmap_mode="r")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return images, (note_on_sizes(about["sizes"], framing),)


def header_or_none(file_of: Callable[[int], Path | IO[bytes]], row: int) -> Header | None:
    """Header of an image; None if it is broken, which decoding will say, together with all that decoding alone can find."""
    try:
        return header_of(file_of(row))
    except UNREADABLE:
        return None


def read_by_threads(rows: Sequence[int], read: Callable[[int], Result]) -> Iterator[Result | str]:
    """What a function reads of images in their order, or why one cannot be read, by threads."""
    Image.init()  # now, rather than by several threads at once

    def attempt(row: int) -> Result | str:
        try:
            return read(row)
        except UNREADABLE as error:
            return reason(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(rows), BATCH):  # not all at once, for what is read waits in memory to be taken
            yield from pool.map(attempt, rows[first : first + BATCH])


def read_all(names: Sequence[str], start: int, attempts: Iterator[Result | str], source: str, what: str) -> Iterator[Result]:
    """What was read of every image from `start` on, with a progress bar called `what`.

    After the first unreadable image nothing more is yielded, but all images are tried, so that the error can name them.

    Raises:
        ValueError: after the last image, if any could not be read; the first few are named.
    """
    unreadable, total = [], len(names)
    with tqdm(total=total, initial=start, desc=what, unit=" images", disable=None) as bar:
        for row, result in enumerate(attempts, start):
            bar.update()
            if isinstance(result, str):
                unreadable.append(f"{names[row]}: {result}")
            elif not unreadable:
                yield result
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {total} images in {source} cannot be read: {first_few(unreadable)}; "
            f"repair them, or leave them out of the images and the table"
        )


def write_array(path: Path, shape: tuple[int, ...], rows_from: Callable[[int], Iterable[np.ndarray]]) -> None:
    """Write rows of uint8 as a NumPy file of the given shape, after those that an interrupted call wrote.

    How many rows are safe on the disk is noted in a file beside it, which is removed at the end.

    Args:
        path: the file.
        shape: of the whole array.
        rows_from: the rows from a position on.

    Raises:
        OSError: there is no room for them.
    """
    row_size = math.prod(shape[1:])
    note = path.with_suffix(".rows")
    done = int(note.read_text(encoding="utf-8")) if note.exists() else 0
    needed = (shape[0] - done) * row_size
    room = shutil.disk_usage(path.parent).free
    if needed > room:
        raise no_room(path, needed, f"only {room / 1e6:,.0f} MB are free")
    try:
        with path.open("r+b" if done else "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.seek(done * row_size, os.SEEK_CUR)
            file.truncate()
            for row in rows_from(done):
                file.write(row.tobytes())
                done += 1
                if done % BATCH == 0:
                    file.flush()
                    os.fsync(file.fileno())
                    note.write_text(str(done), encoding="utf-8")
    except OSError as error:
        raise no_room(path, needed, str(error)) from error
    note.unlink(missing_ok=True)


def no_room(path: Path, needed: int, why: str) -> OSError:
    """Error that says what the cache needs."""
    return OSError(
        f"cannot write {needed / 1e6:,.0f} MB to the cache folder {path.parent.parent}: {why}; make room, "
        f"or name another folder in the environment variable CCVAE_CACHE"
    )


def stamps_of(folder: Path, files: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of files."""
    found = [(folder / file).stat() for file in files]
    return [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, found, strict=True)]


def note_on_sizes(sizes: Sequence[tuple[int, int, int]], framing: Framing) -> str:
    """What was done to images of these widths, heights and counts."""
    if [(*size[:2],) for size in sizes] == [(framing.width, framing.height)] and not framing.square:
        return f"all images are {framing.width}×{framing.height}"
    if len(sizes) == 1:
        return f"all images are {sizes[0][0]}×{sizes[0][1]}, {framing}"
    shown = first_few([f"{count} of {wide}×{high}" for wide, high, count in sizes])
    return f"images of {len(sizes)} sizes ({shown}), {framing}"
