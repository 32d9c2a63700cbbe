"""The cache: folders that are built once and then only read."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import platformdirs
from filelock import FileLock

__all__ = ["built_once", "cache_root"]

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


def cache_root() -> Path:
    """Folder of everything cached: the one that the environment variable CCVAE_CACHE names, else the user's cache folder."""
    chosen = os.environ.get("CCVAE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ccvae", appauthor=False)


def built_once(name: str, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
    """A cached folder, built first if it is not there yet.

    The folder takes its name only when it is whole, so neither an error nor a crash leaves half of one. When several
    processes want the same folder at once, one builds it and the others wait. `build` must neither ask for the same name
    nor start a process that does.

    Args:
        name: the folder's name; it should change with all that the content depends on.
        build: fills the folder that it is given.
        resumable: whether that folder may hold what an interrupted build left, for `build` to go on from; an error that
            `build` raises still leaves nothing. Else the folder is empty.

    Returns:
        The folder, `cache_root() / name`.

    Raises:
        ValueError: the name is not one of a plain folder.
        OSError: the cache cannot be written to.
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
            machine = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())  # the lock may not hold for others that share the disk
            return finished(folder, folder.parent / f".{name}.{machine}.unfinished", build)
        for stale in folder.parent.glob(f".{name}.*.building"):  # the lock is ours, so whoever left these is gone
            shutil.rmtree(stale)
        fresh = folder.parent / f".{name}.{secrets.token_hex(4)}.building"
        try:
            return finished(folder, fresh, build)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def finished(folder: Path, fresh: Path, build: Callable[[Path], None]) -> Path:
    """A cached folder, built in a fresh one, or in one that an interrupted build left."""
    fresh.mkdir(exist_ok=True)
    try:
        build(fresh)
        put_on_disk(fresh)
        rename_unless_there(fresh, folder)
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(fresh, ignore_errors=True)  # there still, if another machine was faster
    return folder


def lock(folder: Path) -> AbstractContextManager[object]:
    """Lock of a cached folder, taken; the system frees it when its holder dies."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(folder.parent / f".{folder.name}.lock").acquire()
    except OSError as error:
        raise OSError(
            f"cannot write to the cache folder {folder.parent} ({error}); "
            f"name another one in the environment variable CCVAE_CACHE"
        ) from error


def put_on_disk(folder: Path) -> None:
    """Flush a folder's files to the disk, so that a power cut after the renaming finds them whole."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())


def rename_unless_there(fresh: Path, folder: Path) -> None:
    """Give a fresh folder its name, unless another machine that shares the disk but not the lock was faster."""
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
