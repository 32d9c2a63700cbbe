"""Inputs on a device are those of the data set, whichever way they come there; shown on the processor."""

import numpy as np
import pytest
import torch

from ccvae.data import arrays
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches, ahead
from ccvae.data.loaders.device_inputs import DeviceInputs

ROWS = np.array([5, 2, 2, 17])


def images(tmp_path, mapped: bool) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    if mapped:
        np.save(tmp_path / "pixels.npy", pixels)
        pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    return arrays(pixels, {"even": [row % 2 for row in range(40)]})


@pytest.mark.parametrize("resident", [None, True, False])
@pytest.mark.parametrize("mapped", [False, True])
def test_images_are_those_of_the_data(tmp_path, mapped, resident) -> None:
    data = images(tmp_path, mapped)
    inputs = DeviceInputs(data, torch.device("cpu"), resident)
    found = inputs.floats(inputs.read(ROWS))
    assert torch.equal(found, data.tensor(ROWS))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("resident", [None, True, False])
def test_vectors_are_those_of_the_data(resident) -> None:
    data = arrays(np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32), {"even": [row % 2 for row in range(40)]})
    inputs = DeviceInputs(data, torch.device("cpu"), resident)
    assert torch.equal(inputs.floats(inputs.read(ROWS)), data.tensor(ROWS))


def test_only_bytes_and_row_numbers_are_sent(tmp_path) -> None:
    data = images(tmp_path, mapped=True)
    assert DeviceInputs(data, resident=False).read(ROWS).dtype == np.uint8
    assert DeviceInputs(data, resident=True).read(ROWS) is ROWS
    assert DeviceInputs(data, resident=True).resident.dtype == torch.uint8


def test_inputs_longer_than_one_part(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("ccvae.data.loaders.device_inputs.ROWS_AT_ONCE", 7)
    data = images(tmp_path, mapped=True)
    assert np.array_equal(DeviceInputs(data, resident=True).resident.numpy(), data.inputs)


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_the_same(tmp_path, resident) -> None:
    data = images(tmp_path, mapped=False)
    near, sent = Batches(data, 8), Batches(data, 8, inputs=DeviceInputs(data, resident=resident))
    for _ in range(2):
        for (x, y), (other_x, other_y) in zip(near, sent, strict=True):
            assert torch.equal(x, other_x)
            assert torch.equal(y, other_y)
            assert near.position == sent.position, "what was read ahead does not count yet"


def test_reading_ahead_keeps_order_and_raises() -> None:
    assert list(ahead(lambda step: step**2, range(5))) == [0, 1, 4, 9, 16]
    assert list(ahead(abs, [])) == []
    reads = ahead(lambda step: 1 // step, [1, 0, 1])
    assert next(reads) == 1
    with pytest.raises(ZeroDivisionError):
        next(reads)
