"""Label blocks against dense integration, samples and closed forms, in float64."""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch.distributions import Bernoulli, Categorical, Normal
from torch.nn.functional import logsigmoid

from brute_force import grid
from ccvae import labels
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.label_blocks.categorical import CategoricalBlocks
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from drawn_numbers import at_slope, normal, perturb, uniform

NAN = math.nan


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def binary(size=1, count=1):
    names = [labels.Binary(f"label {i}", prior=0.2 + 0.1 * i) for i in range(count)]
    return perturb(BinaryBlocks(list(range(count)), positions(count, size), names), seed=1)


def categorical(size=2, classes=3, count=1):
    prior = tuple((1.0 + torch.arange(classes)).div(classes * (classes + 1) / 2).tolist())
    names = [labels.Categorical(f"label {i}", tuple(range(classes)), prior) for i in range(count)]
    kind = LatticeBlocks if size <= 3 else SampledBlocks
    return perturb(kind(list(range(count)), positions(count, size), names), seed=1)


def continuous(size=1, count=1):
    names = [labels.Continuous(f"label {i}", 10.0 - i, 2.5) for i in range(count)]
    return perturb(ContinuousBlocks(list(range(count)), positions(count, size), names), seed=1)


def positions(count, size):
    return [list(range(size * i, size * (i + 1))) for i in range(count)]


def posterior(blocks, seed=2):
    """Means and scales of one row, `(1, labels, d)`."""
    shape = (1, *blocks.latents.shape)
    return 0.8 * normal(*shape, seed=seed), at_slope(blocks, 0.4 + uniform(*shape, seed=seed + 100))


def tilt(blocks, mu, sigma, y, draws=1, seed=3):
    """Tilted posterior of one label's value, with many draws."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws, *mu.shape[1:], generator=generator)
    uniform = torch.rand(draws, len(blocks.columns), generator=generator)
    return blocks.tilt(*(t.expand(draws, -1, -1) for t in (mu, sigma)), torch.full_like(uniform, y), noise, uniform)


def classifier(blocks, z):
    """q(y|z) of the first label's blocks `(points, d)`, written out."""
    if isinstance(blocks, BinaryBlocks):
        return Bernoulli(logits=z @ blocks.weight[0] + blocks.bias[0])
    if isinstance(blocks, CategoricalBlocks):
        return Categorical(logits=z @ blocks.weight[0].T + blocks.bias[0])
    tau = torch.nn.functional.softplus(blocks.raw_deviation[0]) + 1e-3
    return Normal(10 + 2.5 * (z @ blocks.weight[0] + blocks.bias[0]), 2.5 * tau)


def log_conditional_prior(blocks, z, y):
    """Log p(z|y) at one value `()` or one a point, written out."""
    scale = torch.nn.functional.softplus(blocks.prior_raw_scale[0]) + 1e-3
    if isinstance(blocks, ContinuousBlocks):
        loc = blocks.prior_slope[0] * ((y - 10) / 2.5)[..., None] + blocks.prior_loc[0]
        return Normal(loc, scale).log_prob(z).sum(-1)
    return Normal(blocks.prior_loc[0][y.long()], scale[y.long()]).log_prob(z).sum(-1)


def label_prior(blocks):
    """p(y), written out."""
    if isinstance(blocks, BinaryBlocks):
        return Bernoulli(torch.tensor(0.2))
    if isinstance(blocks, CategoricalBlocks):
        return Categorical(1.0 + torch.arange(blocks.log_prior.shape[-1]))
    return Normal(10.0, 2.5)


