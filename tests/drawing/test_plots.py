import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from ccvae.drawing.plots import training_curves, vector_reconstructions, vector_traversals

METRICS = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train/total": [-9.0, -5, -4],
        "validation/total": [-8.0, np.nan, -5],
        "validation/accuracy": [0.5, 0.6, 0.7],
    }
)


def ink(picture):
    return (np.asarray(picture) < 250).any(axis=2)


def colors(picture):
    return {tuple(color) for color in np.asarray(picture).reshape(-1, 3)}


def test_training_curves_show_both_splits():
    picture = training_curves(METRICS)
    assert {(31, 111, 235), (194, 87, 12)} <= colors(picture)
    one = training_curves(METRICS[["epoch", "train/total"]])
    assert (31, 111, 235) not in colors(one)
    assert one.width < picture.width
    training_curves(METRICS.iloc[:1])


@pytest.mark.parametrize("count", [1, 11, 200])
def test_vectors(count):
    features = [f"a feature with quite a long name, number {number}" for number in range(count)]
    vectors = np.random.default_rng(0).normal(size=(9, count))
    before = dict(mpl.rcParams)
    for picture in (
        vector_reconstructions(vectors[:4], vectors[4:8], list("abcd"), features),
        vector_traversals([("label", ("no", "yes"), vectors), ("class", tuple("abcdefghi"), vectors)], features),
    ):
        assert ink(picture).any()
        assert not ink(picture)[:2].any(), "nothing is cut off"
        assert not ink(picture)[:, -2:].any()
    assert dict(mpl.rcParams) == before
