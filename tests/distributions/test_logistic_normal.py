"""Averages of a sigmoid under a Normal, against a grid of 200,001 points."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from ccvae.distributions import quadrature as label_tables
from ccvae.distributions.logistic_normal import sigmoid_averages, value_probabilities

BETAS = (-300.0, -100.0, -30.0, -10.0, -3.0, -1.0, 0.0, 1.0, 3.0, 10.0, 30.0, 300.0)
E = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
MASSES = (-(E**2) / 2).softmax(0)


def fine(alpha, beta):
    """The four averages and their derivatives in alpha and beta, on the fine grid: `(3, 4)`."""
    slope, offset = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (alpha, beta))
    s = slope * E + offset
    present, log_absent = torch.sigmoid(s), logsigmoid(-s)
    entropy = -(present * logsigmoid(s) + (1 - present) * log_absent)
    averages = torch.stack([(MASSES * f).sum() for f in (present, present * E, present * E**2, entropy)])
    slopes = [torch.stack(torch.autograd.grad(average, [slope, offset], retain_graph=True)) for average in averages]
    return torch.cat([averages.detach()[None], torch.stack(slopes, 1)])


def ours(alpha, beta, dtype):
    """The same, by the table."""
    slope, offset = (torch.full((1,), number, dtype=dtype, requires_grad=True) for number in (alpha, beta))
    averages = sigmoid_averages(slope, offset)
    assert averages.dtype == dtype
    slopes = [torch.cat(torch.autograd.grad(average, [slope, offset], retain_graph=True)) for average in averages]
    return torch.cat([averages.detach().T, torch.stack(slopes, 1)]).double()


@pytest.mark.parametrize(
    ("alpha", "tolerance"), [(0.01, 1e-11), (0.3, 1e-11), (1.0, 1e-11), (5.0, 1e-9), (10.0, 1e-9), (20.0, 1e-5)]
)
def test_double_precision(alpha, tolerance):
    for beta in BETAS:
        assert torch.allclose(ours(alpha, beta, torch.float64), fine(alpha, beta), rtol=1e-10, atol=tolerance), beta


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.01, 1e-5), (1.0, 1e-5), (5.0, 1e-5), (10.0, 1e-5), (20.0, 5e-5)])
def test_single_precision(alpha, tolerance):
    for beta in BETAS:
        assert torch.allclose(ours(alpha, beta, torch.float32), fine(alpha, beta), rtol=1e-5, atol=tolerance), beta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 5.0, 10.0])
def test_probabilities_of_values_are_right_where_they_are_rare_too(alpha, dtype):
    for beta in BETAS:
        s = alpha * E + beta
        true = torch.stack([(MASSES * torch.sigmoid(-s)).sum(), (MASSES * torch.sigmoid(s)).sum()])
        found = value_probabilities(*torch.tensor([[alpha], [beta]], dtype=dtype))[:, 0]
        assert found.dtype == dtype
        assert found.sum().item() == pytest.approx(1, abs=1e-6)
        assert torch.allclose(found.double(), true, rtol=3e-6, atol=1e-9), beta
        if alpha <= 5:
            assert torch.allclose(found.double(), true, rtol=2e-3, atol=1e-35), beta


def test_everything_is_finite_everywhere():
    alpha = torch.logspace(-12, 4, 60)
    for beta in (-1e30, -1e4, -90.0, 0.0, 90.0, 1e4, 1e30):
        slope, offset = alpha.clone().requires_grad_(), torch.full_like(alpha, beta).requires_grad_()
        averages = sigmoid_averages(slope, offset)
        averages.sum().backward()
        assert all(part.isfinite().all() for part in (averages, slope.grad, offset.grad)), beta


def test_rows_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    alpha, beta = torch.rand(2, 700, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = sigmoid_averages(alpha, 9 * beta - 4)
    monkeypatch.setattr(label_tables, "ROWS_AT_ONCE", 64)
    assert torch.allclose(sigmoid_averages(alpha, 9 * beta - 4), together, atol=1e-13)
    assert sigmoid_averages(alpha[:0], beta[:0]).shape == (4, 0)