def dense(blocks, mu, sigma, y, points):
    """By dense integration over the first label's block, one value observed or none: log q(y|x), the log ratio, and mean and
    covariance of white noise.
    """
    noise, log_mass = grid(mu.shape[-1], points, 9 if points > 400 else 7.5 if points > 100 else 6.5)
    z = mu[0, 0] + sigma[0, 0] * noise
    log_posterior = Normal(mu[0, 0], sigma[0, 0]).log_prob(z).sum(-1)
    q, p = classifier(blocks, z), label_prior(blocks)

    def ratio(value):
        return log_conditional_prior(blocks, z, value) + p.log_prob(value) - q.log_prob(value) - log_posterior

    if not math.isnan(y):
        value = torch.tensor(float(y))
        log_joint = log_mass + q.log_prob(value)
        masses, ratios = log_joint.softmax(0), ratio(value)
        log_q_y = log_joint.logsumexp(0)
    else:
        masses, log_q_y = log_mass.softmax(0), torch.tensor(0.0)
        if isinstance(blocks, ContinuousBlocks):
            nodes, weights = (torch.tensor(numbers) for numbers in np.polynomial.hermite_e.hermegauss(10))
            pairs = [(w, q.loc + q.scale * node) for w, node in zip(weights / weights.sum(), nodes, strict=True)]
        else:
            count = blocks.log_prior.shape[-1]
            pairs = [(q.log_prob(torch.tensor(float(v))).exp(), torch.tensor(float(v))) for v in range(count)]
        ratios = sum(weight * ratio(value) for weight, value in pairs)
    mean = masses @ noise
    return log_q_y, masses @ ratios, mean, (noise - mean).T @ ((noise - mean) * masses[:, None])


# ---------------------------------------------------------------------- q(y|x)

EVERY_KIND = {
    "binary": lambda: binary(count=3),
    "binary d=2": lambda: binary(2, count=2),
    "binary d=3": lambda: binary(3),
    "pair d=1": lambda: categorical(1, 2),
    "pair d=2": lambda: categorical(2, 2),
    "three d=2": lambda: categorical(2, 3, count=2),
    "three d=3": lambda: categorical(3, 3),
    "four d=3": lambda: categorical(3, 4),
    "five d=4": lambda: categorical(4, 5),
    "continuous": lambda: continuous(count=2),
    "continuous d=2": lambda: continuous(2),
    "continuous d=3": lambda: continuous(3),
}
LEAST_ERROR = {"three d=3": 2e-4, "four d=3": 2e-4, "five d=4": 1e-3}
"""Of probabilities. A lattice of spacing 1 within radius 5 leaves out 1.5e-5 of a Normal in three dimensions; 4096 Sobol points
in four are wrong by some times 1/4096, the share of one point.
"""
INTEGRATED = [kind for kind in EVERY_KIND if kind != "five d=4"]
"""Kinds whose integrals are the same in bound and prediction; `test_categorical_sampled.py` has the rest."""


@pytest.fixture(params=list(EVERY_KIND))
def kind(request):
    return request.param


def test_prediction_equals_the_mean_of_samples(kind):
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    count = 1_000_000
    z = mu[0, 0] + sigma[0, 0] * torch.randn(count, mu.shape[-1], generator=torch.Generator().manual_seed(0))
    predicted, q = blocks.predict(mu, sigma)[0, 0], classifier(blocks, z)
    if isinstance(blocks, ContinuousBlocks):
        mean, deviation = predicted
        assert (mean - q.loc.mean()).abs() < 5 * q.loc.std() / math.sqrt(count)
        assert deviation.item() == pytest.approx((q.loc.var() + q.variance[0]).sqrt().item(), rel=5e-3)
        return
    values = q.probs if isinstance(q, Categorical) else torch.stack([1 - q.probs, q.probs], -1)
    error = (predicted - values.mean(0)).abs()
    assert (error < 5 * values.std(0) / math.sqrt(count) + LEAST_ERROR.get(kind, 0)).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 5), st.floats(-30, 30), st.sampled_from([k for k in INTEGRATED if "continuous" not in k]))
