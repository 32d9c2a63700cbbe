"""Links in folders that a stranger may have made: a link can name any file of this machine, and what is read gets shown.

A folder that the user names may itself be a link. Links within it must not lead out of it, unless the environment variable
CCVAE_ALLOW_LINKS is 1. It is an environment variable so that no file can set it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["check_inside", "check_no_link"]

VARIABLE = "CCVAE_ALLOW_LINKS"


def check_inside(folder: Path, files: Iterable[str]) -> None:
    """Raise `ValueError` if files of a folder are elsewhere, and that is not allowed.

    Args:
        folder: the folder.
        files: paths within it, with slashes. Only links and folders are resolved, so that many files take little time.
    """
    if allowed():
        return
    root = real(folder)
    outside: dict[Path, bool] = {}
    found = []
    for file in files:
        path = folder / file
        if path.parent not in outside:
            outside[path.parent] = not real(path.parent).is_relative_to(root)
        if outside[path.parent] or (path.is_symlink() and not real(path).is_relative_to(root)):
            found.append(path)
    if found:
        others = f", and {len(found) - 1} more of its files" if len(found) > 1 else ""
        raise ValueError(
            f"{found[0]} leads to {real(found[0])}, outside of {folder}{others}. A stranger's link could show your own "
            f"files: if these links are yours, set the environment variable {VARIABLE}=1"
        )


def check_no_link(path: Path) -> None:
    """Raise `ValueError` if a folder to write to is a link: files elsewhere would be replaced."""
    if path.is_symlink():
        raise ValueError(f"{path} is a link to {real(path)}; put the folder itself there, so that nothing else changes")


def allowed() -> bool:
    """Whether links may lead out of a folder."""
    given = os.environ.get(VARIABLE, "0")
    if given not in ("0", "1"):
        raise ValueError(f"environment variable {VARIABLE}: expected 0 or 1, found {given!r}")
    return given == "1"


def real(path: Path) -> Path:
    """A path with all links followed; unlike `Path.resolve`, without an error for a link that leads to itself."""
    return Path(os.path.realpath(path))
