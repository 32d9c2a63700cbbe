"""FixMatch: what the network is sure of is a label of the changed image, and observed labels count as before."""

import copy

import numpy as np
import pytest
import torch

from ccvae.baselines.fixmatch import FixMatch, with_hole
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.training.augmentation import Augmentation
from ccvae.training.fit import fit

SETTINGS = {"network": "conv", "latent_dim": 10, "block_dim": 2, "width": 4, "dropout": 0.0}


@pytest.fixture
def batch(data):
    torch.manual_seed(0)
    model = CCVAE.for_data(data, **SETTINGS)
    return model, data.tensor(slice(16)), torch.tensor(data.labels[:16])


def test_without_confidence_it_is_the_supervised_objective(batch):
    model, x, y = batch
    model.eval()
    sure_of_nothing = FixMatch(threshold=0.999999)
    torch.testing.assert_close(sure_of_nothing(model, x, y).log_q_y, log_likelihood_of_labels(model, x, y).log_q_y)
    without = FixMatch(threshold=0.0, weight=0.0)
    torch.testing.assert_close(without(model, x, y).log_q_y, log_likelihood_of_labels(model, x, y).log_q_y)


def test_guesses_are_the_most_probable_values_of_missing_cells(batch):
    model, x, y = batch
    model.eval()
    guesses = FixMatch(threshold=0.0).confident(model, x, y)
    assert (guesses.isnan() | y.isnan()).all()
    assert guesses[:, 2].isnan().all()  # a continuous label has no confidence
    p = model.predict_proba(x, calibrated=False)
    missing = y[:, 1].isnan().numpy()
    assert missing.any()
    expected = p[[f"corner={name}" for name in ("left", "right", "low")]].to_numpy().argmax(1)
    np.testing.assert_array_equal(guesses[:, 1].numpy()[missing], expected[missing])


def test_unchanged_images_give_the_log_probability_of_the_guess(batch):
    model, x, y = batch
    model.eval()
    y = torch.full_like(y, torch.nan)
    y[0] = torch.tensor([1.0, 2.0, 4.0])
    same = FixMatch(threshold=0.0, strong=Augmentation(), hole=0.0, weight=2.0)
    terms = same(model, x, y)
    p = model.predict_proba(x, calibrated=False)
    expected = 2 * np.log(p[["bright=0", "bright=1"]].max(axis=1).to_numpy()[1:])
    np.testing.assert_allclose(terms.log_q_y[1:, 0].detach().numpy(), expected, rtol=1e-4)


def test_changed_images_leave_the_averages_of_batch_normalisation(batch):
    model, x, y = batch
    other = copy.deepcopy(model)
    log_likelihood_of_labels(model.train(), x, y)
    FixMatch(threshold=0.0)(other.train(), x, y)
    before, after = dict(model.encoder.named_buffers()), dict(other.encoder.named_buffers())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_holes_are_of_the_size_that_was_asked_for():
    x = torch.zeros(200, 3, 16, 24)
    holes = with_hole(x, 0.25, torch.Generator().manual_seed(0))
    grey = (holes == 0.5).float().mean((1, 2, 3))
    assert grey.max() == pytest.approx(1 / 16)
    assert grey.min() > 0
    assert (holes[:, 0] == holes[:, 2]).all()
    assert torch.equal(with_hole(x, 0.0), x)
    vectors = torch.zeros(4, 7)
    assert torch.equal(with_hole(vectors, 0.5), vectors)


@pytest.mark.parametrize(("name", "value"), [("threshold", 1.0), ("hole", -0.1), ("weight", -1.0)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        FixMatch(**{name: value})


def test_it_trains(data):
    model = CCVAE.for_data(data, **SETTINGS)
    fit(model, data, epochs=20, batch_size=20, objective=FixMatch(), progress=False)
    rows = data.splits["test"]
    predicted, known = model.space.encode(model.predict(data.tensor(rows))), ~np.isnan(data.labels[rows])
    assert (predicted == data.labels[rows])[known].mean() > 0.6
