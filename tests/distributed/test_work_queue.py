"""Processes share an evaluation: each section is computed once, results equal those of one process, and all end together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch.distributed import DistNetworkError, HashStore

from ccvae.cli.main import main
from ccvae.distributed import work_queue
from ccvae.distributed.work_queue import WorkQueue

BIN = Path(sys.executable).parent
SMALL = {
    "rows": 40, "evidence_rows": 2, "evidence_samples": 8, "edit_rows": 10, "walk_rows": 4, "truth_rows": 4, "pairs": 6,
    "probe_rows": 60, "conditions": 4, "repeats": 2, "pictures": 20, "draws": 3,
}  # fmt: skip
COUNTS = [word for name, count in SMALL.items() for word in (f"--settings.{name}", str(count))]
LAUNCHERS = ("RANK", "WORLD_SIZE", "MASTER", "SLURM", "TORCHELASTIC")


def environment(**settings):
    """Of a process that no launcher has started."""
    inherited = {name: value for name, value in os.environ.items() if not any(word in name for word in LAUNCHERS)}
    return inherited | {"OMP_NUM_THREADS": "1"} | settings


# ---------------------------------------------------------------------- the real command line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a table, whose oracle is quickly trained."""
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(0)
    on, size = generator.integers(0, 2, 300), generator.normal(size=300)
    columns = {f"x{column}": on * column - size + generator.normal(size=300) for column in range(4)}
    pd.DataFrame({"on": on, "size": size, **columns}).to_csv(folder / "numbers.csv", index=False)
    data = ["--data.labels", "on,size", "--data.validation", "60", "--data.test", "60"]
    settings = ["--model.width", "4", "--training.epochs", "1", "--training.batch_size", "60", "--figures", "false"]
    assert main(["train", str(folder / "numbers.csv"), "--out", str(folder / "numbers"), *data, *settings]) == 0
    return folder / "numbers"


def test_two_processes_measure_what_one_does(run, tmp_path, monkeypatch, capsys):
    """On an empty cache, so that the first one trains the oracle, and the other reads it."""
    cache, two = tmp_path / "cache", tmp_path / "two"
    shutil.copytree(run, two)
    launch = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python", sys.executable, str(BIN / "ccvae")]
    done = subprocess.run(
        [*launch, "evaluate", str(two), *COUNTS],
        env=environment(CCVAE_CACHE=str(cache)), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("intervention succeeds") == 1, "the first process alone speaks"
    assert done.stderr.count("page: ") == 1

    monkeypatch.setenv("CCVAE_CACHE", str(cache))
    oracles = sorted(path.name for path in cache.iterdir())
    capsys.readouterr()
    assert main(["evaluate", str(run), *COUNTS]) == 0
    assert sorted(path.name for path in cache.iterdir()) == oracles
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (run, two))
    assert list(ours.pop("seconds")) == list(theirs.pop("seconds"))
    assert json.dumps(ours) == json.dumps(theirs), "in the same order too"
    assert set(ours["skipped"]) == {"counterfactuals", "characteristics"}
    assert capsys.readouterr().out.splitlines()[1:] == done.stdout.splitlines()[1:]
    assert {path.name for path in two.iterdir()} == {path.name for path in run.iterdir()}


