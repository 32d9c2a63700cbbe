"""The oracle: it learns what pictures show, is kept, and is trained anew only where something changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ccvae.evaluation.oracle.oracle import OracleConfig, OracleNetwork, fingerprint, known_labels, network, trained_oracle
from ccvae.evaluation.oracle.predictions import Predictions, matches, prediction_change
from ccvae.labels import Binary, Categorical, Continuous
from toy_pictures import LABELS, ReadsPixels, toy_data

QUICK = OracleConfig(epochs=6, least_steps=0, width=16, batch_size=20, learning_rate=1e-2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache, monkeypatch):
    monkeypatch.setenv("CCVAE_CACHE", str(cache))


@pytest.fixture(scope="module")
def toys():
    return toy_data(600)


def test_it_reads_labels_and_variants(toys):
    oracle = trained_oracle(toys, QUICK)
    x = toys.tensor("test")
    predictions, truth = oracle.predict(x), ReadsPixels().predict(x)
    for label in LABELS:
        assert (predictions.value(label) == truth.value(label)).mean() > 0.95
        holds = truth.value(label) == 1
        assert (predictions.variant(label) == truth.variant(label))[holds].mean() > 0.9
        np.testing.assert_allclose(predictions.values[label].sum(1), 1, rtol=1e-5)
    assert predictions.features.shape == (len(x), 256)
    np.testing.assert_array_equal(predictions.rows(slice(2, 4)).features, predictions.features[2:4])


def test_it_is_kept(toys, cache, monkeypatch):
    first = trained_oracle(toys, QUICK)

    def never(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("ccvae.evaluation.oracle.oracle.train", never)
    again = trained_oracle(toys, QUICK)
    x = toys.tensor("test")
    np.testing.assert_array_equal(first.predict(x).features, again.predict(x).features)
    assert any(path.name.startswith("oracle-") for path in cache.iterdir())


def test_it_is_the_same_trained_anew(toys, monkeypatch, tmp_path):
    config = replace(QUICK, epochs=1)
    first = trained_oracle(toys, config)
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path))
    torch.manual_seed(123)
    again = trained_oracle(toys, config)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_hidden_from_models_is_not_hidden_from_it(toys):
    hidden = toys.hide(20)
    assert np.isnan(hidden.labels).any()
    np.testing.assert_array_equal(known_labels(hidden), toys.labels)
    assert fingerprint(hidden, QUICK) == fingerprint(toys, QUICK)
    without_truth = replace(hidden, truth=None)
    assert np.isnan(known_labels(without_truth)).any()
    assert fingerprint(without_truth, QUICK) != fingerprint(toys, QUICK)


def test_other_rows_or_settings_make_another_one(toys):
    assert fingerprint(toy_data(600, seed=1), QUICK) != fingerprint(toys, QUICK)
    assert fingerprint(toys, replace(QUICK, epochs=2)) != fingerprint(toys, QUICK)


def test_all_kinds_of_labels(data):
    oracle = trained_oracle(data, replace(QUICK, epochs=20))
    rows = data.splits["test"]
    predictions = oracle.predict(data.tensor(rows))
    y = data.labels[rows]
    for column, label in enumerate(data.space):
        known = ~np.isnan(y[:, column])
        assert matches(label, predictions, y[:, column])[known].mean() > 0.8
    assert predictions.values["corner"].shape == (len(rows), 3)
    assert predictions.values["side"].shape == (len(rows), 1)
    assert not predictions.variants


@pytest.mark.parametrize("shape", [(7,), (1, 8, 8), (3, 12, 20), (1, 28, 28), (3, 64, 64)])
def test_networks_take_inputs_of_all_shapes(shape):
    features = network(shape, 8).eval()(torch.rand(2, *shape))
    assert features.shape == (2, 256)


def test_it_stays_in_training_mode_if_it_was(toys):
    oracle = OracleNetwork(toys.space, toys.input_shape, None, 8)
    oracle.train()
    oracle.predict(toys.tensor(slice(2)))
    assert oracle.training


def test_matches_and_changes():
    def predictions(on, kind, number):
        return Predictions(
            {"a": np.array([[1 - on, on]]), "k": np.array([kind]), "n": np.array([[number]])}, {}, np.zeros((1, 2))
        )

    before, after = predictions(0.1, [0.2, 0.3, 0.5], 4.0), predictions(0.7, [0.5, 0.3, 0.2], 7.0)
    binary, kind, number = Binary("a"), Categorical("k", (1, 2, 3)), Continuous("n", 0.0, 2.0)
    assert prediction_change(binary, before, after) == pytest.approx([0.6])
    assert prediction_change(kind, before, after) == pytest.approx([0.3])
    assert prediction_change(number, before, after) == pytest.approx([1.5])
    assert matches(binary, after, np.array([1.0])).all()
    assert not matches(binary, before, np.array([1.0])).any()
    assert matches(kind, before, np.array([2.0])).all()
    assert matches(number, before, np.array([4.9])).all()
    assert not matches(number, before, np.array([5.1])).any()
