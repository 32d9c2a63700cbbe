from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccvae.data.images.memory_maps import rows_of

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "pictures.npy", PICTURES)
    return tmp_path / "pictures.npy"


@pytest.mark.parametrize(
    "rows", [[3, 1, 19], np.array([0, 0, 7]), slice(2, 18, 5), slice(None), slice(0), -np.arange(1, 4), [True] * 20]
)
def test_rows_of_a_file_are_those_of_its_map(path: Path, rows: Any) -> None:
    for mode in ("r", "c", None):
        array = np.load(path, mmap_mode=mode)  # type: ignore[arg-type]
        np.testing.assert_array_equal(rows_of(array, rows), PICTURES[rows])


def test_parts_of_a_map_and_changed_copies_are_not_mistaken_for_the_file(path: Path) -> None:
    array = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(rows_of(array[5:], [0, 2]), PICTURES[[5, 7]])
    np.testing.assert_array_equal(rows_of(array[::2], [0, 2]), PICTURES[[0, 4]])
    np.testing.assert_array_equal(rows_of(array[..., ::-1], [0, 2]), PICTURES[[0, 2]][..., ::-1])
    np.testing.assert_array_equal(rows_of(array.transpose(1, 2, 3, 0), [0, 2]), PICTURES.transpose(1, 2, 3, 0)[[0, 2]])
    changed = np.load(path, mmap_mode="c")
    changed[0] = 0
    assert not rows_of(changed, [0]).any()


def test_a_file_that_was_deleted_is_still_mapped(path: Path) -> None:
    array = np.load(path, mmap_mode="r")
    path.unlink()
    np.testing.assert_array_equal(rows_of(array, [4, 2]), PICTURES[[4, 2]])


def test_a_file_that_was_cut_short_is_told(path: Path) -> None:
    array = np.load(path, mmap_mode="r")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(OSError, match=r"pictures.npy is cut short: row 19 is not there"):
        rows_of(array, [0, 19])


def resident() -> int:
    """Memory of this process in bytes, with the pages of files that it has touched."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the memory of processes another way")
def test_reading_all_rows_keeps_none_in_memory(tmp_path: Path) -> None:
    count = 10_000
    np.lib.format.open_memmap(tmp_path / "many.npy", "w+", np.uint8, (count, 64, 64, 3)).flush()
    array = np.load(tmp_path / "many.npy", mmap_mode="r")
    rows_of(array, slice(0, 100))
    before = resident()
    for start in range(0, count, 100):
        rows_of(array, slice(start, start + 100))
    assert resident() - before < array.nbytes / 4
