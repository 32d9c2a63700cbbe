"""Files that cannot be written are found before long work."""

import os
import socket
import stat
from pathlib import Path

import pytest

from ccvae.storage.atomic import check_writable, writing


def test_a_folder_that_can_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "a.json", tmp_path / "not" / "there" / "yet.png"):
        check_writable(path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written():
    with pytest.raises(OSError, match=r"cannot write /proc/ccvae/a.json: .* in /proc"):
        check_writable(Path("/proc/ccvae/a.json"))


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "figures").write_text("")
    with pytest.raises(NotADirectoryError, match="figures is a file and no folder"):
        check_writable(tmp_path / "figures" / "a.png")


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_a_file_replaces_nothing_but_a_file(tmp_path, kind):
    path = tmp_path / "out.csv"
    with socket.socket(socket.AF_UNIX) as listener:
        {"pipe": os.mkfifo, "folder": os.mkdir, "socket": lambda place: listener.bind(str(place))}[kind](path)
    mode = path.stat().st_mode
    with pytest.raises(ValueError, match=rf"cannot write .*out.csv: it is a {kind}, which a file would replace"):
        check_writable(path, folder=False)
    with pytest.raises(ValueError, match=rf"it is a {kind}"), writing(path) as partial:
        partial.write_text("new")
    assert stat.S_IFMT(path.stat().st_mode) == stat.S_IFMT(mode)
    assert list(tmp_path.iterdir()) == [path]


def test_devices_and_streams_are_no_places_for_files(tmp_path):
    with pytest.raises(ValueError, match=r"/dev/null: it is a device"):
        check_writable(Path("/dev/null"))
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    with pytest.raises(ValueError, match=r"stdout: it is a stream of this process"):
        check_writable(tmp_path / "stdout")


def test_what_is_no_path(tmp_path):
    with pytest.raises(ValueError, match="is not a path"):
        check_writable(tmp_path / "a\0b")
    with pytest.raises(ValueError, match="it is a folder"):
        check_writable(Path(), folder=False)