def test_predictions_sum_to_one_and_agree_with_the_evidence(scale, centre, kind):
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    mu, sigma = mu + centre, sigma * scale + 1e-3
    predicted = blocks.predict(mu, sigma)
    assert torch.allclose(predicted.sum(-1), torch.ones(predicted.shape[:-1]), atol=1e-14)
    for value in range(predicted.shape[-1]):
        evidence = tilt(blocks, mu, sigma, float(value)).log_q_y
        # with slopes as steep as 10 the two values' tables sum to one to 1e-9
        assert torch.allclose(evidence.exp(), predicted[..., value], atol=1e-8)


# ---------------------------------------------------------------------- the sampler of binary labels

STEEP = [(0.01, 0), (0.01, -30), (0.5, 3), (1, -1), (2, -3), (5, -30), (5, 1), (20, -30), (20, 0), (20, 30)]
OBSERVED = (0.0, 1.0, 0.3, NAN)


def line(alpha, beta):
    """A block of one dimension whose logit is z, and its posterior Normal(beta, alpha²)."""
    blocks = binary()
    with torch.no_grad():
        blocks.weight.fill_(1.0)
        blocks.bias.fill_(0.0)
    return blocks, torch.full((1, 1, 1), float(beta)), torch.full((1, 1, 1), float(alpha))


def fine_density(alpha, beta, y):
    """Points of white noise and their masses given y, on 200,001 points."""
    n = torch.linspace(-24, 24, 200_001) if abs(beta) > 3 * alpha else torch.linspace(-12, 12, 200_001)
    log_normal, s = -(n**2) / 2, alpha * n + beta
    if math.isnan(y):
        return n, log_normal.softmax(0)
    present, absent = (log_normal + logsigmoid(sign * s) for sign in (1, -1))
    return n, y * present.softmax(0) + (1 - y) * absent.softmax(0)


@pytest.mark.parametrize(
    ("alpha", "beta", "y"),
    [
        *[(0.01, 0, 1), (0.01, -30, 0), (0.5, 3, 0.3), (1, -1, 1), (2, -3, 0), (5, -30, 1), (5, 1, 0.3)],
        *[(20, -30, 1), (20, 0, 0), (20, 30, 0), (20, 30, 0.3), (3, 1, NAN)],
    ],
)
def test_draws_have_the_tilted_distribution(alpha, beta, y):
    blocks, mu, sigma = line(alpha, beta)
    with torch.no_grad():
        drawn = tilt(blocks, mu, sigma, y, 100_000).noise[:, 0, 0].numpy()
    points, masses = fine_density(alpha, beta, y)
    distribution = partial(np.interp, xp=points.numpy(), fp=(masses.cumsum(0) - masses / 2).numpy())
    assert kstest(drawn, distribution).pvalue > 1e-3


def even_draws(blocks, mu, sigma, y, count=2001):
    """Draws at evenly spaced Normal quantiles, and their weights: sums over them are integrals over the density."""
    white = torch.linspace(-6, 6, count)
    uniform = torch.special.ndtr(white)[:, None]
    mu, sigma = (t.expand(count, -1, -1) for t in (mu, sigma))
    drawn = blocks.tilt(mu, sigma, torch.full((count, 1), y), white[:, None, None], uniform).noise
    return drawn[:, 0, 0], (-(white**2) / 2).softmax(0)


