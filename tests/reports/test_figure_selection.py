import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.reports.figure_selection import (
    by_typicality,
    covering,
    distant_pair,
    end_values,
    evenly_ranked,
    select,
    sources_of,
    targets_of,
    value_indicators,
)
from conftest import squares

SPACE = LabelSpace((Binary("a", prior=0.3), Categorical("b", ("x", "y", "z"), (0.2, 0.5, 0.3)), Continuous("c", 10.0, 2.0)))
KNOWN = np.array(
    [[0, 0, 8], [1, 1, 10], [0, 1, 10], [1, 2, np.nan], [np.nan, 1, 14], [0, np.nan, 7], [1, 0, 12]], dtype=np.float32
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CCVAE(SPACE, (16,), None)


def test_values_shown():
    shown = value_indicators(SPACE, KNOWN)
    assert shown[0].tolist() == [True, False, True, False, False, True, False]
    assert shown[3].tolist() == [False, True, False, False, True, False, False], "what is missing is not shown"


@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 6))))
def test_covering_shows_all_values_that_there_are(shown):
    chosen = covering(shown, len(shown))
    assert sorted(chosen) == list(range(len(shown)))
    few = covering(shown, shown.shape[1])
    assert (shown[few].any(axis=0) == shown.any(axis=0)).all()


def test_ordinary_puts_the_most_probable_labels_first():
    order = by_typicality(SPACE, KNOWN).tolist()
    assert order.index(2) < order.index(1), "a is absent more often"
    assert order.index(1) < order.index(6), "y is the most frequent class"


@given(arrays.arrays(np.float64, st.integers(0, 30), elements=st.floats(-5, 5) | st.just(np.nan)), st.integers(1, 8))
def test_spread(numbers, count):
    chosen = evenly_ranked(numbers, count)
    known = (~np.isnan(numbers)).sum()
    assert len(set(chosen.tolist())) == len(chosen) == min(count, known)
    assert (np.diff(numbers[chosen]) >= 0).all()


def test_donors_show_a_label_in_different_ways(model):
    latents = torch.randn(len(KNOWN), model.config.latent_dim)
    values = KNOWN[sources_of(model, "a", latents, KNOWN, 3), 0]
    assert values.tolist() == [1, 1, 0]
    assert KNOWN[sources_of(model, "b", latents, KNOWN, 5), 1].tolist() == [0, 1, 2]
    numbers = KNOWN[sources_of(model, "c", latents, KNOWN, 4), 2]
    assert numbers.tolist() == sorted(numbers.tolist())
    assert len(numbers) == 4
    nobody = np.where(KNOWN == 1, np.nan, KNOWN)
    assert nobody[sources_of(model, "a", latents, nobody, 3), 0].tolist() == [0]
    unknown = np.full_like(KNOWN, np.nan)
    for name in SPACE.names:
        assert len(sources_of(model, name, latents, unknown, 3)) == len(targets_of(SPACE, name, unknown, 3)) == 0


def test_recipients():
    assert KNOWN[targets_of(SPACE, "a", KNOWN, 4), 0].tolist() == [0, 0, 0, 1]
    assert sorted(KNOWN[targets_of(SPACE, "b", KNOWN, 4), 1].tolist()) == [0, 1, 2]
    assert (KNOWN[targets_of(SPACE, "c", KNOWN, 4), 2] <= 10).tolist() == [True, True, True, False]


def test_far_apart_labels_change_much_at_different_places():
    maps = torch.tensor([[5.0, 0, 0, 0], [5, 0.1, 0, 0], [0, 0, 0, 4], [0, 0.01, 0, 0]])
    assert distant_pair(maps, ("hat", "hat_too", "tie", "nothing")) == ("hat", "tie")


def test_choose(trained, data):
    model, _ = trained
    selection = select(model, data)
    again = select(model, data)
    assert selection.split == "test"
    assert selection.rows.tolist() == again.rows.tolist()
    assert set(selection.rows) <= set(data.splits["test"])
    assert selection.labels == list(data.space.names)
    assert (np.array(selection.most_variable) == again.most_variable).all()
    assert selection.pair is not None
    shown = data.labels[selection.rows[:6]]
    assert {0, 1} <= set(shown[:, 0])
    assert {0, 1, 2} <= set(shown[:, 1])
    assert select(model, data, seed=1).rows.tolist() != selection.rows.tolist()


def test_choose_takes_the_split_that_has_rows(trained):
    model, _ = trained
    whole = squares()
    none = np.array([], dtype=int)
    for empty, expected in ((["test"], "validation"), (["test", "validation"], "train")):
        splits = {name: none if name in empty else rows for name, rows in whole.splits.items()}
        selection = select(model, type(whole)(**{**vars(whole), "splits": splits}))
        assert selection.split == expected


def test_ends():
    assert [end_values(label) for label in SPACE] == [(0, 1), ("x", "z"), (6, 14)]
