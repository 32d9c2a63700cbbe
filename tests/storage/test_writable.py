"""Files that cannot be written are found before long work."""

from pathlib import Path

import pytest

from ccvae.storage.atomic import check_writable


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
