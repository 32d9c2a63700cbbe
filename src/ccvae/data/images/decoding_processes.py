"""Decoding of image files by several processes: Pillow holds a lock that lets one thread of a process decode at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from ccvae.distributed.worker_processes import messages_of_workers
from ccvae.model.inputs.decoding import UNREADABLE, Framing, decode, reason

__all__ = ["IMAGES_PER_PROCESS", "decoded_by_processes"]

IMAGES_PER_PROCESS = 2000
"""The fewest images for which starting another process pays off."""
DECODED, UNREADABLE_FILE = b"d", b"u"
"""First byte of a message: pixels follow, or the reason why a file cannot be read."""


def decoded_by_processes(paths: Sequence[Path], framing: Framing, channels: int, processes: int) -> Iterator[np.ndarray | str]:
    """Pixels of image files in order, or the reason why one cannot be read.

    Files are dealt out in turn, so that workers stay close to each other and results can be yielded in order.

    Args:
        paths: the files.
        framing: how images are brought to one size.
        channels: 1 or 3.
        processes: number of worker processes.

    Raises:
        OSError: a process failed.
    """
    settings = {
        "framing": asdict(framing),
        "channels": channels,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
        "most_pixels": Image.MAX_IMAGE_PIXELS,
    }
    requests = [{**settings, "paths": [str(path) for path in paths[number::processes]]} for number in range(processes)]
    shape = (framing.height, framing.width, channels)
    done = 0
    try:
        for message in messages_of_workers(decoded_messages, requests):
            done += 1
            content = message[1:]
            yield np.frombuffer(content, dtype=np.uint8).reshape(shape) if message[:1] == DECODED else content.decode()
    except ChildProcessError as error:
        raise OSError(f"a process that decodes images failed, at {paths[done]} or before it: {error}") from None


def decoded_messages(request: Mapping[str, Any]) -> Iterator[bytes]:
    """In a worker: a message for each image file of a request."""
    framing = Framing(**request["framing"])
    ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
    Image.MAX_IMAGE_PIXELS = request["most_pixels"]
    for path in request["paths"]:
        try:
            message = DECODED + decode(Path(path), framing, request["channels"]).tobytes()
        except UNREADABLE as error:
            message = UNREADABLE_FILE + reason(error).encode(errors="replace")
        yield message
