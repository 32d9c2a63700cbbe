from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ccvae.model.inputs.decoding import Fit, Framing, decode, pixels_of
from picture_files import noise, saved


def test_pixels_of_the_right_size_are_kept(tmp_path: Path) -> None:
    for channels in (1, 3):
        pixels = noise(17, 23, channels)
        path = saved(tmp_path / f"{channels}.png", pixels)
        np.testing.assert_array_equal(decode(path, Framing(17, 23), channels).squeeze(), pixels)


def test_grey_becomes_three_equal_channels_and_colour_grey(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", noise(4, 4, 1))
    np.testing.assert_array_equal(decode(grey, Framing(4, 4), 3), np.repeat(noise(4, 4, 1)[..., None], 3, axis=2))
    colour = saved(tmp_path / "colour.png", noise(4, 4))
    np.testing.assert_allclose(decode(colour, Framing(4, 4), 1)[..., 0], noise(4, 4) @ [0.299, 0.587, 0.114], atol=1)


def test_stretch_crop_and_pad(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 1), dtype=np.uint8)
    pixels[:, :10] = 100
    pixels[:, 30:] = 200
    path = saved(tmp_path / "wide.png", pixels[..., 0])
    stretched, cropped, padded = (decode(path, Framing(20, 20, fit), 1)[..., 0] for fit in ("stretch", "crop", "pad"))
    assert (stretched[:, :4] == 100).all()
    assert (stretched[:, -4:] == 200).all()
    assert (cropped == 0).all()
    assert (padded[:4] == 0).all()
    assert (padded[-4:] == 0).all()
    assert (padded[7:13, :4] == 100).all()
    np.testing.assert_array_equal(padded[7], stretched[7])


def test_shrinking_averages_over_what_a_pixel_covers(tmp_path: Path) -> None:
    chequered = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode(saved(tmp_path / "c.png", chequered), Framing(16, 16), 1)[2:-2, 2:-2].astype(int) - 128).max() <= 2


def test_a_rotation_in_the_exif_data_is_carried_out(tmp_path: Path) -> None:
    pixels = noise(6, 9)
    for orientation, turn in {3: 2, 6: 3, 8: 1}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path / f"{orientation}.png", pixels, exif=exif)
        expected = np.rot90(pixels, turn)
        np.testing.assert_array_equal(decode(path, Framing(*expected.shape[:2]), 3), expected)


def test_transparent_pixels_lie_over_white(tmp_path: Path) -> None:
    colour = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], dtype=np.uint8)
    found = decode(saved(tmp_path / "rgba.png", colour), Framing(1, 3), 3)
    np.testing.assert_allclose(found, [[[200, 0, 0], [255, 255, 255], [227, 127, 127]]], atol=1)
    grey = np.array([[[80, 255], [80, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(decode(saved(tmp_path / "la.png", grey), Framing(1, 2), 1), [[[80], [255]]])
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    np.testing.assert_array_equal(decode(tmp_path / "p.png", Framing(1, 2), 3), [[[10, 20, 30], [255, 255, 255]]])


def test_sixteen_bits_are_scaled_over_their_whole_range(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    for suffix in ("png", "tiff"):
        path = saved(tmp_path / f"deep.{suffix}", levels)
        np.testing.assert_array_equal(decode(path, Framing(1, 4), 1)[0, :, 0], [0, 1, 128, 255])
    Image.fromarray(levels.astype(np.int32)).save(tmp_path / "deep32.tiff")
    np.testing.assert_array_equal(decode(tmp_path / "deep32.tiff", Framing(1, 4), 1)[0, :, 0], [0, 1, 128, 255])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red = decode(tmp_path / "red.jpg", Framing(16, 16), 3)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 6


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    for suffix in ("gif", "png", "webp", "tiff"):
        path = tmp_path / f"moving.{suffix}"
        first.save(path, save_all=True, append_images=[second], **({"lossless": True} if suffix == "webp" else {}))
        with Image.open(path) as opened:
            assert getattr(opened, "n_frames", 1) == 2
        np.testing.assert_array_equal(decode(path, Framing(8, 8), 3), np.broadcast_to([255, 0, 0], (8, 8, 3)))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_large_jpeg_files_become_the_same_pixels_as_the_same_images_in_memory(tmp_path: Path, fit: Fit) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    path = saved(tmp_path / "large.jpg", noise, quality=90)
    with Image.open(path) as image:
        image.load()
        np.testing.assert_array_equal(pixels_of(image, Framing(32, 32, fit), 3), decode(path, Framing(32, 32, fit), 3))
        np.testing.assert_array_equal(pixels_of(image.copy(), Framing(32, 32, fit), 1), decode(path, Framing(32, 32, fit), 1))


def test_grey_with_premultiplied_alpha_is_read(tmp_path: Path) -> None:
    clear = Image.fromarray(np.array([[[100, 255], [7, 0]]], dtype=np.uint8), "LA")
    expected = pixels_of(clear, Framing(1, 2), 1)
    np.testing.assert_array_equal(pixels_of(clear.convert("La"), Framing(1, 2), 1), expected)
    np.testing.assert_array_equal(expected[0, :, 0], [100, 255])


def test_levels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="floating-point grey levels"):
        decode(tmp_path / "float.tiff", Framing(4, 4), 1)
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(tmp_path / "int.tiff")
    with pytest.raises(ValueError, match="grey levels from 70000 to 70000"):
        decode(tmp_path / "int.tiff", Framing(4, 4), 1)


@pytest.mark.parametrize("square", [6, 7])
def test_a_square_can_be_cut_from_the_middle(tmp_path: Path, square: int) -> None:
    pixels = noise(10, 8)
    path = saved(tmp_path / "a.png", pixels)
    top, left = (10 - square) // 2, (8 - square) // 2
    found = decode(path, Framing(square, square, square=square), 3)
    np.testing.assert_array_equal(found, pixels[top : top + square, left : left + square])
    with pytest.raises(ValueError, match="8×10 pixels are too few to cut a square of 9 from"):
        decode(path, Framing(4, 4, square=9), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "size must be a positive whole number"),
        (((4, 4, 4),), "size must be"),
        ((4.5,), "size must be"),
        (("4",), "size must be"),
        ((4, "squash"), "fit must be one of stretch, crop, pad, not 'squash'"),
        ((4, "crop", 0), "the square to cut out"),
    ],
)
def test_framings_that_make_no_sense(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Framing.of(*arguments)


def test_framings_say_what_they_do() -> None:
    assert str(Framing.of((3, 4), "crop", 9)) == "cut to 9×9, then cropped and scaled to 4×3"
    assert Framing.of(5) == Framing(5, 5, "stretch", None)
