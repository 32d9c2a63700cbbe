"""Splits are stratified by labels where these are known, and keep groups whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccvae.data import arrays
from ccvae.data.splits import SPLITS, split_rows

NAN = np.nan


def test_two_labelled_rows_of_many_are_trained_on() -> None:
    labels = np.full(200, NAN)
    labels[[17, 130]] = [0, 1]
    for seed in range(5):
        data = arrays(np.zeros((200, 2)), labels, seed=seed)
        assert {17, 130} <= set(data.splits["train"].tolist())
        assert [len(data.splits[split]) for split in SPLITS] == [160, 20, 20]


@pytest.mark.parametrize("labelled", [6, 8, 10, 12, 20])
def test_few_labels_are_in_every_split(labelled: int) -> None:
    for seed in range(5):
        labels = np.full(60, NAN)
        rows = np.random.default_rng(seed).permutation(60)[:labelled]
        labels[rows] = np.arange(labelled) % 2
        data = arrays(np.zeros((60, 2)), labels, seed=seed, validation=0.2, test=0.2)
        for split in SPLITS:
            assert (~np.isnan(data.labels[data.splits[split], 0])).any(), split


def test_values_keep_their_shares() -> None:
    labels = np.repeat([0, 1, 2], [160, 30, 10])
    for seed in range(5):
        splits = arrays(np.zeros((200, 2)), labels, kinds={"label": "categorical"}, seed=seed).splits
        assert np.bincount(labels[splits["validation"]], minlength=3).tolist() == [16, 3, 1]
        assert np.bincount(labels[splits["test"]], minlength=3).tolist() == [16, 3, 1]


def test_many_rare_classes_are_all_trained_on() -> None:
    labels = np.repeat(np.arange(20), 3)
    splits = arrays(np.zeros((60, 2)), labels, kinds={"label": "categorical"}).splits
    assert set(labels[splits["train"]]) == set(range(20))
    assert [len(splits[split]) for split in SPLITS] == [48, 6, 6]


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 80), st.integers(0, 4), st.floats(0, 0.4), st.floats(0, 0.4), st.integers(0, 99))
def test_every_row_is_in_one_split(rows: int, count: int, validation: float, test: float, seed: int) -> None:
    strata = np.random.default_rng(seed).random((rows, count)) < 0.3
    splits = split_rows(rows, validation, test, seed, strata=strata)
    assert sorted(np.concatenate([splits[split] for split in SPLITS]).tolist()) == list(range(rows))
    plain = split_rows(rows, validation, test, seed)
    assert [len(splits[split]) for split in SPLITS] == [len(plain[split]) for split in SPLITS]
    for column in range(count):
        members = np.flatnonzero(strata[:, column])
        assert not len(members) or len(splits["train"]) < count or np.isin(members, splits["train"]).any()


def test_groups_stay_whole_and_labels_even() -> None:
    groups = np.repeat([f"p{number}" for number in range(50)], 4)
    labels = np.full(200, NAN)
    labels[::4] = np.arange(50) < 10  # the first row of each patient
    for seed in range(3):
        data = arrays(np.zeros((200, 2)), labels, groups=groups, seed=seed)
        assert [len(data.splits[split]) for split in SPLITS] == [160, 20, 20]
        found = [int(np.nansum(data.labels[data.splits[split], 0])) for split in SPLITS]
        assert found == [8, 1, 1]
