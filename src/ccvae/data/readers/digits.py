"""Handwritten digits: the 1,797 small pictures that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from ccvae.data.dataset import Dataset
from ccvae.data.origin import recorded
from ccvae.data.readers.arrays import arrays
from ccvae.data.splits import split_rows

__all__ = ["digits"]

MOST_LEVEL = 16  # of scikit-learn's grey levels


@recorded
def digits(
    size: int = 16,
    *,
    labelled: int | float | None = None,
    validation: int | float = 0.15,
    test: int | float = 0.15,
    seed: int = 0,
) -> Dataset:
    """1,797 handwritten digits of 8×8 pixels, enlarged, with two labels.

    "digit" has ten classes; "stroke_weight" is a number, the mean grey level of the picture as it was, from 0 to 1.

    Args:
        size: height and width in pixels; enlarged by cubic interpolation.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of rows to validate on.
        test: number (int) or fraction (float) of rows to test on.
        seed: random seed of the splits and of which labels are hidden.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits come with scikit-learn: pip install 'ccvae[sklearn]'") from None
    source = load_digits()
    levels = source.images / MOST_LEVEL
    small = np.rint(levels * 255).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in small])
    table = pd.DataFrame({"digit": source.target, "stroke_weight": levels.mean(axis=(1, 2))})
    return arrays(
        images,
        table,
        kinds={"digit": "categorical"},
        labelled=labelled,
        splits=split_rows(len(images), validation, test, seed),
        seed=seed,
        name="digits",
    )
