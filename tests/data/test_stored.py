"""Data in memory that a run folder keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccvae.data import arrays
from ccvae.data import stored as storing
from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.data.stored import DATA, read_stored, store
from ccvae.model.inputs.format import InputFormat


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    kinds = {"ill": [int(row % 2) for row in range(20)], "kind": ["xyz"[row % 3] for row in range(20)]}
    made = arrays(rng.normal(size=(20, 3)).astype(np.float32), kinds, validation=4, test=4)
    shares = np.full((20, 3), np.nan, dtype=np.float32)
    shares[:5] = np.eye(3, dtype=np.float32)[made.labels[:5, 1].astype(int)] * 0.5 + np.float32(1 / 6)
    labels = made.labels.copy()
    labels[5:, 1] = np.nan
    return replace(made, labels=labels, soft={"kind": shares})


@pytest.fixture
def folder(tmp_path: Path, data: Dataset) -> Path:
    assert store(data, tmp_path)
    data.split_table().to_csv(tmp_path / "splits.csv", index=False)
    return tmp_path


def test_what_is_stored_is_read_back(folder: Path, data: Dataset) -> None:
    found = read_stored(folder, data.space, InputFormat())
    np.testing.assert_array_equal(found.inputs, data.inputs)
    np.testing.assert_array_equal(found.labels, data.labels)
    np.testing.assert_array_equal(found.soft["kind"], data.soft["kind"])
    assert found.ids.tolist() == data.ids.tolist()
    assert all(found.splits[split].tolist() == data.splits[split].tolist() for split in SPLITS)
    assert found.name == folder.name
    assert found.groups is None


def test_groups_come_back(tmp_path: Path, data: Dataset) -> None:
    grouped = replace(data, groups=data.ids)
    store(grouped, tmp_path)
    grouped.split_table().to_csv(tmp_path / "splits.csv", index=False)
    found = read_stored(tmp_path, data.space, InputFormat()).groups
    assert found is not None
    assert found.tolist() == data.ids.tolist()


def test_large_data_are_not_stored(tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    size = data.inputs.nbytes + data.labels.nbytes
    monkeypatch.setattr(storing, "MOST_BYTES", size - 1)
    assert not store(data, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(storing, "MOST_BYTES", size)
    assert store(data, tmp_path)


def test_damaged_files_are_refused(folder: Path, data: Dataset) -> None:
    lines = (folder / "splits.csv").read_text().splitlines()
    (folder / "splits.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"data\.safetensors has 20 rows, splits\.csv has 19"):
        read_stored(folder, data.space, InputFormat())
    (folder / "splits.csv").unlink()
    with pytest.raises(ValueError, match=r"expected inputs and labels, and splits\.csv beside it"):
        read_stored(folder, data.space, InputFormat())
    (folder / DATA).write_bytes((folder / DATA).read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data\.safetensors is damaged, or no safetensors file: "):
        read_stored(folder, data.space, InputFormat())
