"""Mirroring: a label of the side is found, others are not accused."""

import numpy as np
import pytest

from ccvae.config import TrainConfig
from ccvae.data import arrays
from ccvae.training.mirror_check import check_mirrored

QUICK = TrainConfig(teacher_steps=60, teacher_width=4, teacher_dropout=0.2, teacher_weight_decay=0.05)


def bars(count=240):
    """A bar on the left or right, bright or dark."""
    rng = np.random.default_rng(0)
    left, bright = rng.integers(0, 2, (2, count))
    images = rng.integers(90, 110, (count, 16, 16, 1)).astype(np.uint8)
    for row in range(count):
        start = 2 if left[row] else 10
        images[row, :, start : start + 4] = 220 if bright[row] else 20
    return arrays(images, {"left": left, "bright": bright}, validation=60, test=0)


def test_a_label_of_the_side_is_found_and_no_other():
    left, bright = check_mirrored(bars(), QUICK, progress=False)
    assert (left.label, left.rows, left.sided) == ("left", 60, True)
    assert left.loss > 1
    assert (bright.label, bright.sided) == ("bright", False)


def test_only_labelled_images_can_be_tested():
    vectors = arrays(np.zeros((20, 3), np.float32), {"on": [0, 1] * 10})
    with pytest.raises(ValueError, match=r"only images can be mirrored; .* vectors of 3 features"):
        check_mirrored(vectors, QUICK)
    images = arrays(bars().inputs, {"left": [0, 1] * 120}, validation=0, test=0)
    with pytest.raises(ValueError, match="labelled training and validation rows"):
        check_mirrored(images, QUICK)
