"""The bound against brute force, in float64 on models small enough for it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from brute_force import KINDS, dense_bound, dense_log_evidence, expected_reconstruction, missing_patterns, tiny_model
from ccvae.config import TrainConfig
from ccvae.labels import Binary, LabelSpace
from ccvae.model.bound import ESTIMATORS, bound

MODELS = [
    (("binary", "other"), 1),
    (("binary", "continuous"), 1),
    (("binary",), 2),
    (("continuous",), 2),
    (("binary", "pair"), 1),
    (("categorical", "binary"), 1),
    (("categorical",), 2),
]


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("kinds", "block_dim"), MODELS)
@pytest.mark.parametrize(("seed", "neutral_style"), [(0, False), (1, False), (2, True)])
def test_exact_bound_equals_brute_force_for_every_pattern(kinds, block_dim, seed, neutral_style):
    model = tiny_model(kinds, block_dim, seed=seed, spread=0.4, neutral_style=neutral_style)
    x = torch.tensor(0.8)
    points = 41 if model.config.latent_dim < 4 else 25
    for y in missing_patterns(model, seed):
        ours = bound(model, x.reshape(1, 1), y[None])
        total = expected_reconstruction(model, x, y, points) + (ours.labels + ours.style + ours.classification)[0]
        assert total.item() == pytest.approx(dense_bound(model, x, y, points).item(), abs=1e-6), y


@pytest.mark.parametrize(("kinds", "block_dim"), MODELS[:4])
def test_reconstruction_is_estimated_without_bias(kinds, block_dim):
    model = tiny_model(kinds, block_dim, seed=3)
    x = torch.tensor(-0.4)
    for y in missing_patterns(model, 3):
        torch.manual_seed(0)
        draws = bound(model, x.expand(10_000, 1), y.expand(10_000, -1)).reconstruction.detach()
        error = (draws.mean() - expected_reconstruction(model, x, y)).abs()
        assert error < 4 * draws.std() / math.sqrt(len(draws))


@pytest.mark.parametrize(("kinds", "block_dim"), [model for model in MODELS if model[0] != ("categorical", "binary")])
def test_bound_is_below_log_evidence(kinds, block_dim):
    model = tiny_model(kinds, block_dim, seed=4)
    x = torch.tensor(0.3)
    for y in missing_patterns(model, 4):
        assert dense_bound(model, x, y, 31) < dense_log_evidence(model, x, y, 81) + 1e-6


def test_bound_touches_log_evidence_where_recognition_is_exact():
    """z, y and x jointly Normal: then p(z|x) and p(y|z) are in the model's recognition family, and nothing is lost."""
    model = tiny_model(("continuous",), style=0, seed=5)
    block, label = model.blocks[0], KINDS["continuous"]
    with torch.no_grad():
        slope, loc = block.prior_slope[0, 0], block.prior_loc[0, 0]
        variance = block.prior_scale[0, 0] ** 2
        # p(y|z), standardised: y ~ Normal(0, 1), z|y ~ Normal(slope y + loc, variance)
        weight = slope / (slope**2 + variance)
        block.weight[0, 0], block.bias[0] = weight, -weight * loc
        deviation = (1 - slope * weight).sqrt()
        block.raw_deviation[0] = torch.log(torch.expm1(deviation - 1e-3))
        # p(z|x): z ~ Normal(loc, slope² + variance), x|z ~ Normal(a z + b, scale²)
        a, b = model.decoder.weight[0, 0], model.decoder.bias[0]
        scale = model.likelihood_of.scale
        precision = 1 / (slope**2 + variance) + a**2 / scale**2
        model.encoder.affine.weight[:] = torch.tensor([[a / scale**2 / precision], [0.0]])
        model.encoder.affine.bias[0] = (loc / (slope**2 + variance) - a * b / scale**2) / precision
        model.encoder.affine.bias[1] = torch.log(torch.expm1(precision**-0.5))
    x = torch.tensor(1.3)
    for y in torch.tensor([[math.nan], [label.mean + 1.7 * label.scale]]):
        assert dense_bound(model, x, y, 81).item() == pytest.approx(dense_log_evidence(model, x, y, 801).item(), abs=1e-6)
        ours = bound(model, x.reshape(1, 1), y[None])
        total = expected_reconstruction(model, x, y) + (ours.labels + ours.style + ours.classification)[0]
        assert total.item() == pytest.approx(dense_log_evidence(model, x, y, 801).item(), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_missing_value_cannot_leak(data):
    """A batch's missing cells are NaN; whatever was written there before they were masked changes no number."""
    model = tiny_model(("binary", "categorical", "continuous"), seed=6)
    rows = 3
    mask = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=rows, max_size=rows)))
    full = torch.tensor([[1.0, 2.0, 9.0], [0.0, 0.0, 14.0], [1.0, 1.0, 3.0]])
    other = torch.tensor([[0.0, 1.0, -50.0], [1.0, 2.0, 0.0], [0.0, 0.0, 99.0]])
    missing = torch.tensor(mask)
    x = torch.randn(rows, 1)
    results = []
    for y in (full, torch.where(missing, other, full)):
        hidden = y.masked_fill(missing, math.nan)
        torch.manual_seed(1)
        model.zero_grad()
        result = bound(model, x, hidden)
        result.total.sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        results.append([*result.terms().values(), gradient])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)))
