"""The bound, both estimators and the samplers at extremes: finite values and gradients wherever logits are below a million."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import LinearEncoder, missing_patterns
from ccvae.config import ModelConfig
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.bound import ESTIMATORS, bound
from ccvae.model.ccvae import CCVAE

SPACE = LabelSpace(
    (
        Binary("rare", prior=1e-6),
        Categorical("three", ("a", "b", "c"), (0.98, 0.01, 0.01)),
        Categorical("five", tuple("abcde")),
        Continuous("far", 1e6, 1e-3),
        Binary("common", prior=0.5),
    )
)
LARGEST_LOGIT = 1e6
SIZES = st.floats(-3, 6).map(lambda exponent: 10**exponent)
"""Magnitudes from 0.001 to a million."""


def extreme_model(dtype, seed, shift, slope, spread):
    """A model whose encoder's means are up to `shift`, whose classifiers' weights are up to `slope`, and whose scales vary."""
    torch.manual_seed(seed)
    latent = sum((2, 2, 4, 2, 2)) + 1
    config = ModelConfig(latent_dim=latent, block_dim=2, likelihood="normal")
    model = CCVAE(SPACE, (1,), config, encoder=LinearEncoder(latent), decoder=torch.nn.Linear(latent, 1)).to(dtype)
    with torch.no_grad():
        model.encoder.affine.weight.zero_()
        model.encoder.affine.bias[:latent] = shift * (2 * torch.rand(latent) - 1)
        model.encoder.affine.bias[latent:] = spread * (2 * torch.rand(latent) - 1)
        for block in model.label_blocks():
            block.weight.copy_(slope * (2 * torch.rand(block.weight.shape) - 1))
    return model


def largest_logit(model, slope):
    """A bound on the size of any logit that the model meets, eight standard deviations from the mean."""
    posterior = model.posterior(torch.zeros(1, 1, dtype=next(model.parameters()).dtype))
    return slope * (posterior.loc.abs() + 8 * posterior.scale).sum().item()


def check_finite(model, result):
    """All terms, and every gradient, are finite."""
    for name, term in result.terms().items():
        assert term.isfinite().all(), name
    model.zero_grad()
    result.total.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("estimator", ESTIMATORS)
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 5),
    SIZES.filter(lambda size: size < 1e4),
    SIZES,
    st.sampled_from([0.1, 5.0, 100.0]),
)
def test_bound_is_finite_wherever_logits_are_below_a_million(estimator, dtype, seed, shift, slope, spread):
    model = extreme_model(dtype, seed, shift, slope, spread)
    largest = largest_logit(model, slope)
    if largest > LARGEST_LOGIT:
        with torch.no_grad():
            for block in model.label_blocks():
                block.weight *= 0.99 * LARGEST_LOGIT / largest
    y = missing_patterns(model, seed).to(dtype)
    torch.manual_seed(seed)
    check_finite(model, bound(model, torch.zeros(len(y), 1, dtype=dtype), y, estimator))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paper_s_weights_cannot_overflow(dtype):
    """A posterior so wide that one sample may give a label that none of the hundred others does."""
    model = extreme_model(dtype, 0, 1.0, 1e4, 3.0)
    y = missing_patterns(model)[-1:].expand(500, -1).to(dtype)
    torch.manual_seed(0)
    check_finite(model, bound(model, torch.zeros(500, 1, dtype=dtype), y, "paper"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_finite_and_vary_at_extremes(dtype):
    for slope in (1e-3, 1.0, 1e3, 1e5):
        model = extreme_model(dtype, 1, 1.0, slope, 1.0)
        posterior = model.posterior(torch.zeros(1, 1, dtype=dtype))
        for block in model.label_blocks():
            mu, sigma = (part[:, block.latents].expand(200, -1, -1) for part in (posterior.loc, posterior.scale))
            for value in (0.0, 1.0):
                uniform = torch.linspace(0, 1, 200, dtype=dtype)[:, None].expand(-1, len(block.columns))
                y = torch.full_like(uniform, value if not hasattr(block, "prior_mean") else 1e6 + value)
                drawn = block(mu, sigma, y, torch.randn_like(mu), uniform).noise
                assert drawn.isfinite().all()
                assert drawn.std(0).max() > 1e-4, (slope, type(block).__name__)
