import gzip
import importlib
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccvae.data import fashion_mnist, mnist
from ccvae.data.readers.fashion_mnist import FASHION, FASHION_FOLDERS, resized

MODULE = importlib.import_module("ccvae.data.readers.fashion_mnist")  # whose name the function takes in the package

GENERATOR = np.random.default_rng(0)
PICTURES = {part: GENERATOR.integers(0, 256, (count, 28, 28), dtype=np.uint8) for part, count in (("train", 60), ("t10k", 20))}
CLASSES = {part: GENERATOR.permutation(np.arange(len(pictures)) % 10).astype(np.uint8) for part, pictures in PICTURES.items()}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(params=["plain", "gzipped"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    for part in PICTURES:
        for kind, array in (("images-idx3", PICTURES[part]), ("labels-idx1", CLASSES[part])):
            path = tmp_path / f"{part}-{kind}-ubyte"
            if request.param == "plain":
                path.write_bytes(idx(array))
            else:
                path.with_suffix(".gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


def test_idx_files(root: Path) -> None:
    for data, label, values in (
        (fashion_mnist(root, validation=10), "class", FASHION),
        (mnist(root, validation=10), "digit", tuple(range(10))),
    ):
        assert data.input_shape == (1, 28, 28)
        np.testing.assert_array_equal(data.inputs[..., 0], np.concatenate(list(PICTURES.values())))
        np.testing.assert_array_equal(data.labels[:, 0], np.concatenate(list(CLASSES.values())))
        assert data.space[label].values == values  # type: ignore[union-attr]
        assert [len(rows) for rows in data.splits.values()] == [50, 10, 20]
        assert data.splits["test"].tolist() == list(range(60, 80))
    assert fashion_mnist(root, validation=10, labelled=30).labels[data.splits["train"]].size == 50


def test_other_sizes_are_resampled_as_all_images_are(root: Path) -> None:
    for height, width in ((32, 40), (16, 16)):
        found = fashion_mnist(root, size=(height, width), validation=10).inputs
        assert found.shape == (80, height, width, 1)
        expected = [
            np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BILINEAR)) for p in PICTURES["train"]
        ]
        assert np.abs(found[:60, ..., 0].astype(int) - np.stack(expected)).max() <= 1


def test_resizing_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resized(PICTURES["train"][..., None], 32, 32)
    monkeypatch.setattr(MODULE, "BATCH", 7)
    np.testing.assert_array_equal(resized(PICTURES["train"][..., None], 32, 32), whole)


@pytest.mark.skipif(not Path(FASHION_FOLDERS[0]).is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_files_are_found_where_debian_puts_them() -> None:
    data = fashion_mnist(labelled=600)
    assert [len(rows) for rows in data.splits.values()] == [55_000, 5_000, 10_000]
    assert np.bincount(data.labels[data.splits["test"], 0].astype(int)).tolist() == [1000] * 10
    # trousers are narrow and tall, bags are wide
    pictures = data.inputs[data.splits["test"], ..., 0]
    classes = data.labels[data.splits["test"], 0].astype(int)
    columns = [(pictures[classes == FASHION.index(name)].max(axis=1) > 50).sum(axis=1).mean() for name in ("Trouser", "Bag")]
    assert columns[0] < columns[1] - 5


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="holds no train-images-idx3-ubyte or"):
        mnist(tmp_path)
    monkeypatch.setattr(MODULE, "FASHION_FOLDERS", (str(tmp_path / "none"),))
    with pytest.raises(FileNotFoundError, match="install Debian's package dataset-fashion-mnist"):
        fashion_mnist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(PICTURES["train"])[:-10], "should hold 47040 bytes of data but holds 47030; is it cut short"),
        (idx(PICTURES["train"])[:6], "is damaged"),
        (b"", "is damaged"),
        (idx(CLASSES["train"]) + b"12345678", "is no idx file of bytes with 3 axes"),
        (idx(PICTURES["train"][:50]), "50 images but 60 labels in the train files"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    for part in PICTURES:
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(PICTURES[part]))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(CLASSES[part]))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(ValueError, match="is damaged"):
        mnist(tmp_path)


def test_classes_beyond_the_ten(tmp_path: Path) -> None:
    for part in PICTURES:
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(PICTURES[part]))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(CLASSES[part] + np.uint8(5)))
    with pytest.raises(ValueError, match="train labels reach 14; expected 0 to 9"):
        fashion_mnist(tmp_path)
