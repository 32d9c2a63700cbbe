import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ccvae.data.images import image_cache
from ccvae.data.images.image_cache import decoded_files
from ccvae.model.inputs.decoding import Framing, decode
from picture_files import noise, saved


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def test_images_are_grey_only_if_all_of_them_are(folder: Path) -> None:
    saved(folder / "a.png", noise(4, 4, 1))
    saved(folder / "b.png", noise(4, 4, 1) // 128 * 255, bits=1)
    saved(folder / "c.png", noise(4, 4, 1).astype(np.uint16))
    grey_palette = Image.fromarray(noise(4, 4, 1)).convert("P")
    grey_palette.save(folder / "d.png")
    greys = ["a.png", "b.png", "c.png", "d.png"]
    saved(folder / "e.png", noise(4, 4))
    assert decoded_files(folder, greys, Framing.of(4), None)[0].shape == (4, 4, 4, 1)
    assert decoded_files(folder, [*greys, "e.png"], Framing.of(4), None)[0].shape == (5, 4, 4, 3)
    assert decoded_files(folder, [*greys, "e.png"], Framing.of(4), 1)[0].shape == (5, 4, 4, 1)


def test_the_cache_holds_what_decoding_gives(folder: Path, cache: Path) -> None:
    files = [f"{row}.png" for row in range(30)]
    for row, file in enumerate(files):
        saved(folder / file, noise(10 + row % 3, 12, 3, row))
    images, notes = decoded_files(folder, files, Framing.of((16, 20)), None)
    assert isinstance(images, np.memmap)
    assert images.shape == (30, 16, 20, 3)
    for row, file in enumerate(files):
        np.testing.assert_array_equal(images[row], decode(folder / file, Framing(16, 20), 3))
    assert notes == ("images of 3 sizes (10 of 12×10; 10 of 12×11; 10 of 12×12), stretched to 20×16",)
    assert decoded_files(folder, files[:1], Framing.of(20, "pad"), None)[1] == (
        "all images are 12×10, scaled and padded to 20×20",
    )
    assert decoded_files(folder, files[:1], Framing.of((10, 12)), None)[1] == ("all images are 12×10",)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3


def test_nothing_is_decoded_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(folder / "a.png", noise(4, 4))
    first, _ = decoded_files(folder, ["a.png"], Framing.of(4), None)
    monkeypatch.setattr(image_cache, "decode", lambda *_: pytest.fail("decoded again"))
    second, _ = decoded_files(folder, ["a.png"], Framing.of(4), None)
    np.testing.assert_array_equal(first, second)


def test_a_changed_file_is_noticed(folder: Path) -> None:
    path = saved(folder / "a.png", noise(4, 4, seed=0))
    before, _ = decoded_files(folder, ["a.png"], Framing.of(4), None)
    when = path.stat()
    saved(path, noise(4, 4, seed=1))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns + 1))
    after, _ = decoded_files(folder, ["a.png"], Framing.of(4), None)
    np.testing.assert_array_equal(after[0], noise(4, 4, seed=1))
    np.testing.assert_array_equal(before[0], noise(4, 4, seed=0))


