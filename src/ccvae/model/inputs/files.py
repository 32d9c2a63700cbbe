"""Image files in folders."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ccvae.storage.links import check_inside

__all__ = ["IMAGE_SUFFIXES", "files_of"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)


def files_of(folder: Path) -> list[str]:
    """Images in a folder and its sub-folders: sorted paths within it, with slashes.

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: it, or a folder in it, may not be read.
        ValueError: there is no image in it, or a link leads out of it.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder of images")

    def refuse(error: OSError) -> None:
        raise PermissionError(f"cannot read the folder {error.filename} ({error.strerror}); its permissions must allow it")

    files, others = [], Counter[str]()
    visited: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        place = Path(parent).stat()
        if (place.st_dev, place.st_ino) in visited:  # a link that leads back would be followed for ever
            folders.clear()
            continue
        visited.add((place.st_dev, place.st_ino))
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
    check_inside(folder, files)
    return sorted(files)
