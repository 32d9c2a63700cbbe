"""A continuous label of real pictures: the weight of the strokes of handwritten digits, predicted and traversed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ccvae.data import digits
from ccvae.data.dataset import Dataset
from ccvae.labels import LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Without the labels of digits, whose integrals over nine dimensions would take most of the time."""
    both = digits(labelled=400)
    column = both.space.index("stroke_weight")
    return replace(both, labels=both.labels[:, [column]], space=LabelSpace((both.space["stroke_weight"],)))


@pytest.fixture(scope="module")
def model(data: Dataset) -> CCVAE:
    torch.manual_seed(0)
    model = CCVAE.for_data(data, network="conv", latent_dim=20, width=4, scale=0.1)
    return fit(model, data, epochs=12, batch_size=100, learning_rate=1e-2, weight_decay=0.0, progress=False)


def test_stroke_weight_is_predicted(model: CCVAE, data: Dataset) -> None:
    predicted = model.predict_proba(data.tensor("test"))
    truth = data.labels[data.splits["test"], data.space.index("stroke_weight")]
    error = predicted["stroke_weight"].to_numpy() - truth
    assert 1 - np.mean(error**2) / truth.var() > 0.9
    assert np.mean(np.abs(error) < 2 * predicted["stroke_weight.std"].to_numpy()) > 0.9


def test_pictures_gain_ink_along_a_traversal(model: CCVAE, data: Dataset) -> None:
    walked = model.traverse(data.tensor("test")[:40], "stroke_weight", steps=5)
    ink = walked.mean((2, 3, 4)).numpy()
    assert (np.diff(ink, axis=1) > 0).mean() > 0.95
    label = data.space["stroke_weight"]
    asked = np.linspace(label.mean - 2 * label.scale, label.mean + 2 * label.scale, 5)  # type: ignore[union-attr]
    np.testing.assert_allclose(ink.mean(axis=0), asked, atol=label.scale)  # type: ignore[union-attr]


def test_a_value_asked_for_is_the_ink_that_comes(model: CCVAE) -> None:
    light, heavy = (model.generate(40, {"stroke_weight": value}, seed=0).mean().item() for value in (0.25, 0.36))
    assert light == pytest.approx(0.25, abs=0.03)
    assert heavy == pytest.approx(0.36, abs=0.03)