def test_a_file_that_changes_while_it_is_read(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(folder / "a.png", noise(4, 4))
    plain = image_cache.decode

    def decode_and_touch(*arguments: Any) -> np.ndarray:
        os.utime(path, ns=(0, 0))
        return plain(*arguments)

    monkeypatch.setattr(image_cache, "decode", decode_and_touch)
    with pytest.raises(ValueError, match="changed while they were read"):
        decoded_files(folder, ["a.png"], Framing.of(4), None)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_broken_files_are_named_and_nothing_is_kept(folder: Path, cache: Path) -> None:
    files = [f"{row}.jpg" for row in range(12)]
    for row, file in enumerate(files):
        saved(folder / file, noise(40, 40, seed=row))
    for row in (3, 7):
        whole = (folder / files[row]).read_bytes()
        (folder / files[row]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"2 of 12 images in .* cannot be read: 3.jpg: .*truncated.*; 7.jpg: .*truncated"):
        decoded_files(folder, files, Framing.of(16), None)
    (folder / "5.jpg").write_text("hello")
    (folder / "6.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"4 of 12 images in .*: 3.jpg: .*; 5.jpg: not an image, or of an unknown format; 6.jpg: the file is empty",
    ):
        decoded_files(folder, files, Framing.of(16), None)
    assert not [path for path in cache.iterdir() if path.is_dir()]


@pytest.mark.filterwarnings("ignore:Truncated File Read")  # Pillow says so of TIFF files before it gives up
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "bmp", "webp"])
def test_files_cut_short_anywhere_are_refused_in_every_format(folder: Path, suffix: str) -> None:
    whole = saved(folder / f"a.{suffix}", noise(40, 40)).read_bytes()
    for share in (0.02, 0.3, 0.9):
        (folder / f"a.{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=r"1 of 1 images in .* cannot be read"):
            decoded_files(folder, [f"a.{suffix}"], Framing.of(16), None)


def test_files_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(folder / "a.png", noise(4, 4))

    def refuse(path: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(image_cache, "decode", refuse)
    with pytest.raises(ValueError, match=r"a.png: no permission to read it"):
        decoded_files(folder, ["a.png"], Framing.of(4), None)


def test_a_full_disk(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [saved(folder / f"{row}.png", noise(64, 64, seed=row)).name for row in range(8)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # writing fails after so many bytes
    try:
        with pytest.raises(OSError, match=r"cannot write 0 MB to the cache folder .*CCVAE_CACHE"):
            decoded_files(folder, files, Framing.of(64), 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: type("usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="only 0 MB are free"):
        decoded_files(folder, files, Framing.of(64), 3)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_channels_that_make_no_sense(folder: Path) -> None:
    with pytest.raises(ValueError, match="channels must be 1 or 3, not 2"):
        decoded_files(folder, [], Framing(4, 4), 2)


@pytest.fixture
def many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ten files that are read in batches of four."""
    monkeypatch.setattr(image_cache, "BATCH", 4)
    return [saved(folder / f"{row}.png", noise(4, 4, seed=row)).name for row in range(10)]


@pytest.mark.parametrize("stopped_at", [0, 3, 5, 9])
def test_interrupted_work_goes_on_where_it_stopped(
    folder: Path, cache: Path, many: list[str], stopped_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = image_cache.decode
    read: list[str] = []

    def decode_some(path: Path, *others: Any) -> np.ndarray:
        if path.name == many[stopped_at]:
            raise KeyboardInterrupt
        return plain(path, *others)

    def decode_and_count(path: Path, *others: Any) -> np.ndarray:
        read.append(path.name)
        return plain(path, *others)

    monkeypatch.setattr(image_cache, "decode", decode_some)
    with pytest.raises(KeyboardInterrupt):
        decoded_files(folder, many, Framing(4, 4), None)
    assert not list(cache.glob("images-*"))
    for left in cache.glob(".images-*/images.npy"):  # as a crash may leave it
        with left.open("ab") as file:
            file.write(b"half a row")
    monkeypatch.setattr(image_cache, "decode", decode_and_count)
    monkeypatch.setattr(image_cache, "header_of", lambda _: pytest.fail("read a header again"))
    images, _ = decoded_files(folder, many, Framing(4, 4), None)
    assert sorted(read) == sorted(many[stopped_at // 4 * 4 :])
    for row in range(10):
        np.testing.assert_array_equal(images[row], noise(4, 4, seed=row))
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [path.name for path in cache.glob("images-*")]
    assert sorted(path.name for path in cache.glob("images-*/*")) == ["about.json", "images.npy"]


def test_two_processes_may_build_at_once(folder: Path, cache: Path) -> None:
    for row in range(60):
        saved(folder / f"{row:02}.png", noise(40, 40, seed=row))
    code = f"""
from pathlib import Path
from ccvae.model.inputs.decoding import Framing
from ccvae.data.images.image_cache import decoded_files
files = sorted(path.name for path in Path({str(folder)!r}).iterdir())
print(int(decoded_files(Path({str(folder)!r}), files, Framing(16, 16), None)[0].astype(int).sum()))"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    expected = sum(int(decode(path, Framing(16, 16), 3).astype(int).sum()) for path in folder.iterdir())
    assert [int(process.communicate()[0]) for process in processes] == [expected] * 2
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_rows_after_a_broken_image_are_not_taken_for_done(
    folder: Path, cache: Path, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (folder / many[1]).read_bytes()
    (folder / many[1]).write_bytes(whole[:60])
    plain = image_cache.decode

    def decode_some(path: Path, *others: Any) -> np.ndarray:
        if path.name == many[9]:
            raise KeyboardInterrupt
        return plain(path, *others)

    monkeypatch.setattr(image_cache, "decode", decode_some)
    with pytest.raises(KeyboardInterrupt):
        decoded_files(folder, many, Framing(4, 4), None)
    monkeypatch.setattr(image_cache, "decode", plain)
    with pytest.raises(ValueError, match="1 of 10 images"):
        decoded_files(folder, many, Framing(4, 4), None)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_the_sizes_kept_beside_the_pixels_are_json(folder: Path, cache: Path) -> None:
    saved(folder / "a.png", noise(4, 6))
    decoded_files(folder, ["a.png"], Framing.of(4), None)
    (sizes,) = cache.glob("images-*/about.json")
    assert json.loads(sizes.read_text(encoding="utf-8")) == {"channels": 3, "sizes": [[6, 4, 1]]}
