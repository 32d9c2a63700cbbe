"""What probes read from latents, on models of which it is known what their latents hold."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ccvae.config import ModelConfig
from ccvae.evaluation.metrics.disentanglement import leakage, variant_reading
from ccvae.evaluation.metrics.probes import Probe, fit_probes
from ccvae.evaluation.metrics.self_consistency import self_consistency
from ccvae.evaluation.samples import sample_of
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from toy_pictures import LABELS, VARIANTS, Stores, toy_data


def model_that_holds(data, blocks, style):
    sizes = {label: len(parts) for label, parts in zip(LABELS, blocks, strict=True)}
    parts = [part for block in blocks for part in block] + style
    config = ModelConfig(latent_dim=len(parts), block_dim=sizes)
    decoder = nn.Sequential(nn.Linear(len(parts), 12 * 12 * 3), nn.Unflatten(1, (3, 12, 12)))
    return CCVAE(data.space, data.input_shape, config, encoder=Stores(parts), decoder=decoder)


@pytest.fixture(scope="module")
def data():
    return toy_data(2000)


@pytest.fixture(scope="module")
def rows(data):
    return sample_of(data, "train", 1000), sample_of(data, "test", 800)


def test_variants_are_read_from_where_they_are(data, rows):
    blocks = [["value one", "variant one"], ["value two", ""], ["value three", "variant two"]]
    found = variant_reading(model_that_holds(data, blocks, ["variant three", ""]), *rows)
    chance = pytest.approx(1 / VARIANTS, abs=0.08)
    assert found["one"]["own"].value > 0.97
    assert [found["one"][source].value for source in ("style", "others")] == [chance] * 2
    assert [found["two"][source].value for source in ("own", "style")] == [chance] * 2
    assert found["two"]["others"].value > 0.97
    assert found["three"]["style"].value > 0.97
    assert [found["three"][source].value for source in ("own", "others")] == [chance] * 2
    for numbers in found.values():
        assert numbers["chance"] == chance
        assert numbers["times_chance"].value == pytest.approx(numbers["own"].value / numbers["chance"])


def test_labels_are_read_from_where_they_are(data, rows):
    blocks = [["value one"], [""], ["value two"]]
    found = leakage(model_that_holds(data, blocks, ["value one", ""]), *rows)
    nothing = pytest.approx(0.5, abs=0.08)
    assert [found["one"][source].value for source in ("own", "style")] == [pytest.approx(1)] * 2
    assert found["one"]["others"].value == nothing
    assert [found["two"][source].value for source in ("own", "style")] == [nothing] * 2
    assert found["two"]["others"].value == pytest.approx(1)
    assert [found["three"][source].value for source in ("own", "others", "style")] == [nothing] * 3
    assert [found[label]["labels"].value for label in LABELS] == [nothing] * 3, "labels are drawn independently"


def test_a_model_without_style_has_none_to_read_from(data, rows):
    model = model_that_holds(data, [["value one"], ["value two"], ["value three"]], [])
    assert set(leakage(model, *rows)["one"]) == {"own", "others", "labels"}
    assert set(variant_reading(model, *rows)["one"]) == {"own", "others", "chance", "times_chance"}


def test_only_known_answers_are_learned_from():
    generator = np.random.default_rng(0)
    inputs, asked = (generator.normal(size=(count, 3)) for count in (1500, 400))
    quarter = np.searchsorted([-0.67, 0, 0.67], inputs[:, 1])
    unknown = np.where(generator.random(1500) < 0.5, -1, (inputs[:, 0] > 0).astype(int))
    questions = [Probe(np.array([1]), quarter, 4), Probe(np.array([0]), unknown, 2), Probe(np.array([2]), unknown, 2)]
    first, second, third = fit_probes(questions, inputs, asked)
    assert first.shape == (400, 4)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)
    assert (first.argmax(1) == np.searchsorted([-0.67, 0, 0.67], asked[:, 1])).mean() > 0.9
    assert (second.argmax(1) == (asked[:, 0] > 0)).mean() > 0.95
    assert (third.argmax(1) == (asked[:, 0] > 0)).mean() < 0.65
    assert fit_probes([], inputs, asked) == []


def test_self_consistency():
    space = LabelSpace((Binary("a"), Categorical("k", ("x", "y", "z")), Continuous("n", 5.0, 2.0)))
    model = CCVAE(space, (4,), ModelConfig(latent_dim=6, width=2))
    found = self_consistency(model, count=6000)
    # priors begin at ±2 with scale 1, and the classifier at slope 1: wrong beyond two deviations
    assert found["a"].value == pytest.approx(0.977, abs=0.01)
    assert found["k"].value > 0.9
    # y + noise of scale 1, in deviations of the prior: within half of one
    assert found["n"].value == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=0.03)
    with torch.no_grad():
        for block in model.label_blocks():
            block.weight.zero_()
            block.bias.zero_()
            block.bias[..., -1] += 1
    found = self_consistency(model, count=6000)
    assert found["a"].value == pytest.approx(0.5)
    assert found["k"].value == pytest.approx(1 / 3)
