"""Likelihoods against torch.distributions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions

from ccvae.config import ModelConfig
from ccvae.distributions.likelihoods import LIKELIHOODS, Bernoulli, Laplace, Normal, build_likelihood

SHAPES = [(3, 4, 5), (7,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
@pytest.mark.parametrize(("ours", "theirs"), [(Laplace, distributions.Laplace), (Normal, distributions.Normal)])
def test_densities_with_a_scale(ours, theirs, scale, bounded, shape):
    torch.manual_seed(0)
    likelihood = ours(bounded, scale, learn_scale=True).double()
    decoded = torch.randn(6, *shape, dtype=torch.float64, requires_grad=True)
    x = torch.rand(6, *shape, dtype=torch.float64)
    assert likelihood.scale.item() == pytest.approx(scale, rel=1e-6)
    mean = torch.sigmoid(decoded) if bounded else decoded
    width = likelihood.scale.detach().requires_grad_()
    truth = theirs(mean, width).log_prob(x).flatten(1).sum(1)
    found = likelihood.log_prob(decoded, x)
    assert found.shape == (6,)
    assert torch.allclose(found, truth)
    assert torch.equal(likelihood.mean(decoded), mean)
    (by_decoded,) = torch.autograd.grad(found.sum(), decoded, retain_graph=True)
    true_by_decoded, by_width = torch.autograd.grad(truth.sum(), [decoded, width])
    assert torch.allclose(by_decoded, true_by_decoded)
    found.sum().backward()
    by_raw = torch.autograd.grad(likelihood.scale, likelihood.raw_scale)[0]
    assert likelihood.raw_scale.grad.item() == pytest.approx((by_width * by_raw).item())


@pytest.mark.parametrize("shape", SHAPES)
def test_bernoulli(shape):
    torch.manual_seed(0)
    decoded, x = 3 * torch.randn(6, *shape), torch.rand(6, *shape)
    truth = distributions.Bernoulli(logits=decoded, validate_args=False).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(Bernoulli().log_prob(decoded, x), truth, atol=1e-5)
    assert torch.equal(Bernoulli().mean(decoded), torch.sigmoid(decoded))


@given(st.floats(0.0011, 1e4))
def test_scale_starts_where_it_is_set(scale):
    assert Laplace(False, scale).scale.item() == pytest.approx(scale, rel=1e-4)


def test_scale_is_a_parameter_only_where_learned():
    assert not Laplace().raw_scale.requires_grad
    likelihood = Normal(learn_scale=True)
    decoded, x = torch.zeros(500, 20), 0.5 + 0.1 * torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (-likelihood.log_prob(decoded, x).mean()).backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(0.1, rel=0.02)


def test_laplace_of_scale_one_is_the_paper_s():
    x = torch.tensor([[0.2, 0.9]])
    decoded = torch.tensor([[0.0, 0.0]])
    assert Laplace().log_prob(decoded, x).item() == pytest.approx(-0.3 - 0.4 - 2 * torch.tensor(2.0).log().item())


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-3, float("nan"), float("inf")])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match=r"scale: expected a finite number above 0.001, found"):
        Laplace(scale=scale)


def test_bernoulli_refuses_what_it_cannot_have():
    with pytest.raises(ValueError, match=r"data in \[0, 1\].*choose laplace or normal"):
        Bernoulli(bounded=False)
    for settings in ({"scale": 0.5}, {"learn_scale": True}):
        with pytest.raises(ValueError, match="has no scale; leave scale at 1"):
            Bernoulli(**settings)


def test_names():
    assert {name: type(build_likelihood(name, bounded=True)) for name in LIKELIHOODS} == LIKELIHOODS
    for name in LIKELIHOODS:
        assert ModelConfig(likelihood=name).likelihood == name
    with pytest.raises(ValueError, match="likelihood: expected one of laplace, normal, bernoulli, found 'gauss'"):
        build_likelihood("gauss", bounded=True)
