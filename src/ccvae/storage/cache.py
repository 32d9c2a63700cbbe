"""The cache: folders that are built once and then only read."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import platformdirs
from filelock import FileLock

from ccvae.storage.atomic import disk_is_full, flush, machine_name

__all__ = ["built_once", "cache_root"]

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


def cache_root() -> Path:
    """The cache folder: the environment variable CCVAE_CACHE, or else the user's cache folder of the operating system."""
    chosen = os.environ.get("CCVAE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ccvae", appauthor=False)


def built_once(name: str, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
    """A cached folder, built on first use.

    The folder is built under another name and renamed when it is complete, so neither an error nor a crash leaves half of
    one. If several processes ask for the same folder, one builds it and the others wait. `build` must not ask for the same
    name, nor start a process that does.

    Args:
        name: name of the folder; it must change with everything that the content depends on.
        build: function that fills the folder that it is given.
        resumable: whether `build` can continue from what an interrupted build left in the folder. Otherwise the folder is
            empty. An error raised by `build` always removes the folder.

    Returns:
        The folder, `cache_root() / name`.

    Raises:
        ValueError: the name is not a plain file name.
        OSError: the cache cannot be written.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"name of a cached folder: expected letters, digits, dots, dashes and pluses, found {name!r}")
    folder = cache_root() / name
    if folder.is_dir():
        return folder
    with lock(folder):
        if folder.is_dir():
            return folder
        if resumable:
            # named by machine, since machines that share the disk may not share the lock
            return finished(folder, folder.parent / f".{name}.{machine_name()}.unfinished", build)
        for stale in folder.parent.glob(f".{name}.*.building"):  # left by processes that died, since this one has the lock
            shutil.rmtree(stale)
        fresh = folder.parent / f".{name}.{secrets.token_hex(4)}.building"
        try:
            return finished(folder, fresh, build)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def finished(folder: Path, fresh: Path, build: Callable[[Path], None]) -> Path:
    """Build a cached folder in a fresh one, or in one that an interrupted build left, and rename it."""
    fresh.mkdir(exist_ok=True)
    try:
        build(fresh)
        for file in fresh.rglob("*"):
            flush(file)
        rename_unless_there(fresh, folder)
    except Exception as error:
        written = sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file())
        full = isinstance(error, OSError | RuntimeError) and disk_is_full(error, folder.parent)
        shutil.rmtree(fresh, ignore_errors=True)
        if full and str(folder.parent) not in str(error):
            raise OSError(
                errno.ENOSPC,
                f"no space to write {folder} in the cache: it failed after {written:,} bytes; free some space, or name another "
                f"folder in the environment variable CCVAE_CACHE",
            ) from error
        raise
    shutil.rmtree(fresh, ignore_errors=True)  # it still exists if another machine was faster
    return folder


def lock(folder: Path) -> AbstractContextManager[object]:
    """Acquire the lock of a cached folder; the operating system releases it when the process ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(folder.parent / f".{folder.name}.lock").acquire()
    except OSError as error:
        raise OSError(
            f"cannot write to the cache folder {folder.parent} ({error}); "
            f"set the environment variable CCVAE_CACHE to another folder"
        ) from error


def rename_unless_there(fresh: Path, folder: Path) -> None:
    """Rename a fresh folder, unless another machine that shares the disk but not the lock was faster."""
    try:
        fresh.rename(folder)
        flush(folder.parent)
    except OSError:
        if not folder.is_dir():
            raise
