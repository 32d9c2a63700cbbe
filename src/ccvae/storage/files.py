"""Reading small files that anyone may have written: regular files only, of bounded size, as UTF-8 text or JSON."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

__all__ = ["check_regular", "read_json", "read_text"]

LARGEST_JSON = 64_000_000
"""Bytes of a JSON file."""
KINDS = {
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
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file {path}") from None
    except ValueError as error:  # a zero byte, for example
        raise ValueError(f"{str(path)!r} is not a path: {error}") from None
    if not stat.S_ISREG(mode):
        found = next((name for is_kind, name in KINDS.items() if is_kind(mode)), "something else")
        raise ValueError(f"{path} is {found}; expected a file")


def read_text(path: Path, largest: int) -> str:
    """Text of a UTF-8 file.

    Args:
        path: the file.
        largest: largest size, in bytes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a regular file, is larger, or is not UTF-8.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(largest + 1)
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
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{path} is not valid JSON: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
