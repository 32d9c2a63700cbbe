from dataclasses import replace

import numpy as np
import pytest

from ccvae.data import arrays
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches

ROWS = 400


@pytest.fixture
def rare() -> Dataset:
    """One label in ten is "yes"."""
    inputs = np.arange(ROWS, dtype=np.float32)[:, None]
    return arrays(inputs, {"rare": [int(row % 10 == 0) for row in range(ROWS)]}, validation=0, test=0)


def drawn(batches: Batches, steps: int) -> np.ndarray:
    return np.concatenate([batches.rows(step) for step in range(steps)])


@pytest.mark.parametrize("hidden", [False, True])
def test_balanced_batches_show_both_values_equally_often(rare: Dataset, hidden: bool) -> None:
    data = rare.hide(100) if hidden else rare
    batches = Batches(data, 50, labelled_share=0.5, balanced=True)
    labels = data.labels[drawn(batches, 200), 0]
    assert np.nanmean(labels) == pytest.approx(0.5, abs=0.03)
    assert np.nanmean(data.labels[drawn(Batches(data, 50, labelled_share=0.5), 200), 0]) == pytest.approx(0.1, abs=0.02)
    if hidden:
        assert np.isnan(labels).mean() == 0.5


def test_balanced_batches_pass_over_all_unlabelled_rows(rare: Dataset) -> None:
    data = rare.hide(100)
    batches = Batches(data, 50, labelled_share=0.5, balanced=True)
    rows = drawn(batches, len(batches))
    unlabelled = rows[np.isnan(data.labels[rows, 0])]
    assert np.bincount(unlabelled, minlength=ROWS).max() == 1
    assert len(unlabelled) == 300


def test_balanced_batches_depend_on_seed_and_step_alone(rare: Dataset) -> None:
    first, second, other = (Batches(rare, 50, seed, balanced=True) for seed in (0, 0, 1))
    for step in (5, 2, 11):
        np.testing.assert_array_equal(first.rows(step), second.rows(step))
        assert (first.rows(step) != other.rows(step)).any()
    assert (first.rows(0) != first.rows(1)).any()


def test_what_makes_no_batches_is_refused(rare: Dataset) -> None:
    hidden = replace(rare, labels=np.full_like(rare.labels, np.nan))
    with pytest.raises(ValueError, match="no training row has an observed label"):
        Batches(hidden, 50)
    one = replace(rare, splits={"train": np.array([3]), "validation": np.array([4]), "test": np.array([], dtype=int)})
    with pytest.raises(ValueError, match="training needs at least 2 rows, found 1"):
        Batches(one, 50)
    for size, share, count in ((4, 0.1, 0), (4, 0.9, 4)):
        with pytest.raises(ValueError, match=rf"labelled_share: {share} of {size} rows makes {count} labelled ones"):
            Batches(rare.hide(20), size, labelled_share=share)
    with pytest.raises(ValueError, match="a batch of 3 rows cannot be shared by 4 processes"):
        Batches(rare, 3, world_size=4)
    assert len(Batches(rare, 4, world_size=4)) == 100