@pytest.mark.parametrize(("alpha", "beta"), STEEP)
def test_draws_have_the_right_mean_and_variance(alpha, beta):
    blocks, mu, sigma = line(alpha, beta)
    for y in (0.0, 1.0, NAN):
        drawn, weights = even_draws(blocks, mu, sigma, y)
        n, masses = fine_density(alpha, beta, y)
        mean = masses @ n
        assert (weights @ drawn).item() == pytest.approx(mean.item(), abs=1e-5)
        assert (weights @ (drawn - mean) ** 2).item() == pytest.approx((masses @ (n - mean) ** 2).item(), abs=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), STEEP)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_draws_carry_the_gradient_of_expectations(alpha, beta, y):
    """Of E[sin n + n²] in posterior mean and scale, which are beta and alpha here."""
    blocks, mu, sigma = line(alpha, beta)
    mu, sigma = mu.requires_grad_(), sigma.requires_grad_()
    drawn, weights = even_draws(blocks, mu, sigma, y)
    found = torch.autograd.grad(weights @ (drawn.sin() + drawn**2), [mu, sigma])

    def true_value(b, a):
        n, masses = fine_density(a, b, y)
        return (masses @ (n.sin() + n**2)).item()

    step = 1e-4 * alpha
    by_mu = (true_value(beta + step, alpha) - true_value(beta - step, alpha)) / (2 * step)
    by_sigma = (true_value(beta, alpha + step) - true_value(beta, alpha - step)) / (2 * step)
    assert [gradient.item() for gradient in found] == pytest.approx([by_mu, by_sigma], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("size", [1, 2])
def test_draws_carry_the_gradient_in_every_parameter(size):
    """Of E[f(z)] for a nonlinear f, against automatic differentiation of dense integration."""
    blocks = binary(size)
    mu, sigma = (t.requires_grad_() for t in posterior(blocks))
    leaves = [mu, sigma, blocks.weight, blocks.bias]
    noise, log_mass = grid(size, 201)
    for y in (0.0, 1.0):
        z = mu[0, 0] + sigma[0, 0] * noise
        masses = (log_mass + classifier(blocks, z).log_prob(torch.tensor(y))).softmax(0)
        true = torch.autograd.grad(masses @ (z.sum(-1).sin() + z.prod(-1)), leaves)
        halves = []
        for seed in range(20):
            z = mu[:, 0] + sigma[:, 0] * tilt(blocks, mu, sigma, y, 2_000, seed).noise[:, 0]
            halves.append(torch.autograd.grad((z.sum(-1).sin() + z.prod(-1)).mean(), leaves))
        for derivative, *estimates in zip(true, *halves, strict=True):
            estimate = torch.stack(estimates)
            error = (estimate.mean(0) - derivative).abs()
            assert (error < 4.5 * estimate.std(0) / math.sqrt(len(estimate)) + 1e-9).all()


# ---------------------------------------------------------------------- blocks of every kind and size

SIZES = [
    ("binary", 1e-8, 801),
    ("binary d=2", 1e-8, 201),
    ("binary d=3", 1e-7, 61),
    ("pair d=1", 1e-8, 801),
    ("pair d=2", 1e-5, 201),
    ("three d=2", 1e-5, 201),
    ("three d=3", 1e-3, 61),
    ("four d=3", 1e-3, 61),
    ("five d=4", 0.05, 21),
    ("continuous", 1e-8, 801),
    ("continuous d=2", 1e-8, 201),
    ("continuous d=3", 1e-7, 61),
]
"""Kinds with tolerances in nats, and points of an axis to integrate over. Those of categories are their nodes', as in
LEAST_ERROR, here magnified by the logarithm of a probability and by terms of several nats.
"""


@pytest.mark.parametrize(("kind", "tolerance", "points"), SIZES)
def test_terms_equal_dense_integration(kind, tolerance, points):
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    for y in (
        NAN,
        0.0,
        1.0,
        *((2.0,) if kind[:4] in ("thre", "four", "five") else ()),
        *((13.7,) if "continuous" in kind else ()),
    ):
        log_q_y, log_ratio, _, _ = dense(blocks, mu, sigma, y, points)
        tilted = tilt(blocks, mu, sigma, y)
        assert tilted.log_q_y[0, 0].item() == pytest.approx(log_q_y.item(), abs=tolerance), y
        assert tilted.log_ratio[0, 0].item() == pytest.approx(log_ratio.item(), abs=tolerance), y


def test_draws_have_the_mean_and_covariance_of_dense_integration(kind):
    """Draws at evenly spread uniform numbers; the rest of their randomness is that of samples."""
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    few = isinstance(blocks, LatticeBlocks)  # whose draws need no other randomness where y is observed
    count = 2_000 if few else 6_000 if kind == "five d=4" else 40_000
    noise = torch.randn(count, *mu.shape[1:], generator=torch.Generator().manual_seed(0))
    uniform = ((torch.arange(count) + 0.5) / count)[:, None].expand(-1, len(blocks.columns))
    points, tolerance = (21, 0.05) if kind == "five d=4" else (61, 0.02)
    for y in (0.0, 1.0):
        _, _, mean, covariance = dense(blocks, mu, sigma, y, points)
        y = torch.full((count, len(blocks.columns)), y)
        drawn = blocks.tilt(mu.expand(count, -1, -1), sigma.expand(count, -1, -1), y, noise, uniform).noise[:, 0].detach()
        assert torch.allclose(drawn.mean(0), mean, atol=tolerance), y
        assert torch.allclose(drawn.T.cov().reshape(covariance.shape), covariance, atol=tolerance), y


def test_missing_labels_leave_the_posterior_alone(kind):
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    noise = torch.randn(*mu.shape)
    tilted = blocks.tilt(mu, sigma, torch.full(mu.shape[:2], NAN), noise, torch.rand(mu.shape[:2]))
    assert torch.equal(tilted.noise, noise)
    assert torch.equal(tilted.log_q_y, torch.zeros(mu.shape[:2]))


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.97])
def test_soft_labels_average_both_values(size, share):
    blocks = binary(size)
    mu, sigma = posterior(blocks)
    soft, absent, present = (tilt(blocks, mu, sigma, y, 20_000) for y in (share, 0.0, 1.0))
    for name in ("log_q_y", "log_ratio"):
        average = (1 - share) * getattr(absent, name) + share * getattr(present, name)
        assert torch.allclose(getattr(soft, name), average, atol=1e-12)
    mean = (1 - share) * absent.noise.mean(0) + share * present.noise.mean(0)
    assert (soft.noise.mean(0) - mean).abs().max() < 0.03


