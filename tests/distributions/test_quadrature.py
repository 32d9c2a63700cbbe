"""What is computed in another way on accelerators and in exported graphs is the same."""

import pytest
import torch

from ccvae.distributions import quadrature
from ccvae.distributions.logistic_normal import sigmoid_averages, value_probabilities
from ccvae.distributions.quadrature import Grid, found_where, product, row_chunks, sums_to_middles
from ccvae.distributions.tilted_normal import tilted_normal

ALPHA = torch.tensor([0.01, 0.5, 1.0, 3.0, 8.0], dtype=torch.float64)
BETA = torch.tensor([2.0, -1.0, 0.0, 4.0, -6.0], dtype=torch.float64)
LEVEL = torch.tensor([0.01, 0.3, 0.5, 0.8, 0.999], dtype=torch.float64)


def as_on_accelerator(monkeypatch: pytest.MonkeyPatch, function, *arguments):
    """What a function gives, in the way of accelerators, on this processor."""
    with monkeypatch.context() as patch:
        patch.setattr(quadrature, "on_accelerator", lambda tensor: True)
        return function(*arguments)


def both(alpha, beta):
    return torch.cat([tilted_normal(alpha, beta, LEVEL), sigmoid_averages(alpha, beta), value_probabilities(alpha, beta)])


def test_integrals_and_their_derivatives_do_not_depend_on_the_way(monkeypatch):
    found = []
    for way in (lambda function, *given: function(*given), lambda *given: as_on_accelerator(monkeypatch, *given)):
        alpha, beta = ALPHA.clone().requires_grad_(), BETA.clone().requires_grad_()
        quantities = way(both, alpha, beta)
        quantities.cos().sum().backward()
        found.append([quantities.detach(), alpha.grad, beta.grad])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-12)


def test_cells_that_are_not_wanted_are_zero_in_both_ways(monkeypatch):
    where = torch.tensor([[True, False, True], [False, False, True]])
    values, others = torch.arange(6.0).view(2, 3), torch.full((2, 3), 10.0)

    def function(value, other):
        return torch.stack([value + other, value * other])

    expected = torch.stack([torch.where(where, values + others, 0), torch.where(where, values * others, 0)])
    assert torch.equal(found_where(where, 2, function, values, others), expected)
    assert torch.equal(as_on_accelerator(monkeypatch, found_where, where, 2, function, values, others), expected)
    nowhere = torch.zeros_like(where)
    assert torch.equal(found_where(nowhere, 2, lambda *_: pytest.fail("nothing is wanted"), values, others), 0 * expected)


def test_sums_and_products_in_both_ways(monkeypatch):
    table = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middles = torch.stack([table[:row].sum(0) + table[row] / 2 for row in range(7)])
    few = table[:, :2].T
    for way in (lambda function, *given: function(*given), lambda *given: as_on_accelerator(monkeypatch, *given)):
        torch.testing.assert_close(way(sums_to_middles, table), middles)
        torch.testing.assert_close(way(product, few, table), few @ table)


def test_rows_are_taken_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(quadrature, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(quadrature, "ROWS_ON_ACCELERATOR", 4)
    rows = torch.arange(5)
    assert [rows[part].tolist() for part in row_chunks(rows)] == [[0, 1], [2, 3], [4]]
    assert [rows[part].tolist() for part in as_on_accelerator(monkeypatch, lambda: list(row_chunks(rows)))] == [
        [0, 1, 2, 3],
        [4],
    ]
    assert [rows[:0][part].tolist() for part in row_chunks(rows[:0])] == [[]]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert list(row_chunks(rows)) == [slice(None)]
    assert quadrature.on_accelerator(rows)


@pytest.mark.parametrize(("dtype", "points", "reach"), [(torch.float32, 40, 8.5), (torch.float64, 64, 11.0)])
def test_the_points_are_symmetric_and_reach_far_enough(dtype, points, reach):
    grid = Grid.like(torch.zeros(1, dtype=dtype))
    assert grid.offset.shape == (points,)
    assert grid.offset.dtype == dtype
    torch.testing.assert_close(grid.offset, -grid.offset.flip(0))
    assert grid.offset[-1].item() == pytest.approx(reach, rel=1e-5)
    assert torch.equal(grid.powers, torch.stack([grid.offset**0, grid.offset, grid.offset**2, grid.offset**3]))
    # spacing and bend are de/dj and d log spacing / dj of e = c + r sinh(t), where t has equal steps
    steps = torch.linspace(-3.5, 3.5, points, dtype=dtype)
    torch.testing.assert_close(grid.spacing, grid.offset[-1] / steps[-1].sinh() * (steps[1] - steps[0]) * steps.cosh())
    torch.testing.assert_close(grid.bend, (steps[1] - steps[0]) * steps.tanh())
