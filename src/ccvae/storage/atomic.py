"""Atomic writes: a temporary file beside the path to write, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccvae.storage.files import kind_of

__all__ = ["NO_SPACE", "check_space", "check_writable", "disk_is_full", "flush", "machine_name", "writing"]

PARTIAL = re.compile(r"\..+\.(?P<machine>[A-Za-z0-9-]*)\.(?P<process>\d+)\.partial")
"""Names of temporary files: the file that is written, and the machine and process that write it."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
LITTLE_SPACE = 2**16
"""Free bytes below which a writer's error without a reason is taken for a full disk."""


@contextmanager
def writing(path: Path, *, size: int | None = None, durable: bool = True) -> Iterator[Path]:
    """Temporary path beside `path`, renamed to it when the block ends without an error.

    At any moment, and after a power cut, `path` is either the old file or the new one, whole. The temporary file is in the same
    folder, so the rename never crosses file systems. The folder is created if it does not exist. After an error, the temporary
    file is removed and `path` is unchanged. Temporary files that killed processes left in the folder are removed.

    Args:
        path: the file to write.
        size: number of bytes that will be written, if known: checked against the free space first.
        durable: flush to disk before and after the rename. Without it, writing many small files is faster, but a power cut may
            lose the last ones.

    Raises:
        OSError: the file cannot be written; if space is missing, the message says how much.
        ValueError: what is at `path` is no file: a folder, a pipe or a device, which the file would replace.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if durable:
        remove_abandoned(path.parent)
    if size is not None:
        check_space(path, size)
    partial = path.with_name(f".{path.name}.{machine_name()}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # a stranger's run folder may have a link of this name
    try:
        yield partial
        if durable:
            flush(partial)
        partial.replace(path)
        if durable:
            flush(path.parent)
    except (OSError, RuntimeError) as error:
        if not disk_is_full(error, path.parent):
            raise
        written = partial.stat().st_size if partial.exists() else 0
        needed = f"it needs {size:,} bytes" if size is not None else f"it failed after {written:,} bytes"
        raise OSError(errno.ENOSPC, f"no space to write {path}: {needed}; free some space, or write elsewhere") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether an error in writing to a folder is for lack of space: some of torch's and NumPy's give no reason."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_SPACE
    return shutil.disk_usage(folder).free < LITTLE_SPACE


def check_replaceable(path: Path, folder: bool = False) -> None:
    """Raise `ValueError` if there is something at a path that a file must not replace: a folder, a pipe, a device, a socket.

    Args:
        path: the path.
        folder: whether a folder may be there.
    """
    found = kind_of(path)
    if path.is_symlink() and str(path.readlink()).startswith("/proc/"):  # /dev/stdout, whatever it is just now
        found = "a stream of this process"
    if found not in (None, "a file", *(["a folder"] if folder else [])):
        raise ValueError(f"cannot write {path}: it is {found}, which a file would replace; name another file")


def check_writable(path: Path, folder: bool = True) -> None:
    """Raise an error if a file or folder cannot be created at a path, or a folder there cannot be written to.

    Nothing is created. Call it before work whose results are written there.

    Args:
        path: the path.
        folder: whether a folder may be there, because files are written into it.

    Raises:
        OSError: nothing can be written there.
        ValueError: a pipe, a device or the like is there; or a folder, where a file will be written.
    """
    check_replaceable(path, folder)
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() and place == path:  # a file, which will be replaced
        place = path.parent
    if not place.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {place} is a file and no folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror} in {place}") from None


def check_space(path: Path, size: int) -> None:
    """Raise `OSError` if the disk of a path, whose folder exists, has less than `size` bytes left."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"no space to write {path}: it needs {size:,} bytes, and {free:,} are free; free some, or write elsewhere",
        )


def flush(path: Path) -> None:
    """Flush a file or a folder's list of files to disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and keeps their lists by itself
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)


def machine_name() -> str:
    """This machine's name, as file names may have it: process numbers differ only within one machine."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files in a folder whose processes, of this machine, do not run any more."""
    for entry in os.scandir(folder):
        found = PARTIAL.fullmatch(entry.name)
        if found and found["machine"] == machine_name() and not runs(int(found["process"])):
            with suppress(OSError):
                Path(entry.path).unlink()


def runs(process: int) -> bool:
    """Whether a process of this machine runs; always true on Windows, where asking is not safe."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user, or the number is none of a process
        return True
    return True
