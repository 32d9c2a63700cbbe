"""Atomic writes: whole or unchanged, flushed before the rename, and clear about missing space."""

import errno
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from ccvae.storage import atomic
from ccvae.storage.atomic import check_space, machine_name, writing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def dead_process():
    """Number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_file_and_folder_are_flushed_around_the_rename(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(Path(f"/proc/self/fd/{descriptor}").resolve()))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: done.append("renamed") or replace(self, target))
    with writing(tmp_path / "file") as partial:
        partial.write_text("content")
    assert done == [partial, "renamed", tmp_path]
    assert partial.parent == tmp_path, "a rename from another folder might cross file systems"
    assert names(tmp_path) == ["file"]


def test_flushing_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("flushed"))
    with writing(tmp_path / "file", durable=False) as partial:
        partial.write_text("content")
    assert (tmp_path / "file").read_text() == "content"


def test_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    ours, dead = machine_name(), dead_process()
    kept = [f".file.{ours}.{os.getppid()}.partial", f".file.elsewhere.{dead}.partial", ".file.partial", "file.1.partial"]
    for name in [f".file.{ours}.{dead}.partial", f".other.ext.{ours}.{dead}.partial", *kept]:
        (tmp_path / name).write_text("half")
    with writing(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert names(tmp_path) == sorted([*kept, "file"])


def test_a_killed_write_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    code = (
        "import os, sys; from pathlib import Path; from ccvae.storage.atomic import writing\n"
        "with writing(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "before"
    assert len(names(tmp_path)) == 2
    with writing(path) as partial:
        partial.write_text("after")
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "after"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota exceeded")])
@pytest.mark.parametrize(("size", "shown"), [(None, "failed after 4 bytes"), (1000, "needs 1,000 bytes")])
def test_a_full_disk_is_explained(tmp_path, error, size, shown):
    path = tmp_path / "file"
    path.write_text("before")

    def fail():
        with writing(path, size=size) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(OSError, match=rf"no space to write {path}: it {shown}"):
        fail()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_a_writer_that_gives_no_reason_is_explained_where_the_disk_is_full(tmp_path, monkeypatch):
    def fail():
        with writing(tmp_path / "file"):
            raise RuntimeError("writer failed")

    with pytest.raises(RuntimeError, match="writer failed"):
        fail()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100))
    with pytest.raises(OSError, match="no space to write"):
        fail()


def test_space_is_checked_before_anything_is_written(tmp_path):
    with pytest.raises(OSError, match=r"no space to write .*: it needs 1,000,000,000,000,000,000 bytes, and [\d,]+ are free"):
        check_space(tmp_path / "file", 10**18)

    def fail():
        with writing(tmp_path / "file", size=10**18):
            pytest.fail("begun")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert not names(tmp_path)
