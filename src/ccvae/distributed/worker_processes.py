"""Work on all cores by fresh interpreters, each given a request and answering with messages.

The processes are fresh interpreters: multiprocessing would either fork a process in which torch may already run threads, or
import the user's script again in every worker. A worker reads one JSON request from its standard input, and writes each
message to its standard output as a length followed by that many bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["messages_of_workers", "serve", "useful_processes"]

LENGTH = struct.Struct("<I")
WORKER = "from ccvae.distributed.worker_processes import serve; serve()"
LONGEST_ERROR = 2000
"""Characters kept of what a failed worker wrote to its standard error."""


def useful_processes(work: float, work_per_process: float) -> int:
    """Number of worker processes: at most one per core, and none for less work than is worth its start-up time.

    Args:
        work: amount of work, in any unit.
        work_per_process: the least work for which another process pays off, in the same unit.

    Returns:
        1 or more; 1 means that the work is better done in this process.
    """
    if not sys.executable or getattr(sys, "frozen", False):  # no interpreter to start others with
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(work // work_per_process)))


def messages_of_workers(function: Callable[[Any], Iterator[bytes]], requests: Sequence[Any]) -> Iterator[bytes]:
    """Messages that a function yields for each request, every request in a process of its own.

    Messages come in turn: the first of every worker, then the second of every worker, and so on. Workers that have finished
    are left out. All workers are stopped when the iterator is closed.

    Args:
        function: a function at the top level of a module of this package; it yields messages.
        requests: its argument in each process, as JSON stores it.

    Raises:
        ChildProcessError: a worker failed; the message is what it wrote to its standard error.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    home = [function.__module__, function.__name__]
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as cleanup:
        workers: deque[subprocess.Popen[bytes]] = deque()
        for _ in requests:
            worker = subprocess.Popen(
                [sys.executable, "-P", "-c", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
            cleanup.callback(stop, worker)
            workers.append(worker)
        for worker, request in zip(workers, requests, strict=True):
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError), worker.stdin:  # a worker that has ended is noticed below
                worker.stdin.write(json.dumps([home, request]).encode())
        while workers:
            worker = workers.popleft()
            assert worker.stdout is not None
            header = worker.stdout.read(LENGTH.size)
            if not header and worker.wait() == 0:
                continue
            length = LENGTH.unpack(header)[0] if len(header) == LENGTH.size else -1
            message = worker.stdout.read(max(length, 0))
            if len(message) != length:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-LONGEST_ERROR:]
                raise ChildProcessError(said or "it was killed")
            workers.append(worker)
            yield message


def stop(worker: subprocess.Popen[bytes]) -> None:
    """End a process if it is still running."""
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def serve() -> None:
    """In a worker: read the request from the standard input, and write messages to the standard output."""
    (module, name), request = json.load(sys.stdin)
    for message in getattr(importlib.import_module(module), name)(request):
        sys.stdout.buffer.write(LENGTH.pack(len(message)) + message)
        sys.stdout.buffer.flush()