def test_processes_that_do_not_meet(run, monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", environment(RANK="1", WORLD_SIZE="2"))
    assert main(["evaluate", str(run)]) == 2
    assert "the 2 processes of this evaluation cannot connect to each other" in capsys.readouterr().err


# ---------------------------------------------------------------------- all end together

MEMBER = """
import sys, time
from ccvae.distributed import work_queue
work_queue.HEARTBEAT_TIMEOUT = 2
with work_queue.launched_work_queue() as queue:
    print("up", flush=True)
    exec(sys.argv[1])
"""


def members(*tasks):
    """Processes as torchrun starts them, but without it, each with what it is to do when all are there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = {"WORLD_SIZE": str(len(tasks)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, task], env=environment(**launch, RANK=str(number)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number, task in enumerate(tasks)
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "up\n", process.stderr.read()
    return started


def test_a_killed_process_ends_the_first():
    first, second = members("time.sleep(100)", "time.sleep(100)")
    time.sleep(1.5)  # it has sent heartbeats
    second.send_signal(signal.SIGKILL)
    _, said = first.communicate(timeout=20)
    second.communicate()
    assert first.returncode == 1
    assert "process 1 of this evaluation has not responded for 2 s; this one ends too" in said


def test_the_first_killed_ends_the_others():
    first, second = members("time.sleep(100)", "time.sleep(100)")
    first.send_signal(signal.SIGKILL)
    _, said = second.communicate(timeout=20)
    first.communicate()
    assert second.returncode == 1
    assert "the first process of this evaluation cannot be reached" in said
    assert said.endswith("; this one ends too\n")


@pytest.fixture
def store_and_codes(monkeypatch):
    """A store for two processes, and the exit codes of those that end."""
    store, codes = HashStore(), []

    def leave(code):
        codes.append(code)
        sys.exit()

    monkeypatch.setattr(os, "environ", environment(RANK="1", WORLD_SIZE="2"))
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(work_queue, "shared_store", lambda rank, world_size: store)
    monkeypatch.setattr(work_queue, "SECONDS_BETWEEN_HEARTBEATS", 0.02)
    return store, codes


def test_one_that_fails_ends_the_others_with_its_reason(store_and_codes, capsys):
    store, codes = store_and_codes
    with pytest.raises(ValueError, match="nothing"), work_queue.launched_work_queue():
        raise ValueError("nothing to measure\nhere")
    with pytest.raises(SystemExit):
        WorkQueue(0, 2, store=store).watch()
    assert codes == [1]
    reason = "process 1 of this evaluation has failed (ValueError: nothing to measure); this one ends too"
    assert reason in capsys.readouterr().err


def test_a_process_that_has_finished_is_not_missed(store_and_codes, monkeypatch):
    store, codes = store_and_codes
    monkeypatch.setattr(work_queue, "HEARTBEAT_TIMEOUT", 0.2)
    with work_queue.launched_work_queue() as queue:
        time.sleep(0.1)
        assert queue.gather({"a": 1}) == {}
    first = WorkQueue(0, 2, store=store)
    watching = threading.Thread(target=first.watch)
    watching.start()
    time.sleep(0.5)
    assert first.gather({"b": 2}) == {"a": 1, "b": 2}
    first.finished.set()
    watching.join()
    assert not codes


def test_a_lost_store_is_reported(store_and_codes):
    with pytest.raises(ConnectionError, match="the first process of this evaluation cannot be reached"), \
            work_queue.launched_work_queue():  # fmt: skip
        raise DistNetworkError("Connection reset by peer")


@pytest.mark.parametrize(
    ("slurm", "place"),
    [
        ({"SLURM_STEP_NODELIST": "gpu[07-09],big1"}, ("gpu07", "15345")),
        ({"SLURM_STEP_NODELIST": "node3", "SLURM_STEP_ID": "2"}, ("node3", "15347")),
        ({"MASTER_ADDR": "here", "MASTER_PORT": "9"}, ("here", "9")),
    ],
)
def test_where_processes_of_srun_meet(monkeypatch, slurm, place):
    def rendezvous(url, rank, world_size, timeout):
        assert (url, rank, world_size) == ("env://", 3, 8)
        yield HashStore(), rank, world_size

    monkeypatch.setattr("torch.distributed.rendezvous", rendezvous)
    monkeypatch.setattr(os, "environ", environment(SLURM_JOB_ID="120345", **slurm))
    work_queue.shared_store(3, 8)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == place


# ---------------------------------------------------------------------- claimed tasks and gathered results


def together(world_size, task):
    """What a task gives in each of several processes, here threads with one store."""
    store, given = HashStore(), {}

    def one(number):
        given[number] = task(WorkQueue(number, world_size, store=store))

    threads = [threading.Thread(target=one, args=[number]) for number in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [given[number] for number in range(world_size)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_each_task_is_done_once_and_all_results_are_gathered(world_size, monkeypatch):
    monkeypatch.setattr(work_queue, "MOST_CHARACTERS", 7)
    parts = ("long", "middle", "short", "ß")

    def task(queue):
        own = {}
        for place, name in queue.claimed(parts):
            assert parts[place] == name
            own[name] = {"by": queue.rank, "of": ["…", None, 0.1]}
            time.sleep(0.05)
        return own, queue.gather(own)

    owns, (everything, *nothing) = zip(*together(world_size, task), strict=True)
    assert sorted(name for own in owns for name in own) == sorted(parts)
    assert everything == {name: part for own in owns for name, part in own.items()}
    assert everything.keys() == set(parts)
    assert not any(nothing)
    if world_size <= len(parts):
        assert all(owns), "none is idle while there is something to do"


def test_the_first_process_goes_first():
    calls = []

    def task(queue):
        def make():
            time.sleep(0.2 * queue.is_first)
            calls.append(queue.rank)
            return queue.rank

        return queue.first_process_first(make)

    assert together(3, task) == [0, 1, 2]
    assert calls[0] == 0
    assert sorted(calls) == [0, 1, 2]


def test_a_single_process_needs_no_store():
    queue = WorkQueue()
    assert list(queue.claimed(("a", "b"))) == [(0, "a"), (1, "b")]
    assert queue.first_process_first(lambda: 3) == 3
    assert queue.gather({"a": 1}) == {"a": 1}
