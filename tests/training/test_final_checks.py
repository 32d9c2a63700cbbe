"""What is said at the end of a training that learned nothing."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ccvae.labels import Binary, Categorical, Continuous
from ccvae.model.ccvae import CCVAE
from ccvae.training.final_checks import at_chance
from ccvae.training.fit import fit

SPACE = [Binary("on"), Categorical("where", ("a", "b", "c")), Continuous("size")]
ROWS = 200


def drawn(rng, known=1.0):
    """Labels, and predictions that know nothing of them."""
    labels = np.stack([rng.integers(0, 2, ROWS), rng.integers(0, 3, ROWS), rng.normal(size=ROWS)], 1).astype(float)
    labels[rng.random(labels.shape) > known] = np.nan
    on, where = rng.random(ROWS), rng.dirichlet(np.ones(3), ROWS)
    columns = [1 - on, on, *where.T, rng.normal(size=ROWS), np.ones(ROWS)]
    names = [name for label in SPACE for name in label.output_columns]
    return pd.DataFrame(dict(zip(names, columns, strict=True))), labels


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_one_label_that_is_predicted_is_enough(seed):
    rng = np.random.default_rng(seed)
    predictions, labels = drawn(rng)
    column = int(rng.integers(3))
    name = ("on=1", "where=b", "size")[column]
    truth = labels[:, column] == 1 if column < 2 else labels[:, column]
    predictions[name] = 0.5 * truth + rng.normal(size=ROWS) * 0.5
    assert not at_chance(predictions, labels, SPACE)


def test_predictions_by_chance_are_found_to_be_so():
    found = [at_chance(*drawn(np.random.default_rng(seed)), SPACE) for seed in range(100)]
    assert np.mean(found) > 0.95


def test_constant_predictions_are_chance_and_few_labels_decide_nothing():
    predictions, labels = drawn(np.random.default_rng(0))
    assert at_chance(predictions * 0 + 0.5, labels, SPACE)
    assert not at_chance(predictions[:19], labels[:19], SPACE)
    assert not at_chance(predictions, labels * np.nan, SPACE)


@pytest.mark.parametrize(("rate", "epochs", "learned"), [(1e-2, 25, True), (1e4, 3, False)])
def test_a_wild_learning_rate_is_said(data, caplog, rate, epochs, learned):
    caplog.set_level(logging.WARNING)
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=10, width=4, dropout=0.0, likelihood="normal")
    try:
        fit(model, data, epochs=epochs, learning_rate=rate, batch_size=40, progress=False)
    except ValueError as error:
        assert "not finite" in str(error)  # noqa: PT017 — either message will do
        assert not learned
        return
    assert ("no label is predicted better than by chance" in caplog.text) is not learned
