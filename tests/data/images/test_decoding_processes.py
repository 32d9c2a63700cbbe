import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from ccvae.data.images import image_cache
from ccvae.data.images.decoding_processes import DECODED, UNREADABLE_FILE, decoded_by_processes, decoded_messages
from ccvae.data.images.image_cache import decoded_files
from ccvae.distributed import worker_processes
from ccvae.model.inputs.decoding import Framing, decode

FRAMING = Framing(12, 16, "crop")
COUNT = 7


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "häßliche\nNamen"
    folder.mkdir()
    for row in range(COUNT):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 40 + row, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.jpg")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_processes_give_what_decoding_gives(paths: list[Path], processes: int, channels: int) -> None:
    found = list(decoded_by_processes(paths, FRAMING, channels, processes))
    assert len(found) == COUNT
    for path, pixels in zip(paths, found, strict=True):
        np.testing.assert_array_equal(pixels, decode(path, FRAMING, channels))


def test_what_cannot_be_read_is_told_in_its_place(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths[2].write_text("hello")
    paths[3].write_bytes(paths[3].read_bytes()[:900])
    paths[5].unlink()
    found = list(decoded_by_processes(paths, FRAMING, 3, 2))
    assert [isinstance(result, str) for result in found] == [False, False, True, True, False, True, False]
    assert found[2] == "not an image, or of an unknown format"
    assert "truncated" in str(found[3])
    assert "there is no file" in str(found[5])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert not isinstance(list(decoded_by_processes(paths, FRAMING, 3, 2))[3], str)


def test_a_process_that_is_killed(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = subprocess.Popen

    def killed(*arguments: Any, **options: Any) -> Any:
        worker = plain(*arguments, **options)
        os.kill(worker.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(subprocess, "Popen", killed)
    with pytest.raises(OSError, match=r"(?s)a process that decodes images failed, at .*0.jpg or before it: it was killed"):
        list(decoded_by_processes(paths, FRAMING, 3, 2))


def test_a_process_that_fails_says_why(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_processes, "WORKER", "raise SystemExit('out of paper')")
    with pytest.raises(OSError, match="out of paper"):
        list(decoded_by_processes(paths, FRAMING, 3, 2))


def test_no_process_is_left_over(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    workers = []
    plain = subprocess.Popen

    def kept(*arguments: Any, **options: Any) -> Any:
        workers.append(plain(*arguments, **options))
        return workers[-1]

    monkeypatch.setattr(subprocess, "Popen", kept)
    reading = decoded_by_processes(paths, FRAMING, 3, 2)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert [worker.returncode is not None for worker in workers] == [True, True]


def test_the_cache_uses_them_where_there_is_much_to_do(paths: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache, "IMAGES_PER_PROCESS", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(image_cache, "decode", lambda *_: pytest.fail("decoded by a thread"))
    images, _ = decoded_files(paths[0].parent, [path.name for path in paths], FRAMING, None)
    for path, pixels in zip(paths, images, strict=True):
        np.testing.assert_array_equal(pixels, decode(path, FRAMING, 3))
    paths[4].write_text("hello")
    with pytest.raises(ValueError, match=r"(?s)1 of 7 images in .* cannot be read: 4.jpg: not an image"):
        decoded_files(paths[0].parent, [path.name for path in paths], FRAMING, None)
    assert len(list(cache.glob("images-*"))) == 1


def test_messages_of_a_worker(paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.jpg").write_bytes(b"no picture")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    request = {
        "framing": {"height": 12, "width": 16, "fit": "crop", "square": None},
        "channels": 1,
        "truncated": True,
        "most_pixels": 12_345,
        "paths": [str(paths[0]), str(tmp_path / "odd.jpg")],
    }
    picture, odd = decoded_messages(request)
    assert picture == DECODED + decode(paths[0], FRAMING, 1).tobytes()
    assert odd.startswith(UNREADABLE_FILE)
    assert b"not an image" in odd
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 12_345)
