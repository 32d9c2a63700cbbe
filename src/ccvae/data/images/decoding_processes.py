"""Decoding of image files by several processes: Pillow lets no two threads of one process decode at the same time."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from ccvae.data.images.decoding import UNREADABLE, Framing, decode, reason

__all__ = ["decoded_by_processes", "serve", "useful_processes"]

WORTH_A_PROCESS = 2000
"""Images for which another process is worth its start."""

HEADER = struct.Struct("<?I")
"""Before what is said of every image: whether it was read, and how many bytes follow: its pixels, or why it was not."""

WORKER = "from ccvae.data.images.decoding_processes import serve; serve()"


def useful_processes(count: int) -> int:
    """How many processes to decode with: as many as there are cores and work."""
    if not sys.executable or getattr(sys, "frozen", False):  # no interpreter to start others with
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, count // WORTH_A_PROCESS))


def decoded_by_processes(paths: Sequence[Path], framing: Framing, channels: int, processes: int) -> Iterator[np.ndarray | str]:
    """Pixels of image files in their order, or why one cannot be read.

    The processes are fresh interpreters: multiprocessing would fork a process in which torch may have threads, or else run
    the user's script anew in every process. Files are dealt out in turn, so that none is far ahead.

    Args:
        paths: the files.
        framing: how images are brought to one size.
        channels: 1 or 3.
        processes: how many.

    Raises:
        OSError: a process failed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    shape = (framing.height, framing.width, channels)
    with tempfile.TemporaryFile() as complaints, contextlib.ExitStack() as workers:
        streams = []
        for _ in range(processes):
            worker = subprocess.Popen(
                [sys.executable, "-P", "-c", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=environment,
            )
            workers.callback(stop, worker)
            assert worker.stdin is not None
            assert worker.stdout is not None
            streams.append((worker.stdin, worker.stdout))
        for number, (asking, _) in enumerate(streams):
            request = {
                "paths": [str(path) for path in paths[number::processes]],
                "framing": asdict(framing),
                "channels": channels,
                "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
                "most_pixels": Image.MAX_IMAGE_PIXELS,
            }
            with contextlib.suppress(BrokenPipeError), asking:  # whoever is gone already will not answer below
                asking.write(json.dumps(request).encode())
        for row, path in enumerate(paths):
            answer = streams[row % processes][1]
            header = answer.read(HEADER.size)
            was_read, size = HEADER.unpack(header) if len(header) == HEADER.size else (True, -1)
            content = answer.read(max(size, 0))
            if len(content) != size:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip()[-2000:]
                raise OSError(f"a process that decodes images failed, at {path} or before it: {said or 'it was killed'}")
            yield np.frombuffer(content, dtype=np.uint8).reshape(shape) if was_read else content.decode()


def stop(worker: subprocess.Popen[bytes]) -> None:
    """End a process, if it has not ended."""
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def serve() -> None:
    """Do what `decoded_by_processes` asks for on the standard input, and answer on the standard output."""
    request = json.load(sys.stdin)
    framing = Framing(**request["framing"])
    ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
    Image.MAX_IMAGE_PIXELS = request["most_pixels"]
    for path in request["paths"]:
        try:
            was_read, content = True, decode(Path(path), framing, request["channels"]).tobytes()
        except UNREADABLE as error:
            was_read, content = False, reason(error).encode(errors="replace")
        sys.stdout.buffer.write(HEADER.pack(was_read, len(content)) + content)
    sys.stdout.buffer.flush()
