"""Image files in folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ccvae.storage.links import check_inside

__all__ = ["IMAGE_SUFFIXES", "files_of", "other_formats", "remedy_for"]

IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip
REMEDIES = {
    (".heic", ".heif"): "convert photos of phones (HEIC) to JPEG",
    (".dcm", ".dicom", ".nii", ".nrrd", ".mha", ".svs", ".czi"): "convert medical images to PNG, for example with pydicom",
    (".npy", ".npz", ".pt", ".h5", ".hdf5", ".mat", ".pkl"): "read arrays in Python and pass them to ccvae.data.arrays",
    (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"): "unpack archives first",
    (".raw", ".cr2", ".nef", ".arw", ".dng", ".psd", ".svg", ".pdf", ".eps", ".ai"): "convert them to PNG or JPEG",
    (".mp4", ".avi", ".mov", ".mkv", ".webm"): "save frames of videos as images",
    (".tfrecord", ".tfrecords", ".arrow", ".parquet", ".lmdb", ".mdb", ".rec"): "export the images from them, one file each",
}
"""What to do about files that hold images, but are not read, by suffix."""


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
        remedy = remedy_for(folder.name) or "give the folder that it lies in"
        raise ValueError(f"{folder} is a file; expected a folder of images: {remedy}")

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
        remedies = dict.fromkeys(filter(None, (remedy_for(suffix) for suffix, _ in others.most_common(5))))
        advice = "".join(f"; {remedy}" for remedy in remedies)
        raise ValueError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); it holds {found}{advice}")
    check_inside(folder, files)
    return sorted(files)


def remedy_for(name: str) -> str:
    """What to do about a file, by its name, that holds images in a way that is not read; empty for all others."""
    suffix = Path(name).suffix.lower() or name.lower()
    return next((remedy for suffixes, remedy in REMEDIES.items() if suffix in suffixes), "")


def other_formats(folder: Path, names: Iterable[str]) -> str:
    """What is said of missing images that lie in a folder in a format that is not read; nothing if there are none.

    Args:
        folder: the folder.
        names: names of missing images, with or without an extension.
    """
    stems = {Path(name.replace("\\", "/")).name for name in names}
    stems |= {Path(name).stem for name in stems}
    for _, _, files in os.walk(folder):
        for file in sorted(files):
            remedy = remedy_for(file)
            if remedy and (Path(file).stem in stems or file in stems):
                return f"; {file} is there, in a format that is not read: {remedy}"
    return ""
