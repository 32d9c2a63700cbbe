"""Worker processes: messages come in turn, failures are reported, and no process is left over."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccvae.distributed.worker_processes import messages_of_workers, useful_processes


def counted(request: list[int]) -> Iterator[bytes]:
    """In a worker: one message for each number of a range."""
    for number in range(*request):
        yield str(number).encode() * 10_000


def failing(request: str) -> Iterator[bytes]:
    """In a worker: a message, then an error."""
    yield b""
    raise ValueError(request)


@pytest.fixture(autouse=True)
def _imported_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(counted, "__module__", "test_worker_processes")
    monkeypatch.setattr(failing, "__module__", "test_worker_processes")


def test_messages_come_in_turn_and_finished_workers_are_left_out() -> None:
    found = [int(message[: len(message) // 10_000]) for message in messages_of_workers(counted, [[0, 2], [10, 13], [20, 21]])]
    assert found == [0, 10, 20, 1, 11, 12]


def test_what_a_worker_says_when_it_fails_is_reported() -> None:
    messages = messages_of_workers(failing, ["out of paper"])
    assert next(messages) == b""
    with pytest.raises(ChildProcessError, match="ValueError: out of paper"):
        next(messages)


def test_no_process_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = []
    plain = subprocess.Popen

    def kept(*arguments: Any, **options: Any) -> Any:
        workers.append(plain(*arguments, **options))
        return workers[-1]

    monkeypatch.setattr(subprocess, "Popen", kept)
    messages = messages_of_workers(counted, [[0, 5], [0, 5]])
    next(messages)
    messages.close()  # type: ignore[attr-defined]
    assert [worker.returncode is not None for worker in workers] == [True, True]


def test_processes_are_as_many_as_cores_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert [useful_processes(work, 2) for work in (0, 3, 4, 7.9, 100)] == [1, 1, 2, 3, 3]