def test_labels_of_a_batch_do_not_meet():
    """Each cell of a batch of mixed patterns is what it is alone."""
    blocks = binary(2, count=4)
    rows = 50
    generator = torch.Generator().manual_seed(5)
    shape = (rows, 4)
    mu, noise = torch.randn(2, *shape, 2, generator=generator)
    sigma, uniform = 0.2 + torch.rand(*shape, 2, generator=generator), torch.rand(shape, generator=generator)
    y = torch.tensor(OBSERVED)[torch.randint(4, shape, generator=generator)]
    together = blocks.tilt(mu, sigma, y, noise, uniform)
    for row in range(0, rows, 7):
        one = slice(row, row + 1)
        alone = blocks.tilt(mu[one], sigma[one], y[one], noise[one], uniform[one])
        for name in ("log_q_y", "log_ratio", "noise"):
            assert torch.allclose(getattr(alone, name), getattr(together, name)[one], atol=1e-12)


def test_tables_are_not_kept_for_the_backward_pass():
    """What a cell keeps must not grow with the table, or hundreds of labels would not fit."""
    blocks = binary(count=8)
    mu, sigma = (torch.randn(100, 8, 1).abs().requires_grad_() for _ in range(2))
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tilted = blocks.tilt(mu, sigma, torch.full((100, 8), NAN), torch.randn(100, 8, 1), torch.rand(100, 8))
    assert tilted.log_ratio.requires_grad
    assert sum(kept.values()) < 100 * 8 * 128  # two tables alone would be 128 numbers a cell


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(list(EVERY_KIND)), st.floats(-1e3, 1e3), st.floats(1e-3, 1e2), st.sampled_from([0.0, 1.0, NAN]), st.data()
)
def test_extreme_posteriors_give_finite_terms_and_gradients_in_single_precision(kind, centre, scale, y, data):
    blocks = EVERY_KIND[kind]().float()
    mu, sigma = (t.float() for t in posterior(blocks))
    mu, sigma = (mu * centre).requires_grad_(), (sigma * scale).requires_grad_()
    uniform = torch.full(mu.shape[:2], data.draw(st.floats(0, 0.9999999)), dtype=torch.float32)
    tilted = blocks.tilt(mu, sigma, torch.full_like(uniform, y), torch.randn_like(mu), uniform)
    total = tilted.log_q_y.sum() + tilted.log_ratio.sum() + tilted.noise.sum()
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, [mu, sigma]))


