"""Reading small files that anyone may have written: regular files only, of bounded size, as UTF-8 text or JSON."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any

__all__ = ["check_regular", "is_there", "kind_of", "read_beginning", "read_json", "read_text"]

LARGEST_JSON = 64_000_000
"""Bytes of a JSON file."""
LONGEST_NUMBER = 100
"""Digits of a whole number in JSON: larger ones fit into no float."""
KINDS = {
    stat.S_ISREG: "a file",
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


def check_regular(path: Path) -> None:
    """Raise an error unless a path is a regular file: pipes and devices may never end, and may wait for ever.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe, a device or a socket.
    """
    found = kind_of(path)
    if found is None:
        link = path.is_symlink()
        raise FileNotFoundError(f"{path} is a link to what does not exist" if link else f"there is no file {path}")
    if found != "a file":
        raise ValueError(f"{path} is {found}; expected a file")


def kind_of(path: Path) -> str | None:
    """What is at a path, links followed: "a file", "a folder", "a pipe", …; None if there is nothing.

    Raises:
        ValueError: it is no path.
        OSError: it may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # the last is a link that leads to itself
            return None
        raise
    except ValueError as error:  # a zero byte, for example
        raise ValueError(f"{str(path)!r} is not a path: {error}") from None
    return next((name for is_kind, name in KINDS.items() if is_kind(mode)), "something else")


def is_there(path: Path) -> bool:
    """Whether anything is at a path, also a link that leads nowhere: to take that for nothing would hide what is wrong."""
    return path.exists() or path.is_symlink()


def read_beginning(path: Path, count: int) -> bytes:
    """The first bytes of a file.

    Args:
        path: the file.
        count: how many bytes at most; one more than are allowed shows whether a file is too large, whatever its size is.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: it is not a regular file.
        OSError: it cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except PermissionError:
        raise PermissionError(f"no permission to read {path}") from None
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be read: {error.strerror}") from None


def read_text(path: Path, largest: int) -> str:
    """Text of a UTF-8 file.

    Args:
        path: the file.
        largest: largest size, in bytes.

    Raises:
        ValueError: it is larger, or is not UTF-8; otherwise as `read_beginning`.
    """
    content = read_beginning(path, largest + 1)
    if len(content) > largest:
        raise ValueError(f"{path} is larger than {largest:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start:,}") from None


def read_json(path: Path) -> Any:
    """Value of a JSON file; raises `ValueError` naming the file if it is not JSON, and as `read_text` does."""
    text = read_text(path, LARGEST_JSON)
    try:
        value = json.loads(text, parse_int=whole_number)
        if "\\u" in text:  # half of a pair of surrogates can be written in JSON, but in no file
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError(f"{path} is not valid JSON: it is nested too deep") from None
    except UnicodeEncodeError as error:
        found = error.object[error.start].encode("unicode_escape").decode()
        raise ValueError(f"{path} is not valid JSON: {found} is no character") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    return value


def whole_number(digits: str) -> int:
    """A whole number of JSON; raises `ValueError` if it is too long."""
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)
