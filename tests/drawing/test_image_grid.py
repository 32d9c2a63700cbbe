import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ccvae.drawing.image_grid import (
    MARGIN,
    SMALL_TYPE,
    TYPE,
    WIDEST_NAME,
    Row,
    captioned,
    grid,
    length,
    to_pil,
    to_pixels,
    wrapped,
    write_png,
)


def pictures(count, height=16, width=16, channels=3):
    # darker than the paper, so that they can be told from it
    return np.random.default_rng(0).integers(0, 200, (count, height, width, channels), dtype=np.uint8)


def rows_with_ink(canvas, left=0, right=None):
    return np.flatnonzero((np.asarray(canvas)[:, left:right] < 250).any(axis=(1, 2)))


@pytest.mark.parametrize(
    ("height", "width", "channels", "factor"), [(32, 32, 3, 5), (16, 40, 1, 4), (100, 60, 3, 1), (200, 180, 1, 1)]
)
def test_pixels_are_enlarged_by_whole_factors(height, width, channels, factor):
    one, two = pictures(2, height, width, channels)
    canvas = np.asarray(grid([Row([one, two])], tile=160))
    size = (height * factor, width * factor)
    assert canvas.shape == (2 * MARGIN + size[0], 2 * MARGIN + 2 * size[1] + 8, 3)
    found = canvas[MARGIN : MARGIN + size[0], MARGIN : MARGIN + size[1]]
    assert (found == np.broadcast_to(one, (height, width, 3)).repeat(factor, 0).repeat(factor, 1)).all()


def test_gaps_breaks_and_groups_leave_paper():
    one, two, three = pictures(3)
    canvas = np.asarray(grid([Row([None, one, two]), Row([three], apart=True)], tile=16, breaks=(1,)))
    paper = (canvas == 255).all(axis=2)
    assert paper[MARGIN : MARGIN + 16, MARGIN : MARGIN + 16].all()
    columns = np.flatnonzero(~paper[MARGIN : MARGIN + 16].all(axis=0))
    assert columns[0] == MARGIN + 16 + 8 + 32
    rows = np.flatnonzero(~paper.all(axis=1))
    assert np.diff(rows).max() == 1 + 8 + 32


def test_words_stand_where_they_belong():
    one = pictures(1)[0]
    bare = grid([Row([one, one])], tile=160)
    full = grid(
        [Row([one, one], "name", "note", above=["above"], below=["", "below"], colors=["", "#ff0000"], bars=[0.25])], 160
    )
    left = full.width - bare.width
    assert left > 0
    picture = np.asarray(full)[rows_with_ink(full, left + 200)]
    red = np.flatnonzero((picture[:, :, 0].astype(int) - picture[:, :, 1] > 100).all(axis=0))
    assert len(red) == 0, "words do not fill columns"
    text = np.argwhere((np.asarray(full) == (255, 0, 0)).all(axis=2))
    assert len(text)
    assert text[:, 1].min() > full.width // 2, "beneath the second picture"
    bar = np.argwhere((np.asarray(full) == (31, 111, 235)).all(axis=2))
    assert np.ptp(bar[:, 1]) + 1 == 40, "a quarter of 160"


def test_long_names_are_broken_and_the_sheet_stays_as_wide():
    name = "Enlarged Cardiomediastinum_of_the_second_reader Supercalifragilisticexpialidocious"
    canvas = grid([Row(list(pictures(1)), name, name)], tile=160)
    assert canvas.width <= MARGIN * 2 + WIDEST_NAME + 20 + 160
    assert np.asarray(canvas)[:, : MARGIN - 2].min() == 255, "no word leaves the sheet"


@given(st.text(max_size=80), st.integers(60, 400), st.integers(1, 4))
def test_wrapped(text, width, most):
    lines = wrapped(text, TYPE, width, most)
    assert len(lines) <= most
    assert all(length(line, TYPE) <= width or len(line) == 1 for line in lines)
    whole = wrapped(text, TYPE, width, 1000)
    if len(whole) <= most:
        assert "".join("".join(lines).split()) == "".join(text.split())
    else:
        assert lines[-1].endswith("…")


def test_wrapped_breaks_where_words_end():
    assert wrapped("Wearing_Hat=1", SMALL_TYPE, 120, 2) == ["Wearing_", "Hat=1"]
    assert wrapped("", SMALL_TYPE, 120, 2) == []


def test_pictures_of_tensors():
    tensor = torch.rand(2, 3, 1, 8, 4)
    pixels = to_pixels(tensor)
    assert pixels.shape == (2, 3, 8, 4, 1)
    np.testing.assert_allclose(pixels[1, 2, :, :, 0] / 255, tensor[1, 2, 0], atol=0.5 / 255 + 1e-6)
    assert to_pil(tensor[0, 0]).size == (4, 8)
    assert to_pixels(torch.tensor([[[2.0, -1.0]]])).tolist() == [[[255], [0]]]
    size = grid([Row(list(to_pixels(row))) for row in tensor], tile=8).size
    assert size == (
        2 * MARGIN + 3 * 4 + 2 * 8,
        2 * MARGIN + 2 * 8 + 8,
    )


def test_a_picture_bears_its_words(tmp_path):
    path = write_png(tmp_path / "figures" / "one.png", Image.new("RGB", (4, 4)), "Größe", "What → it shows")
    with Image.open(path) as picture:
        assert (picture.info["Title"], picture.info["Description"]) == ("Größe", "What → it shows")
    assert list(path.parent.iterdir()) == [path]


def test_captions_stand_below_and_fit():
    image = grid([Row(list(pictures(2)))], tile=16)
    caption = "Images with Smiling=1, Eyeglasses=0 and quite a few other labels, below originals and reconstructions."
    canvas = captioned(image, caption)
    assert (np.asarray(canvas)[: image.height - 8, : image.width] == np.asarray(image)[: image.height - 8]).all()
    ink = rows_with_ink(canvas)
    assert ink.max() > image.height
    assert canvas.height - ink.max() >= 4, "nothing is cut off"
    assert (np.asarray(canvas)[:, -4:] == 255).all()