# ---------------------------------------------------------------------- priors, classifiers and strengths


def test_label_maps_and_priors_are_written_as_in_the_paper(kind):
    blocks = EVERY_KIND[kind]()
    mu, sigma = posterior(blocks)
    z = mu + sigma * torch.randn(5, *mu.shape[1:])
    q, [p, *_] = blocks.classifier(z), blocks.label_prior()
    assert len(q) == len(blocks.label_prior()) == len(blocks.columns)
    assert dict(blocks.by_column(q)) == dict(enumerate(q))
    for value in (0.0, 1.0):
        y = torch.full((5, len(q)), value)
        truth = classifier(blocks, z[:, 0]).log_prob(torch.tensor(value))
        assert torch.allclose(q[0].log_prob(torch.tensor(value)), truth)
        assert torch.allclose(blocks.log_classifier(z, y)[:, 0], truth)
        assert torch.allclose(p.log_prob(torch.tensor(value)), label_prior(blocks).log_prob(torch.tensor(value)))
        prior = blocks.conditional_prior(y)
        log_prior = log_conditional_prior(blocks, z[:, 0], torch.tensor(value))
        assert torch.allclose(prior.log_prob(z)[:, 0].sum(-1), log_prior)
        expected = log_prior + label_prior(blocks).log_prob(torch.tensor(value)) - truth
        assert torch.allclose(blocks.log_joint_ratio(z, y)[:, 0], expected)


def test_conditional_prior_of_a_probability_is_that_of_the_likelier_value():
    blocks = binary()
    for share, value in ((0.2, 0.0), (0.49, 0.0), (0.5, 1.0), (0.51, 1.0)):
        assert torch.equal(blocks.conditional_prior(torch.tensor([[share]])).loc[0, 0], blocks.prior_loc[0, int(value)])


def test_expected_joint_ratio_averages_over_the_label_map(kind):
    blocks = EVERY_KIND[kind]()
    mu, _ = posterior(blocks)
    z = mu.expand(20_000, -1, -1)
    found = blocks.expected_joint_ratio(z, torch.Generator().manual_seed(0))[:, 0]
    q = classifier(blocks, z[:1, 0])
    if isinstance(blocks, ContinuousBlocks):
        nodes, weights = (torch.tensor(numbers) for numbers in np.polynomial.hermite_e.hermegauss(8))
        values, masses = q.loc + q.scale * nodes, weights / weights.sum()
    else:
        values = torch.arange(blocks.log_prior.shape[-1], dtype=torch.float64)
        masses = torch.stack([q.log_prob(value).exp()[0] for value in values])
    ratios = torch.stack([blocks.log_joint_ratio(mu, torch.full(mu.shape[:2], v.item()))[0, 0] for v in values])
    assert (found.mean() - masses @ ratios).abs() < 5 * found.std() / math.sqrt(len(found)) + 1e-12


def strengths(blocks, y, quantiles):
    """Blocks `(strengths, d)` of the first label at quantiles, and how strongly each shows the value, by the classifier."""
    found = torch.stack([blocks.quantile(y, strength)[0, 0] for strength in quantiles]).detach()
    return found, found @ blocks.toward(y)[0, 0].detach()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(EVERY_KIND)), st.sampled_from([0.0, 1.0, 13.7]), st.floats(0.001, 0.999))