def test_rows_do_not_meet(order):
    """Each row's bound depends on that row alone, whatever patterns stand beside it."""
    model = tiny_model(("binary", "categorical", "continuous"), seed=7)
    y = missing_patterns(model)
    x = torch.linspace(-1, 1, 8)[:, None]
    order = list(order)
    together = bound(model, x, y)
    apart = bound(model, x[order], y[order])
    for name in ("labels", "style", "classification"):
        assert torch.allclose(getattr(together, name)[order], getattr(apart, name), atol=1e-12)


@pytest.mark.parametrize("estimator", ["exact", "paper"])
@pytest.mark.parametrize("block_dim", [1, 3])
def test_every_parameter_receives_a_finite_gradient(estimator, block_dim):
    model = tiny_model(tuple(KINDS), block_dim, seed=8)
    patterns = missing_patterns(model)
    for y in (patterns, patterns[:1], patterns[-1:]):
        model.zero_grad()
        bound(model, torch.full((len(y), 1), 0.5), y, estimator).total.mean().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_posteriors_stay_finite(dtype):
    model = tiny_model(("binary", "other", "categorical", "continuous"), seed=9).to(dtype)
    with torch.no_grad():
        model.encoder.affine.weight *= 50
    y = missing_patterns(model).to(dtype)
    for size in (-30.0, 30.0):
        model.zero_grad()
        result = bound(model, torch.full((len(y), 1), size, dtype=dtype), y)
        result.total.sum().backward()
        assert all(term.isfinite().all() for term in result.terms().values())
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("kinds", "count"), [(("binary", "other"), 50), (("binary", "continuous"), 20), (("categorical",), 20)]
)
def test_paper_estimator_has_the_same_expectation(kinds, count):
    model = tiny_model(kinds, seed=10, spread=0.3)
    x = torch.tensor(0.2)
    for y in missing_patterns(model, 10)[1:]:
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.cat([bound(model, x.expand(2_000, 1), y.expand(2_000, -1), "paper").total for _ in range(count)])
        error = (draws.mean() - dense_bound(model, x, y, 31)).abs()
        # log and ratio of a mean of 100 samples are biased by order 1/100: allowed for beside 4 standard errors
        assert error < 4 * draws.std() / math.sqrt(len(draws)) + 0.03, y


def test_soft_label_is_the_average_of_both_bounds():
    model = tiny_model(("binary", "other"), seed=11)
    x = torch.tensor([[0.6]])
    share = 0.3

    def value(first):
        result = bound(model, x, torch.tensor([[first, math.nan]]))
        return (result.labels + result.style + result.classification).item()

    assert value(share) == pytest.approx(share * value(1.0) + (1 - share) * value(0.0), abs=1e-6)


def test_objective_weighs_terms():
    model = tiny_model(("binary",), seed=12)
    result = bound(model, torch.ones(2, 1), torch.tensor([[1.0], [math.nan]]))
    assert torch.allclose(result.weighted(), result.total)
    assert torch.allclose(
        result.weighted(0.5, 10), result.reconstruction + 0.5 * (result.labels + result.style) + 10 * result.classification
    )
    assert result.classification[1] == 0


def test_labels_of_another_shape_are_refused():
    model = tiny_model(("binary",))
    with pytest.raises(ValueError, match=r"expected shape \(2, 1\)"):
        bound(model, torch.ones(2, 1), torch.ones(2, 3))
    with pytest.raises(ValueError, match="exact or paper"):
        bound(model, torch.ones(2, 1), torch.ones(2, 1), "other")


def test_unweighted_bound_of_a_trivial_model_is_exact():
    """With nothing to learn from x (constant decoder, z ~ p(z) either way), the bound is log p(x) + log p(y)."""
    model = tiny_model(("binary",), style=1, seed=13)
    block = model.blocks[0]
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.encoder.affine.weight.zero_()
        model.encoder.affine.bias[:] = torch.tensor([0.0, 0.0, math.log(math.expm1(1)), math.log(math.expm1(1))])
        block.weight.zero_()
        block.bias[:] = math.log(0.3 / 0.7)
        block.prior_loc.zero_()
        block.prior_raw_scale.fill_(math.log(math.expm1(1 - 1e-3)))
    x = torch.tensor([[0.4]])
    log_p_x = Normal(model.decoder.bias, model.likelihood_of.scale).log_prob(x)
    for y, log_p_y in ((1.0, math.log(0.3)), (0.0, math.log(0.7)), (math.nan, 0.0)):
        assert bound(model, x, torch.tensor([[y]])).total.item() == pytest.approx(log_p_x.item() + log_p_y, abs=1e-9)


def test_space_is_kept():
    assert tiny_model(("binary",)).space == LabelSpace((Binary("binary", prior=0.3),))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_are_objectives_by_name(name):
    model = tiny_model(("binary", "continuous"), seed=14)
    x, y = torch.ones(2, 1), torch.tensor([[1.0, math.nan], [math.nan, 9.0]])

    def generator():
        return torch.Generator().manual_seed(0)

    called = ESTIMATORS[name](model, x, y, generator())
    assert torch.equal(called.total, bound(model, x, y, name, generator()).total)
    assert torch.equal(called.terms()["total"], called.total)
    assert TrainConfig(estimator=name).estimator == name


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_the_bound_says_which_posterior_it_is_of(estimator):
    model = tiny_model(("binary", "continuous"), 2, seed=3)
    x = torch.linspace(-1, 1, 4)[:, None]
    found = bound(model, x, missing_patterns(model)[:4], estimator)
    first, posterior = model.passes(x)
    assert found.posterior is not None
    assert found.first_pass is not None
    assert torch.equal(found.posterior.loc, posterior.loc)
    assert torch.equal(found.posterior.scale, posterior.scale)
    assert torch.equal(found.first_pass.loc, first.loc)
