"""The mode of a Normal tilted by a softmax solves its equation, whatever the labels' slopes are, and makes weights even."""

import pytest
import torch

from ccvae.distributions.normal_nodes import normal_nodes, sobol_points
from ccvae.distributions.tilted_softmax import tilted_mode

ROWS, LABELS = 6, 2


def problem(classes, slope, seed=0):
    """Logits, weights, scales and observed classes of some rows and labels."""
    generator = torch.Generator().manual_seed(seed)
    size = classes - 1
    logits = torch.randn(ROWS, LABELS, classes, generator=generator, dtype=torch.float64)
    weight = torch.randn(LABELS, classes, size, generator=generator, dtype=torch.float64)
    weight = slope * weight / weight.norm(dim=-1, keepdim=True)
    sigma = 0.5 + torch.rand(ROWS, LABELS, size, generator=generator, dtype=torch.float64)
    return logits, weight, sigma, torch.randint(classes, (ROWS, LABELS), generator=generator)


def pull(logits, weight, sigma, value, c):
    """Sᵀ(1_k − softmax(m + S c)), cell by cell."""
    found = torch.empty_like(c)
    for row in range(ROWS):
        for label in range(LABELS):
            slopes = weight[label] * sigma[row, label]
            rest = -(logits[row, label] + slopes @ c[row, label]).softmax(0)
            rest[value[row, label]] += 1
            found[row, label] = slopes.T @ rest
    return found


@pytest.mark.parametrize(
    ("classes", "slope", "tolerance"), [(2, 0.3, 1e-8), (20, 0.3, 1e-10), (5, 1.0, 1e-4), (20, 1.0, 1e-5), (20, 3.0, 0.02)]
)
def test_the_mode_solves_its_equation(classes, slope, tolerance):
    logits, weight, sigma, value = problem(classes, slope)
    c = tilted_mode(logits, weight, sigma, value)
    torch.testing.assert_close(c, pull(logits, weight, sigma, value, c), atol=tolerance, rtol=0)


def test_the_mode_has_no_gradient():
    logits, weight, sigma, value = problem(4, 1.0)
    assert not tilted_mode(logits.requires_grad_(), weight.requires_grad_(), sigma, value).requires_grad


@pytest.mark.parametrize("classes", [6, 40])
def test_nodes_moved_to_the_mode_count_nearly_all(classes):
    """The effective sample size is above 90 % of the nodes at slopes about 1, as the module says."""
    logits, weight, sigma, value = problem(classes, 1.0)
    c = tilted_mode(logits, weight, sigma, value)
    standard = normal_nodes(sobol_points(classes - 1, 4096))[:, None, None]
    scores = logits + torch.einsum("lcd,n...ld->n...lc", weight, sigma * (c + standard))
    log_weight = scores.log_softmax(-1).take_along_dim(value[None, ..., None], -1)[..., 0]
    log_weight = log_weight - (c * (standard + c / 2)).sum(-1)
    share = log_weight.softmax(0).square().sum(0).reciprocal() / len(standard)
    assert share.min() > 0.9