def test_strength_is_a_quantile_of_how_strongly_the_label_shows(kind, value, strength):
    blocks = EVERY_KIND[kind]()
    value = value if "continuous" in kind else min(value, 1.0)
    y = torch.full((1, len(blocks.columns)), value)
    _, [shown] = strengths(blocks, y, [strength])
    prior, toward = blocks.conditional_prior(y), blocks.toward(y)[0, 0]
    distribution = Normal(prior.loc[0, 0] @ toward, ((prior.scale[0, 0] * toward) ** 2).sum().sqrt())
    assert distribution.cdf(shown).item() == pytest.approx(strength, abs=1e-9)


def test_strength_of_a_half_is_the_typical_case_and_more_shows_more(kind):
    blocks = EVERY_KIND[kind]()
    for value in (0.0, 1.0):
        y = torch.full((1, len(blocks.columns)), value)
        found, shown = strengths(blocks, y, [0.01, 0.2, 0.5, 0.9, 0.999])
        assert torch.allclose(found[2], blocks.conditional_prior(y).loc[0, 0])
        assert (shown.diff() > 0).all()
        log_q = classifier(blocks, found).log_prob(torch.tensor(value))
        if isinstance(blocks, BinaryBlocks):
            assert (log_q.diff() > 0).all()


def test_strength_may_differ_from_row_to_row():
    blocks = binary(2)
    y = torch.tensor([[1.0], [1.0], [0.0]])
    wanted = torch.tensor([0.2, 0.9, 0.7])
    together = blocks.quantile(y, wanted[:, None, None])
    for row, strength in enumerate(wanted):
        assert torch.allclose(together[row], blocks.quantile(y[row : row + 1], strength.item())[0])


def test_predicted_number_is_normal_in_closed_form():
    blocks = continuous(2)
    mu, sigma = posterior(blocks)
    mean, deviation = blocks.predict(mu, sigma)[0, 0]
    y = torch.tensor([[12.3]])
    evidence = blocks.tilt(mu, sigma, y, torch.zeros_like(mu), torch.full((1, 1), 0.5)).log_q_y
    assert evidence.item() == pytest.approx(Normal(mean, deviation).log_prob(y).item(), abs=1e-12)


def test_first_parameters_say_what_they_mean():
    """Before training, every value's conditional prior lies where the classifier says that value."""
    for blocks, count in (
        (BinaryBlocks([0], [[0, 1]], [labels.Binary("a")]), 2),
        (LatticeBlocks([0], [[0, 1, 2]], [labels.Categorical("a", ("x", "y", "z", "w"))]), 4),
    ):
        for value in range(count):
            y = torch.full((1, 1), float(value))
            z = blocks.conditional_prior(y).loc
            assert blocks.value_log_classifiers(z)[0, 0].argmax() == value
            assert blocks.log_classifier(z, y).exp() > 0.7


def test_blocks_of_labels_stand_side_by_side():
    for make, y in product((binary, categorical, continuous), (0.0, 1.0, NAN)):
        blocks = make(2, count=3)
        mu, sigma = posterior(blocks)
        together = tilt(blocks, mu, sigma, y)
        assert together.log_ratio.shape == (1, 3)
        assert len(set(together.log_ratio[0].tolist())) == 3


@pytest.mark.parametrize("blocks", [binary(count=3), categorical(count=2), categorical(3, 4), continuous(count=3)])
def test_prior_quantiles_are_those_of_the_label_prior(blocks):
    levels = (torch.arange(10_000) + 0.5) / 10_000
    quantiles = blocks.prior_quantile(levels[:, None].expand(-1, len(blocks.columns)))
    for found, prior in zip(quantiles.unbind(-1), blocks.label_prior(), strict=True):
        if isinstance(prior, Normal):
            assert torch.allclose(found, prior.icdf(levels), rtol=1e-5)
            continue
        shares = torch.bincount(found.long()).to(levels.dtype) / len(levels)
        expected = prior.probs if isinstance(prior, Categorical) else torch.stack([1 - prior.probs, prior.probs])
        assert torch.allclose(shares, expected.to(shares.dtype), atol=2e-4)
        assert (found.diff() >= 0).all()
