"""The supervised baseline: its objective is log q(y|x) of labelled rows, and it trains encoder and classifiers alone."""

import numpy as np
import torch

from ccvae.baselines.supervised import log_likelihood_of_labels, supervised
from ccvae.config import TrainConfig
from ccvae.model.bound import exact_bound
from ccvae.model.ccvae import CCVAE

SETTINGS = {"latent_dim": 10, "width": 4, "dropout": 0.0}


def test_objective_is_the_classification_term_of_the_bound(data):
    torch.manual_seed(0)
    model = CCVAE.for_data(data, **SETTINGS).eval()
    x, y = data.tensor(slice(8)), torch.tensor(data.labels[:8])
    y[3] = torch.nan
    terms = log_likelihood_of_labels(model, x, y)
    torch.testing.assert_close(terms.log_q_y, exact_bound(model, x, y).log_q_y)
    assert terms.total[3] == 0
    weights = torch.tensor([2.0, 0.0, 1.0])
    torch.testing.assert_close(terms.weighted(5.0, 3.0, weights), 3 * terms.log_q_y @ weights)


def test_it_learns_labels_and_leaves_the_decoder_alone(data):
    config = TrainConfig(epochs=20, batch_size=20)
    torch.manual_seed(config.seed)
    before = CCVAE.for_data(data, **SETTINGS)
    model = supervised(data, config, **SETTINGS)
    assert all(torch.equal(p, q) for p, q in zip(before.decoder.parameters(), model.decoder.parameters(), strict=True))
    rows = data.splits["test"]
    predicted, known = model.space.encode(model.predict(data.tensor(rows))), ~np.isnan(data.labels[rows])
    assert (predicted == data.labels[rows])[known][:].mean() > 0.6


def test_unlabelled_rows_and_validation_rows_change_nothing(data):
    config = TrainConfig(epochs=2, batch_size=40)
    unlabelled = np.isnan(data.labels).all(axis=1)
    others = np.zeros(len(data), bool)
    others[data.splits["validation"]] = True
    inputs = np.array(data.inputs)
    inputs[unlabelled | others] = 255 - inputs[unlabelled | others]
    assert (unlabelled & np.isin(np.arange(len(data)), data.splits["train"])).any()
    changed = type(data)(inputs, data.labels, data.space, data.ids, data.splits)
    first, second = (supervised(each, config, **SETTINGS).state_dict() for each in (data, changed))
    assert all(torch.equal(first[name], second[name]) for name in first)
