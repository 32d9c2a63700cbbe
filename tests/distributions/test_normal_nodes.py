"""Nodes of a standard Normal: exact moments on a lattice, even and always the same for Sobol points, uniform when shifted."""

import math

import pytest
import torch

from ccvae.distributions.normal_nodes import LATTICES, lattice, normal_nodes, shifted_nodes, sobol_points


@pytest.mark.parametrize(("size", "tolerance", "most"), [(1, 1e-10, 141), (2, 1e-6, 450), (3, 1e-3, 520)])
def test_a_lattice_has_the_moments_of_a_normal_with_few_nodes(size, tolerance, most):
    """Time and memory of each step grow with the nodes."""
    nodes, weights = lattice(size)
    assert nodes.shape == (len(weights), size)
    assert nodes.dtype == weights.dtype == torch.float64
    assert len(nodes) <= most
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert (weights > 0).all()
    torch.testing.assert_close(weights @ nodes, torch.zeros(size, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close((nodes.T * weights) @ nodes, torch.eye(size, dtype=torch.float64), atol=tolerance, rtol=0)
    torch.testing.assert_close(weights @ nodes**4, torch.full((size,), 3.0, dtype=torch.float64), atol=100 * tolerance, rtol=0)
    sines = weights @ (1.3 * nodes + 0.4).sin()  # E[sin(a e + b)] = sin(b) exp(-a² / 2)
    assert sines.tolist() == pytest.approx([math.sin(0.4) * math.exp(-(1.3**2) / 2)] * size, abs=2 * tolerance)


@pytest.mark.parametrize("size", LATTICES)
def test_a_lattice_is_a_ball_of_even_steps(size):
    nodes, weights = lattice(size)
    spacing, radius = LATTICES[size]
    assert nodes.square().sum(1).max().sqrt().item() == pytest.approx(radius), "the outermost nodes are in it"
    torch.testing.assert_close(nodes / spacing, (nodes / spacing).round(), atol=1e-9, rtol=0)
    assert len(nodes.unique(dim=0)) == len(nodes)
    missing = torch.cdist(-nodes, nodes).min(1).values  # with each node the one opposite
    assert missing.max() < 1e-9
    ratios = (weights.log() + nodes.square().sum(1) / 2).unique()
    assert (ratios - ratios[0]).abs().max() < 1e-9, "weights are the Normal's density"


def test_sobol_points_are_even_and_the_same_each_time():
    points = sobol_points(5, 1024)
    assert points.dtype == torch.float64
    assert points.shape == (1024, 5)
    assert points.min() >= -1
    assert points.max() < 1
    assert torch.equal(points, sobol_points(5, 1024))
    assert torch.equal(points[:64], sobol_points(5, 64)), "the first of a sequence"
    for axis in points.T:  # every interval of 1/64 of an axis has as many points as any other
        assert torch.bincount(((axis + 1) * 32).long(), minlength=64).tolist() == [16] * 64


def test_normal_nodes_are_quantiles_and_finite_at_the_ends():
    points = torch.linspace(-0.999, 0.999, 101, dtype=torch.float64)
    torch.testing.assert_close(normal_nodes(points), torch.special.ndtri((points + 1) / 2))
    for dtype, largest in ((torch.float32, 5.2), (torch.float64, 8.2)):
        ends = normal_nodes(torch.tensor([-1.0, 1.0], dtype=dtype))
        assert ends.isfinite().all()
        assert ends[0] == -ends[1]
        assert largest - 0.3 < ends[1] < largest + 0.3


def test_shifted_nodes_move_all_points_around_the_circle_by_the_noise():
    points = sobol_points(2, 8)
    noise = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = shifted_nodes(points, noise)
    assert found.shape == (8, 3, 4, 2)
    shift = 2 * torch.special.ndtr(noise) - 1
    moved = points[:, None, None] + shift
    moved = torch.where(moved >= 1, moved - 2, torch.where(moved < -1, moved + 2, moved))
    torch.testing.assert_close(found, torch.special.ndtri((moved + 1) / 2), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(shifted_nodes(points, torch.zeros(2, dtype=torch.float64)), normal_nodes(points))
    torch.testing.assert_close(shifted_nodes(0 * points[:1], noise)[0], noise)


def test_every_shifted_node_is_a_standard_normal():
    noise = torch.randn(50_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for node in shifted_nodes(sobol_points(2, 4), noise):
        assert node.mean(0).abs().max() < 4.5 / math.sqrt(len(node))
        assert (node.T.cov() - torch.eye(2)).abs().max() < 4.5 * math.sqrt(2 / len(node))
