"""Shutdown of training on several processes: when one process ends, the others end too, with a message."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

__all__ = ["exit_now", "shared_shutdown"]

SECONDS_BETWEEN_CHECKS = 1.0
FIRST_PROCESS = "CCVAE_FIRST_PROCESS"
"""Environment variable with the process id of the process from which Lightning started the others."""
LOST_CONNECTION = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
    "remote process exited",
)
"""Parts of the messages with which gloo and NCCL report that another process is gone."""


@contextmanager
def shared_shutdown() -> Iterator[None]:
    """Within, a process that Lightning started ends when the process that started it does.

    The other direction needs no help: Lightning, torchrun and SLURM end all processes when one that they started fails.

    Raises:
        ConnectionError: another process has ended or cannot be reached.
    """
    done = threading.Event()
    first = os.environ.get(FIRST_PROCESS)
    if first is not None and int(first) != os.getpid() and os.environ.get("LOCAL_RANK", "0") != "0":
        threading.Thread(target=exit_with_parent, args=[int(first), done], daemon=True).start()
    elif first is None:
        os.environ[FIRST_PROCESS] = str(os.getpid())
    try:
        yield
    except RuntimeError as error:
        reason = next((words for words in LOST_CONNECTION if words in str(error)), None)
        if reason is None:
            raise
        raise ConnectionError(
            f"another process of this training has ended or cannot be reached ({reason}), so all processes end. The files in "
            "the run folder are complete: find out why it ended, then continue with resume"
        ) from error
    finally:
        done.set()
        if os.environ.get(FIRST_PROCESS) == str(os.getpid()):
            del os.environ[FIRST_PROCESS]


def exit_with_parent(parent: int, done: threading.Event) -> None:
    """End this process soon after its parent has ended; collective operations of GPUs may never notice it."""
    while os.getppid() == parent:
        if done.wait(SECONDS_BETWEEN_CHECKS):
            return
    sys.stderr.write("ccvae: the first process of this training has ended, so this one ends too; continue with resume\n")
    sys.stderr.flush()
    os._exit(1)


def exit_now() -> None:
    """End this process at once if it was one of several that trained; its work must be complete.

    During the usual shutdown of the interpreter, torch's threads sometimes abort a process ("terminate called without an active
    exception"), after which Lightning or torchrun would end the other processes too.
    """
    if distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
