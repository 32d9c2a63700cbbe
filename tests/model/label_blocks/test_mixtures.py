"""Mixtures as conditional priors of label blocks: expectations, gradients, draws and choices of components, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from scipy.stats.qmc import Sobol
from torch.autograd import gradcheck
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence
from torch.func import functional_call
from torch.nn.functional import logsigmoid

from brute_force import grid
from ccvae import labels
from ccvae.distributions.mixtures import expected_log_mixture
from ccvae.model.label_blocks.binary import BinaryBlocks, dimensions_first
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from drawn_numbers import at_slope, normal, perturb, uniform

NAN = math.nan
PRIOR = {2: (0.2, 0.8), 3: (0.2, 0.5, 0.3), 6: (0.1, 0.2, 0.3, 0.1, 0.2, 0.1)}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def blocks_of(values, size, components=3, count=1):
    """Blocks of labels with a number of values, with parameters of no special form; binary ones if there are two values."""
    positions = [list(range(size * i, size * (i + 1))) for i in range(count)]
    if values == 2:
        kinds = [labels.Binary(f"label {i}", prior=PRIOR[2][1]) for i in range(count)]
        blocks = BinaryBlocks(list(range(count)), positions, kinds, components)
    else:
        kinds = [labels.Categorical(f"label {i}", tuple(range(values)), PRIOR[values]) for i in range(count)]
        blocks = (LatticeBlocks if size <= 3 else SampledBlocks)(list(range(count)), positions, kinds, components)
    with torch.no_grad():
        blocks.prior_loc.copy_(0.8 * normal(*blocks.prior_loc.shape, seed=0))  # the initial ones are of torch's generator
    return perturb(blocks, seed=1)


def posterior(blocks, rows=1, seed=2):
    """Means and scales of rows, `(rows, labels, d)`."""
    shape = (rows, *blocks.latents.shape)
    return 0.8 * normal(*shape, seed=seed), at_slope(blocks, 0.4 + uniform(*shape, seed=seed + 100))


def tilt(blocks, mu, sigma, y, seed=3):
    """Tilted posterior of rows, at labels `(rows, labels)`."""
    return blocks.tilt(mu, sigma, y, normal(*mu.shape, seed=seed).to(mu), uniform(*y.shape, seed=seed + 100).to(mu))


def written_out(blocks, position=0):
    """p(z_i|y_i) of every value of one label, as torch has mixtures."""
    return [
        MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))
        for logits, loc, scale in zip(
            blocks.prior_logits[position], blocks.prior_loc[position], blocks.prior_scale[position], strict=True
        )
    ]


def dense(blocks, mu, sigma, y, bounded):
    """E[ log p(z|y) p(y) / (q(y|z) q(z|x)) ] of a label, densely integrated: with E[log p(z|y)] itself, or its bound."""
    size = mu.shape[-1]
    noise, log_mass = grid(size, 4001 if size == 1 else 241)
    z = mu[0, 0] + sigma[0, 0] * noise
    log_q_z = Normal(mu[0, 0], sigma[0, 0]).log_prob(z).sum(-1)
    if isinstance(blocks, BinaryBlocks):
        s = z @ blocks.weight[0] + blocks.bias[0]
        log_q_y = torch.stack([logsigmoid(-s), logsigmoid(s)])
    else:
        log_q_y = (z @ blocks.weight[0].T + blocks.bias[0]).log_softmax(-1).T
    total = 0.0
    for value, prior in enumerate(written_out(blocks)):
        if math.isnan(y):
            mass = (log_mass.softmax(0) * log_q_y[value].exp()).sum()
        else:
            mass = 1 - abs(y - value) if len(log_q_y) == 2 else float(y == value)
        weight = (log_mass + log_q_y[value]).softmax(0)
        if bounded:
            log_normals = prior.component_distribution.log_prob(z[:, None])
            log_prior = (prior.mixture_distribution.logits + weight @ log_normals).logsumexp(0)
        else:
            log_prior = weight @ prior.log_prob(z)
        total += mass * (log_prior + math.log(PRIOR[len(log_q_y)][value]) - weight @ (log_q_y[value] + log_q_z))
    return total


@pytest.mark.parametrize(("values", "size"), [(2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("components", [2, 4])
def test_terms_are_those_of_dense_integration(values, size, components):
    blocks = blocks_of(values, size, components)
    for seed in range(3):
        mu, sigma = posterior(blocks, seed=seed)
        for y in [NAN, *range(values), *((0.3,) if values == 2 else ())]:
            found = tilt(blocks, mu, sigma, torch.tensor([[float(y)]])).log_ratio
            expected = dense(blocks, mu, sigma, y, bounded=True)
            assert found.item() == pytest.approx(expected.item(), abs=1e-6), y
            assert found <= dense(blocks, mu, sigma, y, bounded=False) + 1e-6, "a lower bound"


def test_sampled_blocks_average_the_log_density_itself():
    """Of six classes; the truth is an average over many evenly spread points."""
    blocks = blocks_of(6, 5)
    mu, sigma = posterior(blocks)
    z = mu[0, 0] + sigma[0, 0] * Normal(0.0, 1.0).icdf(torch.as_tensor(Sobol(5, seed=5).random_base2(18)))
    with torch.no_grad():
        log_q_y = blocks.value_log_classifiers(z[:, None])[:, 0]
        log_q_z = Normal(mu[0, 0], sigma[0, 0]).log_prob(z).sum(-1)
        log_p = torch.stack([prior.log_prob(z) for prior in written_out(blocks)], 1)
        each = log_p + torch.tensor(PRIOR[6]).log() - log_q_y - log_q_z[:, None]
        for y in (NAN, 1.0, 4.0):
            masses = log_q_y.exp() / len(z) if math.isnan(y) else log_q_y[:, int(y), None].softmax(0)
            expected = (masses * (each if math.isnan(y) else each[:, int(y), None])).sum()
            rows = 400
            found = tilt(blocks, mu.expand(rows, 1, 5), sigma.expand(rows, 1, 5), torch.full((rows, 1), y)).log_ratio
            assert found.mean().item() == pytest.approx(expected.item(), abs=0.002), y
    assert torch.allclose(
        blocks.value_log_conditional_priors(z[:50, None])[:, 0],
        torch.stack([p.log_prob(z[:50]) for p in written_out(blocks)], 1),
    )
    constant = 2.5 * math.log(2 * math.pi)
    assert torch.allclose(blocks.value_log_products(z[:50, None])[:, 0] - constant, log_p[:50])
    at_nodes = blocks.log_mixture(z[:50, None, None], torch.tensor([[4]]))[:, 0, 0]
    assert torch.allclose(at_nodes - constant, log_p[:50, 4])


def test_rows_of_sampled_blocks_do_not_meet():
    """Whether they are computed in one chunk or in several."""
    blocks = blocks_of(6, 5)
    mu, sigma = posterior(blocks, rows=300)
    y = torch.arange(300.0).remainder(7)[:, None]
    y[y == 6] = NAN
    whole = tilt(blocks, mu, sigma, y)
    blocks.row_chunks = lambda mu, nodes: [slice(start, start + 100) for start in (0, 100, 200)]
    parts = tilt(blocks, mu, sigma, y)
    assert torch.allclose(whole.log_ratio, parts.log_ratio, atol=1e-12)


@given(
    st.lists(st.floats(-1e4, 10), min_size=3, max_size=3),
    st.lists(st.floats(-20, 0), min_size=3, max_size=3),
    st.floats(0, 1) | st.floats(0, 1e-300) | st.just(1e-12),
)
def test_bound_of_a_mixture_at_any_mass(log_densities, logits, mass):
    expected = (mass * torch.tensor(log_densities)).requires_grad_()
    log_weights, mass = torch.tensor(logits).log_softmax(0).requires_grad_(), torch.tensor(mass, requires_grad=True)
    found = expected_log_mixture(expected[:, None], log_weights[:, None], mass[None])[0]
    found.backward()
    plain = mass * (log_weights + torch.tensor(log_densities)).logsumexp(0)
    assert found.item() == pytest.approx(plain.item(), rel=1e-9, abs=1e-9)
    r = (log_weights + torch.tensor(log_densities)).softmax(0)
    if mass > 1e-290:  # below, log densities times the mass have no digits left
        assert torch.allclose(expected.grad, r, atol=1e-6)
        assert torch.allclose(log_weights.grad, mass * r, atol=1e-6)
    assert mass.grad.isfinite()
    assert mass.grad <= 1e-9, "−KL(r || π)"


@pytest.mark.parametrize(("values", "size"), [(2, 1), (2, 3), (3, 2)])
def test_gradients(values, size):
    blocks = blocks_of(values, size, components=3, count=2)
    mu, sigma = posterior(blocks, rows=4)
    y = torch.tensor([[0.0, NAN], [1.0, 0.3 if values == 2 else 2.0], [NAN, NAN], [1.0, 0.0]])
    names = [name for name, _ in blocks.named_parameters()]

    def terms(mu, sigma, *parameters):
        noise, uniform = torch.full_like(mu, 0.3), torch.full_like(y, 0.4)
        found = functional_call(blocks, dict(zip(names, parameters, strict=True)), (mu, sigma, y, noise, uniform))
        return found.log_ratio, found.log_q_y

    given = [mu, sigma, *blocks.parameters()]
    assert gradcheck(terms, [tensor.detach().clone().requires_grad_() for tensor in given], atol=1e-6)


def test_gradients_of_sampled_blocks():
    """In the parameters of p(z|y); nodes move with the others."""
    blocks = blocks_of(6, 5, components=2)
    mu, sigma = posterior(blocks, rows=2)
    y, noise, uniform = torch.tensor([[1.0], [NAN]]), torch.full_like(mu, 0.3), torch.tensor([[0.4], [0.4]])
    names = ["prior_loc", "prior_raw_scale", "prior_logits"]

    def terms(*parameters):
        return functional_call(blocks, dict(zip(names, parameters, strict=True)), (mu, sigma, y, noise, uniform)).log_ratio

    given = [getattr(blocks, name).detach().clone().requires_grad_() for name in names]
    assert gradcheck(terms, given, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("values", "size"), [(2, 1), (2, 3), (3, 2), (6, 5)])
def test_extremes_are_finite(values, size, dtype):
    blocks = blocks_of(values, size).to(dtype)
    with torch.no_grad():
        blocks.prior_logits[0, 0] = torch.tensor([-200.0, 0.0, 200.0])
        blocks.prior_raw_scale[0, -1, 0] = -50.0
    y = torch.tensor([NAN, 0.0, 1.0, *((1e-30, 0.3, 1 - 1e-7) if values == 2 else ())], dtype=dtype)[:, None]
    for centre in (-60.0, 0.0, 60.0):
        for deviation in (1e-3, 1.0, 20.0):
            mu, sigma = (
                torch.full((len(y), 1, size), centre, dtype=dtype),
                torch.full((len(y), 1, size), deviation, dtype=dtype),
            )
            mu.requires_grad_()
            sigma.requires_grad_()
            blocks.zero_grad()
            found = tilt(blocks, mu, sigma, y, seed=1)
            found.log_ratio.sum().backward()
            assert found.log_ratio.isfinite().all(), (centre, deviation)
            for gradient in (mu.grad, sigma.grad, *(parameter.grad for parameter in blocks.parameters())):
                assert gradient.isfinite().all(), (centre, deviation)


@pytest.mark.parametrize("seed", range(3))
def test_one_component_computes_what_it_always_did(seed):
    """The expression without components, as it was: equal in every bit."""
    blocks = blocks_of(2, 3, components=1, count=2)
    assert [name for name, _ in blocks.named_parameters()] == ["prior_loc", "prior_raw_scale", "weight", "bias"]
    assert blocks.prior_loc.shape == (2, 2, 3)
    mu, sigma = (dimensions_first(part) for part in posterior(blocks, rows=5, seed=seed))
    along, (mass, mean, square) = normal(*mu.shape, seed=seed), uniform(3, 2, 5, 2, seed=seed)
    loc, scale = (parameter.permute(1, 2, 0)[:, :, None] for parameter in (blocks.prior_loc, blocks.prior_scale))
    offset, spread = (mu - loc) / scale, sigma / scale
    slope = spread * along
    distance = (
        mass * (offset.square() + spread.square()).sum(1)
        + 2 * mean * (offset * slope).sum(1)
        + (square - mass) * slope.square().sum(1)
    )
    constant = blocks.log_prior.T[:, None] - scale.log().sum(1)
    assert torch.equal(blocks.log_joint(mu, sigma, along, mass, mean, square), (mass * constant - distance / 2).sum(0))


@pytest.mark.parametrize(("values", "size"), [(2, 2), (3, 2), (6, 5)])
def test_equal_components_are_one(values, size):
    """Three components at the same place, of any weights, are one Normal: in all terms, quantiles and neutral blocks."""
    one, three = blocks_of(values, size, 1, count=2), blocks_of(values, size, 3, count=2)
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            getattr(three, name).copy_(parameter[:, :, None] if name.startswith("prior_") else parameter)
    mu, sigma = posterior(one, rows=4)
    y = torch.tensor([[0.0, NAN], [1.0, 0.0], [NAN, NAN], [1.0, 1.0]])
    for name in ("log_q_y", "log_ratio", "noise"):
        ours, theirs = (getattr(tilt(blocks, mu, sigma, y), name) for blocks in (three, one))
        # sampled blocks average log densities over nodes, where one Normal needs their moments only
        assert torch.allclose(ours, theirs, atol=1e-9), name
    known = y.nan_to_num()
    for call in (
        lambda blocks: blocks.log_joint_ratio(mu, known),
        lambda blocks: blocks.expected_joint_ratio(mu, None),
        lambda blocks: blocks.divergence(mu, sigma, 1),
        lambda blocks: blocks.neutral(),
        lambda blocks: blocks.quantile(known, 0.8),
        lambda blocks: blocks.conditional_prior(known).scale,
        lambda blocks: blocks.component(known, torch.full_like(known, 0.7)).loc,
    ):
        assert torch.allclose(call(three), call(one), atol=1e-9)


@pytest.mark.parametrize(("values", "size"), [(2, 1), (3, 2)])
def test_draws_are_the_mixtures(values, size):
    blocks = blocks_of(values, size, count=2)
    count = 40_000
    for value in range(values):
        y = torch.full((count, 2), float(value))
        with torch.no_grad():
            part = blocks.component(y, uniform(*y.shape, seed=value))
            drawn = part.loc + part.scale * normal(*part.loc.shape, seed=100 + value)
            whole = blocks.conditional_prior(y[:1])
        for position in range(2):
            prior, own = written_out(blocks, position)[value], drawn[:, position]
            error = 5 * prior.stddev / math.sqrt(count)
            assert ((own.mean(0) - prior.mean).abs() < error).all()
            assert torch.allclose(own.var(0), prior.variance, rtol=0.05)
            assert torch.allclose(whole.loc[0, position], prior.mean)
            assert torch.allclose(whole.variance[0, position], prior.variance)
            marginal = MixtureSameFamily(
                prior.mixture_distribution,
                Normal(blocks.prior_loc[position, value, :, 0], blocks.prior_scale[position, value, :, 0]),
            )
            assert (
                kstest(own[:, 0].numpy(), lambda z, marginal=marginal: marginal.cdf(torch.as_tensor(z)).detach().numpy()).pvalue
                > 1e-3
            )


@pytest.mark.parametrize(("values", "size"), [(2, 1), (6, 5)])
def test_what_remains_of_a_level_is_uniform_whatever_the_value(values, size):
    blocks = blocks_of(values, size, count=2)
    level = uniform(60_000, 2, seed=0)
    y = blocks.prior_quantile(level)
    remaining = blocks.remaining_level(level, y)
    for value in range(values):
        for position in range(2):
            own = remaining[y[:, position] == value, position]
            assert len(own) == pytest.approx(60_000 * PRIOR[values][value], rel=0.1)
            assert kstest(own.numpy(), "uniform").pvalue > 1e-3
    one = blocks_of(values, size, components=1, count=2)
    assert one.remaining_level(level, y) is level


def test_a_block_keeps_its_component():
    blocks = blocks_of(2, 2)
    y = torch.ones(3, 1)
    with torch.no_grad():
        blocks.prior_loc[0, 1] = torch.tensor([[3.0, 3.0], [3.0, -3.0], [4.0, 0.0]])
        blocks.prior_logits[0, 1] = torch.tensor([0.0, 1.0, 0.5])
    near = blocks.prior_loc[0, 1][:, None] + 0.4
    assert torch.equal(blocks.likely_component(y, near).loc[:, 0], blocks.prior_loc[0, 1])
    assert torch.equal(blocks.likely_component(y).loc[:, 0], blocks.prior_loc[0, 1, 1].expand(3, 2))
    assert torch.equal(blocks.quantile(y, 0.5), blocks.likely_component(y).loc)
    part = blocks.likely_component(y, near)
    projected = (blocks.toward(y) * (blocks.quantile(y, 0.9, part) - part.loc)).sum(-1)
    deviation = (blocks.toward(y) * part.scale).norm(dim=-1)
    assert torch.allclose(Normal(0.0, 1.0).cdf(projected / deviation), torch.tensor(0.9))


def test_divergence_is_an_upper_bound():
    blocks = blocks_of(2, 2, count=2)
    mu, sigma = posterior(blocks, rows=3)
    z = mu + sigma * normal(50_000, *mu.shape, seed=0)
    for value in (0, 1):
        log_p = torch.stack([written_out(blocks, position)[value].log_prob(z[..., position, :]) for position in range(2)], -1)
        sampled = (Normal(mu, sigma).log_prob(z).sum(-1) - log_p).mean(0)
        found = blocks.divergence(mu, sigma, value)
        assert (found > sampled - 0.02).all()
        own = Normal(blocks.prior_loc[:, value], blocks.prior_scale[:, value])
        to_each = kl_divergence(Normal(mu[:, :, None], sigma[:, :, None]), own).sum(-1) - blocks.log_weights[:, value]
        assert (found < to_each.amin(-1)).all(), "no worse than any component alone"


@pytest.mark.parametrize(("values", "size"), [(2, 1), (2, 4), (3, 2), (3, 5), (6, 8)])
def test_components_start_apart_and_show_their_value(values, size):
    kind = labels.Binary("a") if values == 2 else labels.Categorical("a", tuple(range(values)))
    which = BinaryBlocks if values == 2 else LatticeBlocks if size <= 3 else SampledBlocks
    torch.manual_seed(4)
    blocks = which([0], [list(range(size))], [kind], 3)
    torch.manual_seed(4)
    again = which([0], [list(range(size))], [kind], 3)
    assert torch.equal(blocks.prior_loc, again.prior_loc), "seeded by torch's generator"
    one = which([0], [list(range(size))], [kind])
    assert torch.allclose(blocks.prior_means, one.prior_loc)
    assert torch.allclose(blocks.log_weights.exp(), torch.tensor(1 / 3))
    distance = (blocks.prior_loc - one.prior_loc[:, :, None]).norm(dim=-1)
    assert torch.allclose(distance.square().mean(-1).sqrt(), torch.tensor(2.0 if size > values - 1 else 1.0))
    if size > values - 1:
        read = blocks.value_log_classifiers(blocks.prior_loc[0].reshape(-1, 1, size))[:, 0].argmax(-1)
        assert torch.equal(read, torch.arange(values).repeat_interleave(3))


def test_a_continuous_label_has_one_normal():
    blocks = ContinuousBlocks([0], [[0, 1]], [labels.Continuous("a", 3.0, 2.0)])
    y, level = torch.tensor([[1.0], [4.0]]), torch.tensor([[0.2], [0.9]])
    prior = blocks.conditional_prior(y)
    for part in (blocks.component(y, level), blocks.likely_component(y, torch.zeros(2, 1, 2))):
        assert torch.equal(part.loc, prior.loc)
        assert torch.equal(part.scale, prior.scale)
    assert blocks.remaining_level(level, y) is level
