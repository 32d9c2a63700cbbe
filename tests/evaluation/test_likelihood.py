"""Likelihoods against dense integration, and what is known of reconstructions and collapsed blocks."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from brute_force import dense_log_evidence, tiny_model
from ccvae.evaluation.metrics.latent_usage import latent_usage
from ccvae.evaluation.metrics.likelihood import bound_terms, log_evidence, log_prior, reconstruction_error
from ccvae.model.bound import bound

NAN = float("nan")
KINDS = [
    (("binary", "other"), 1),
    (("binary", "continuous"), 1),
    (("continuous",), 2),
    (("binary",), 2),
    (("pair", "binary"), 1),
]


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def wide_model(kinds, block_dim=1, seed=0):
    """A tiny model whose posteriors are so wide that samples from them cover what z may be."""
    model = tiny_model(kinds, block_dim, seed=seed, spread=0.5)
    with torch.no_grad():
        model.encoder.affine.bias[model.config.latent_dim :] += 3.0
    return model


@pytest.mark.parametrize(("kinds", "block_dim"), KINDS)
def test_log_evidence_is_that_of_dense_integration(kinds, block_dim):
    model = wide_model(kinds, block_dim, seed=3)
    x = torch.tensor([[0.4], [-0.8]])
    exact = torch.stack([dense_log_evidence(model, row[0], torch.full((len(kinds),), NAN)) for row in x])
    estimate, effective = log_evidence(model, x, samples=20_000)
    np.testing.assert_allclose(estimate, exact.detach(), atol=0.04)
    assert ((effective > 0) & (effective <= 1)).all()


def test_log_evidence_rises_from_the_bound_with_the_samples():
    model = wide_model(("binary", "other"), seed=5)
    x = torch.full((200, 1), 0.3)
    missing = torch.full((200, 2), NAN)
    with torch.no_grad():
        means = [float(log_evidence(model, x, samples)[0].mean()) for samples in (1, 8, 500)]
        lower = float(bound(model, x, missing).total.mean())
    exact = float(dense_log_evidence(model, x[0, 0], missing[0]).detach())
    assert means[0] < means[1] < means[2] < exact + 0.02
    assert lower < means[2]


def test_memory_does_not_decide_the_estimate(monkeypatch):
    model = wide_model(("binary",), seed=1)
    x = torch.tensor([[0.2]])
    whole = log_evidence(model, x, samples=20_000)[0]
    monkeypatch.setattr("ccvae.evaluation.metrics.likelihood.SAMPLES_AT_ONCE", 1000)
    np.testing.assert_allclose(log_evidence(model, x, samples=20_000)[0], whole, atol=0.04)


def test_prior_of_blocks_is_a_density():
    for kinds, block_dim in KINDS:
        model = tiny_model(kinds, block_dim, seed=2, spread=0.3)
        generator = torch.Generator().manual_seed(0)
        wide = Normal(0.0, 6.0)
        z = 6 * torch.randn(400_000, model.config.latent_dim, generator=generator)
        with torch.no_grad():
            ratio = (log_prior(model, z).sum(-1) - wide.log_prob(z).sum(-1)).exp()
        assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(len(z)) + 1e-3)


def test_bound_terms_are_means_of_the_bound():
    model = tiny_model(("binary", "continuous"), seed=4)
    x, y = torch.randn(30, 1), np.tile([[1.0, 9.0]], (30, 1))
    y[:10] = np.nan
    found = bound_terms(model, x, y, seed=3)
    with torch.no_grad():
        expected = bound(model, x, torch.tensor(y), generator=torch.Generator().manual_seed(3)).terms()
    for name, term in expected.items():
        assert found["labelled"][name].value == pytest.approx(float(term.mean()))
    assert found["unlabelled"]["classification"].value == 0


def test_reconstruction_error():
    images = torch.rand(6, 3, 16, 16)
    same = reconstruction_error(images, images)
    assert same["absolute_error"].value == same["squared_error"].value == 0
    assert same["ssim"].value == pytest.approx(1)
    other = reconstruction_error(images, 1 - images)
    assert other["ssim"].value < 0
    assert reconstruction_error(images, images + 0.1)["absolute_error"].value == pytest.approx(0.1)
    assert "ssim" not in reconstruction_error(torch.rand(4, 9), torch.rand(4, 9)), "vectors have no structure"
    assert "ssim" not in reconstruction_error(torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)), "too small for its window"


def test_collapsed_blocks_are_named():
    model = tiny_model(("binary", "other"), seed=6)
    x = torch.randn(400, 1)
    with torch.no_grad():
        # the first block says nothing of x: its posterior is as wide as its prior, everywhere
        block = next(model.label_blocks())
        block.prior_loc[0], block.prior_raw_scale[0] = 0.0, math.log(math.expm1(1 - 1e-3))
        size = model.config.latent_dim
        model.encoder.affine.weight[[0, size]] = 0.0
        model.encoder.affine.bias[0], model.encoder.affine.bias[size] = 0.0, math.log(math.expm1(1))
        model.encoder.affine.weight[1], model.encoder.affine.bias[size + 1] = 3.0, -2.0
    found = latent_usage(model, x)
    assert found["collapsed"] == ["binary"]
    assert found["blocks"]["binary"]["kl"].value == pytest.approx(0, abs=1e-6)
    assert found["blocks"]["binary"]["active"] == 0
    assert found["blocks"]["other"]["active"] == found["blocks"]["other"]["dimensions"] == 1
    assert found["blocks"]["other"]["kl"].value > 0.5
    assert len(found["activity"]) == size
