"""Soft targets: observed cells stay, missing ones follow the teacher's distribution."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as masks

from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

SPACE = LabelSpace((Binary("on"), Categorical("kind", ("a", "b", "c")), Continuous("size")))
COLUMNS = ["on=0", "on=1", "kind=a", "kind=b", "kind=c", "size", "size.std"]


def targets(rows):
    return SoftTargets(SPACE, rows, np.tile(np.float32([0.8, 0.2, 0.1, 0.3, 0.6, 5.0, 2.0]), (len(rows), 1)))


@given(masks(bool, (6, 3)), st.integers(0, 9))
def test_observed_cells_stay_and_all_others_are_filled(observed, seed):
    labels = np.where(observed, np.float32([[1, 2, -3]]), np.float32(np.nan))
    rows = np.array([3, 5, 6, 8, 11, 12])
    filled = targets(np.arange(20)).fill(labels, rows, np.random.default_rng(seed))
    np.testing.assert_array_equal(filled[observed], labels[observed])
    assert np.isfinite(filled).all()
    SPACE.check(filled)
    assert (filled[~observed[:, 0], 0] == np.float32(0.2)).all()


def test_draws_follow_the_teacher():
    rows = np.arange(40_000)
    filled = targets(rows).fill(np.full((len(rows), 3), np.nan, np.float32), rows, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(filled[:, 1].astype(int)) / len(rows), [0.1, 0.3, 0.6], atol=0.01)
    assert filled[:, 2].mean() == pytest.approx(5, abs=0.05)
    assert filled[:, 2].std() == pytest.approx(2, abs=0.05)


def test_each_row_gets_its_own_prediction():
    predictions = np.tile(np.float32([0.8, 0.2, 0.1, 0.3, 0.6, 5.0, 0.0]), (3, 1))
    predictions[:, 1] = [0.1, 0.5, 0.9]
    predictions[:, 5] = [1, 2, 3]
    found = SoftTargets(SPACE, np.array([2, 7, 30]), predictions)
    filled = found.fill(np.full((4, 3), np.nan, np.float32), np.array([2, 7, 7, 30]), np.random.default_rng(0))
    np.testing.assert_allclose(filled[:, 0], [0.1, 0.5, 0.5, 0.9])
    np.testing.assert_allclose(filled[:, 2], [1, 2, 2, 3])


def test_mean_is_that_of_the_mixture():
    first = pd.DataFrame([[0.9, 0.1, 1.0, 0.0, 0.0, 0.0, 1.0]], columns=COLUMNS)
    second = pd.DataFrame([[0.5, 0.5, 0.0, 1.0, 0.0, 4.0, 1.0]], columns=COLUMNS)
    np.testing.assert_allclose(mean_predictions([first, second], SPACE), [[0.7, 0.3, 0.5, 0.5, 0, 2, np.sqrt(5)]], rtol=1e-6)
    np.testing.assert_allclose(mean_predictions([first], SPACE), first, rtol=1e-6)


def test_wrong_shapes_and_numbers_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2, 7\), found \(2, 6\)"):
        SoftTargets(SPACE, np.arange(2), np.zeros((2, 6), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        SoftTargets(SPACE, np.arange(2), np.full((2, 7), np.nan, np.float32))
