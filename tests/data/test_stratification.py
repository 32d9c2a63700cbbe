import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccvae.data.stratification import balancing_weights, rows_per_value, stratified_rows
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

CLASSES = LabelSpace((Categorical("class", tuple("abcd")),))


def of_classes(*sizes: int, seed: int = 0) -> np.ndarray:
    numbers = np.repeat(np.arange(len(sizes)), sizes).astype(np.float32)
    return np.random.default_rng(seed).permutation(numbers)[:, None]


def test_one_label_keeps_its_shares() -> None:
    labels = of_classes(500, 300, 150, 50)
    for seed in range(5):
        rows = stratified_rows(labels, CLASSES, 40, seed)
        assert np.bincount(labels[rows, 0].astype(int)).tolist() == [20, 12, 6, 2]
        assert (np.diff(rows) > 0).all()
    assert stratified_rows(labels, CLASSES, 40, 0).tolist() == stratified_rows(labels, CLASSES, 40, 0).tolist()
    assert stratified_rows(labels, CLASSES, 40, 0).tolist() != stratified_rows(labels, CLASSES, 40, 1).tolist()


def test_rare_values_are_kept() -> None:
    labels = of_classes(997, 1, 1, 1)
    for seed in range(5):
        assert set(labels[stratified_rows(labels, CLASSES, 10, seed), 0]) == {0, 1, 2, 3}


def test_many_labels_keep_their_shares_better_than_by_chance() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(size=(4000, 1))
    labels = (generator.normal(size=(4000, 12)) + common > np.linspace(0, 2.5, 12)).astype(np.float32)
    labels[generator.random(labels.shape) < 0.3] = np.nan
    known = labels[~np.isnan(labels).all(axis=1)]
    space = LabelSpace(tuple(Binary(f"label {number}") for number in range(12)))
    shares = np.nanmean(known, axis=0)

    def distance(rows: np.ndarray) -> float:
        return float(np.abs(np.nanmean(known[rows], axis=0) - shares).mean())

    chosen = [distance(stratified_rows(known, space, 100, seed)) for seed in range(5)]
    chance = [distance(np.random.default_rng(seed).permutation(len(known))[:100]) for seed in range(5)]
    assert np.mean(chosen) < 0.5 * np.mean(chance)


def test_a_continuous_label_keeps_its_spread() -> None:
    labels = np.random.default_rng(0).gamma(1.0, size=(1000, 1)).astype(np.float32)
    space = LabelSpace((Continuous("age"),))
    limits = np.quantile(labels, [0.2, 0.4, 0.6, 0.8])
    for seed in range(5):
        rows = stratified_rows(labels, space, 50, seed)
        assert np.bincount(np.searchsorted(limits, labels[rows, 0]), minlength=5).tolist() == [10] * 5


patterns = st.lists(
    st.tuples(st.sampled_from([np.nan, 0.0, 0.3, 1.0]), st.sampled_from([np.nan, 0.0, 1.0, 2.0, 3.0]), st.floats(-2, 2)),
    min_size=1,
    max_size=40,
)


@given(patterns, st.data(), st.integers(0, 5))
def test_the_count_is_kept_whatever_the_labels(
    pattern: list[tuple[float, float, float]], data: st.DataObject, seed: int
) -> None:
    labels = np.array(pattern, dtype=np.float32)
    space = LabelSpace((Binary("b"), *CLASSES, Continuous("c")))
    count = data.draw(st.integers(1, len(labels)))
    rows = stratified_rows(labels, space, count, seed)
    assert len(rows) == len(set(rows.tolist())) == count
    weights = balancing_weights(labels, space)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()


def test_so_many_rows_of_every_class() -> None:
    labels = of_classes(500, 300, 150, 50)
    for seed in range(3):
        assert np.bincount(labels[rows_per_value(labels, CLASSES, 7, seed), 0].astype(int)).tolist() == [7] * 4
    with pytest.raises(
        ValueError, match=r"51 rows of every value are asked for, but 'class' = d has 50 labelled training rows"
    ):
        rows_per_value(labels, CLASSES, 51, 0)
    with pytest.raises(ValueError, match="no binary or categorical label"):
        rows_per_value(labels, LabelSpace((Continuous("class"),)), 5, 0)


def test_so_many_rows_of_every_value_of_several_labels() -> None:
    generator = np.random.default_rng(0)
    labels = np.concatenate([of_classes(600, 300, 90, 10), generator.random((1000, 1)) < 0.05], axis=1).astype(np.float32)
    labels[::7, 1] = np.nan
    space = LabelSpace((*CLASSES, Binary("b")))
    rows = rows_per_value(labels, space, 10, 0)
    assert np.bincount(labels[rows, 0].astype(int)).min() >= 10
    assert (labels[rows, 1] == 1).sum() >= 10
    assert (labels[rows, 1] == 0).sum() >= 10
    assert len(rows) <= 50


def test_one_label_is_balanced_exactly() -> None:
    labels = of_classes(500, 300, 150, 50)
    labels[:100] = np.nan
    weights = balancing_weights(labels, CLASSES)
    drawn = [weights[labels[:, 0] == number].sum() for number in range(4)]
    np.testing.assert_allclose(drawn, drawn[0])
    np.testing.assert_allclose(weights[:100], 1 / len(labels))  # unlabelled rows come as often as ever


def test_several_labels_come_nearer_to_balance() -> None:
    generator = np.random.default_rng(0)
    shares = np.array([0.02, 0.1, 0.5, 0.9])
    labels = (generator.random((5000, 4)) < shares).astype(np.float32)
    space = LabelSpace(tuple(Binary(f"label {number}") for number in range(4)))
    drawn = balancing_weights(labels, space) @ labels
    assert (np.abs(drawn - 0.5) <= np.abs(labels.mean(axis=0) - 0.5) + 0.01).all()
    assert drawn[0] > 4 * shares[0]
