"""Checkpoint files: written atomically, verified by a hash when read, the last two kept.

A checkpoint is what `torch.save` writes, followed by the SHA-256 of these bytes. It is written to a temporary file beside its
own, flushed to the disk, and renamed; `last.ckpt` becomes `previous.ckpt` just before. After a crash, a power cut or on a full
disk, there is always one that is whole.

A checkpoint may come from a stranger. It is read as tensors, numbers, texts and containers of them only, and
`ccvae.training.checkpoint_checks` checks these before anything is restored.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from ccvae.storage.atomic import writing

__all__ = ["BEST", "LAST", "PREVIOUS", "CheckpointFiles", "newest_checkpoint", "read_checkpoint", "write_checkpoint"]

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
MARK = b"\nccvae sha256 "
TRAILER = len(MARK) + 64
Check = Callable[[dict[str, Any], Path], dict[str, Any]]


class CheckpointFiles(CheckpointIO):
    """Lightning's plugin that reads and writes checkpoints.

    Args:
        check: gives what may be restored of a checkpoint that was read from a path, or raises `ValueError`.
    """

    def __init__(self, check: Check | None = None) -> None:
        self.check = check

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """See `read_checkpoint`."""
        path = Path(path)
        checkpoint = read_checkpoint(path)
        return checkpoint if self.check is None else self.check(checkpoint, path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Checkpoints are only ever replaced: nothing is removed by a path that somebody names."""


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint atomically; one that replaces `last.ckpt` leaves it as `previous.ckpt`.

    Raises:
        OSError: it cannot be written; the files that were there are unchanged.
    """
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    content = buffer.getvalue()
    content += MARK + hashlib.sha256(content).hexdigest().encode()
    try:
        with writing(path, size=len(content)) as beside:
            beside.write_bytes(content)
            if path.name == LAST and path.exists():
                path.replace(path.with_name(PREVIOUS))
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror or error}; the checkpoints before it are whole: then continue with resume"
        ) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, with tensors on the CPU; none of its content is checked yet.

    Raises:
        ValueError: the file is damaged, is no checkpoint, or has more than tensors, numbers, texts and containers of them.
    """
    content = verified(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # what is stored as it is cannot be larger than the file
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError(f"{path}: compressed, as no checkpoint of this package is; delete it")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, as content that somebody made up can be
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: no checkpoint, or it has more than tensors, numbers and texts ({first}); delete it"
        ) from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path}: no checkpoint but a {type(checkpoint).__name__}; delete it")
    return checkpoint


def verified(path: Path) -> bytes:
    """Content of a checkpoint file without its hash; raises `ValueError` if they do not agree."""
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    everything = path.read_bytes()
    content, trailer = everything[:-TRAILER], everything[-TRAILER:]
    if trailer != MARK + hashlib.sha256(content).hexdigest().encode() or not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError(f"{path}: damaged, or cut short: its content does not have the hash at its end")
    return content


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder: `last.ckpt`, or `previous.ckpt` and a message where that one is damaged.

    Returns:
        Its path; None if there is none.

    Raises:
        ValueError: there are checkpoints, but all are damaged.
    """
    found = [path for path in (folder / LAST, folder / PREVIOUS) if path.exists()]
    problems = []
    for path in found:
        try:
            verified(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            logging.getLogger("ccvae.training").warning("%s; resuming from %s instead", problem, path)
        return path
    if problems:
        raise ValueError(f"resume: {'; '.join(problems)}. No whole checkpoint is left: delete {folder.parent} and train again")
    return None
