"""Tilted Normals against a grid of 200,001 points."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from ccvae.distributions import quadrature as module
from ccvae.distributions.tilted_normal import tilted_normal

ALPHAS = (0.01, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0)
BETAS = (-300.0, -100.0, -30.0, -10.0, -3.0, -1.0, 0.0, 1.0, 3.0, 10.0, 30.0, 300.0)
LEVELS = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)


@cache
def fine(alpha, beta):
    """Points, their masses and log Z, on the fine grid around the mode; and the derivatives of E[sin e + e²]."""
    slope, offset = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (alpha, beta))
    middle = min(max(-beta / alpha, 0), alpha)
    e = torch.linspace(middle - 13, middle + 13, 200_001, dtype=torch.float64)
    log_joint = -(e**2) / 2 - math.log(2 * math.pi) / 2 + logsigmoid(slope * e + offset)
    masses = log_joint.softmax(0)
    log_z = log_joint.logsumexp(0) + math.log(26 / 200_000)
    derivatives = torch.autograd.grad((masses * (e.sin() + e**2)).sum(), [slope, offset])
    return e, masses.detach(), log_z.detach(), derivatives


def ours(alpha, beta, level=LEVELS, dtype=torch.float64):
    """Quantities at one alpha and beta, for each level, and the two as leaves."""
    slope, offset = (torch.full((len(level),), number, dtype=dtype, requires_grad=True) for number in (alpha, beta))
    return tilted_normal(slope, offset, level.to(dtype)), slope, offset


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.01, 2e-13), (1.0, 2e-13), (5.0, 2e-13), (10.0, 3e-11), (20.0, 5e-6)])
def test_normaliser(alpha, tolerance):
    for beta in BETAS:
        log_z = fine(alpha, beta)[2]
        assert ours(alpha, beta)[0][0, 0].item() == pytest.approx(log_z.item(), rel=1e-14, abs=tolerance), beta


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.01, 1e-11), (1.0, 1e-11), (5.0, 1e-11), (10.0, 1e-9), (20.0, 5e-5)])
def test_expectations(alpha, tolerance):
    for beta in BETAS:
        e, masses, _, _ = fine(alpha, beta)
        true = [(masses * f).sum().item() for f in (e, e**2, logsigmoid(alpha * e + beta))]
        assert ours(alpha, beta)[0][1:4, 0].tolist() == pytest.approx(true, rel=1e-10, abs=tolerance), beta


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.3, 2e-5), (5.0, 2e-5), (10.0, 2e-5), (20.0, 5e-4)])
def test_single_precision(alpha, tolerance):
    for beta in BETAS:
        e, masses, log_z, _ = fine(alpha, beta)
        found = ours(alpha, beta, dtype=torch.float32)[0]
        assert found.dtype == torch.float32
        true = [log_z.item(), *((masses * f).sum().item() for f in (e, e**2, logsigmoid(alpha * e + beta)))]
        assert found[:4, 0].tolist() == pytest.approx(true, rel=2e-6, abs=tolerance), beta
        assert distance_of_levels(alpha, beta, found[4]) < (1e-3 if alpha == 20 else 2e-4), beta


@pytest.mark.parametrize("alpha", ALPHAS)
def test_draws_sit_where_the_distribution_function_equals_their_level(alpha):
    for beta in BETAS:
        assert distance_of_levels(alpha, beta, ours(alpha, beta)[0][4]) < (5e-4 if alpha == 20 else 1e-4), beta


def distance_of_levels(alpha, beta, draws):
    """The largest |F(draw) − level|."""
    e, masses, _, _ = fine(alpha, beta)
    reached = np.interp(draws.detach().double().numpy(), e.numpy(), (masses.cumsum(0) - masses / 2).numpy())
    return np.abs(reached - LEVELS.numpy()).max()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_draws_carry_the_gradient_of_expectations(alpha):
    """Over Normal quantiles, sums over draws integrate over the density to about 1e-5, so the gradients can be compared."""
    white = torch.linspace(-5, 5, 801, dtype=torch.float64)
    weights = (-(white**2) / 2).softmax(0)
    for beta in BETAS:
        quantities, slope, offset = ours(alpha, beta, torch.special.ndtr(white))
        value = (weights * (quantities[4].sin() + quantities[4] ** 2)).sum()
        found = [gradient.sum().item() for gradient in torch.autograd.grad(value, [slope, offset])]
        true = [derivative.item() for derivative in fine(alpha, beta)[3]]
        assert found == pytest.approx(true, rel=2e-4, abs=2e-4), beta


def test_derivatives_equal_finite_differences():
    """At common levels. A draw carries the exact density's derivative, which its table's cubic follows to 5e-3 in the tails."""
    generator = torch.Generator().manual_seed(0)
    alpha = (0.05 + 4 * torch.rand(300, generator=generator, dtype=torch.float64)).requires_grad_()
    beta = (4 * torch.randn(300, generator=generator, dtype=torch.float64)).requires_grad_()
    level = torch.rand(300, generator=generator, dtype=torch.float64)
    step = 1e-5
    for row, tolerance in zip(range(5), (1e-8, 1e-8, 1e-8, 1e-8, 5e-3), strict=True):
        found = torch.autograd.grad(tilted_normal(alpha, beta, level)[row].sum(), [alpha, beta])
        with torch.no_grad():
            by_alpha = tilted_normal(alpha + step, beta, level)[row] - tilted_normal(alpha - step, beta, level)[row]
            by_beta = tilted_normal(alpha, beta + step, level)[row] - tilted_normal(alpha, beta - step, level)[row]
        for gradient, change in zip(found, (by_alpha, by_beta), strict=True):
            assert torch.allclose(gradient, change / (2 * step), atol=tolerance, rtol=tolerance), row


@settings(max_examples=200, deadline=None)
@given(
    st.floats(1e-12, 1e3),
    st.floats(-1e4, 1e4),
    st.floats(0, 1),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_everything_is_finite_everywhere(alpha, beta, level, dtype):
    quantities, slope, offset = ours(alpha, beta, torch.tensor([level]), dtype)
    assert quantities.isfinite().all()
    for quantity in quantities:
        gradients = torch.autograd.grad(quantity.sum(), [slope, offset], retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_rows_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    alpha, beta, level = torch.rand(3, 700, generator=generator, dtype=torch.float64).unbind()
    together = tilted_normal(alpha, 9 * beta - 4, level)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 64)
    assert torch.allclose(tilted_normal(alpha, 9 * beta - 4, level), together, atol=1e-13)
    assert tilted_normal(alpha[:0], beta[:0], level[:0]).shape == (5, 0)
