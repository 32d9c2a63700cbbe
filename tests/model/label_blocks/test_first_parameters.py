"""What label blocks are before training, and where their parameters have limits."""

import math

import pytest
import torch

from ccvae import labels
from ccvae.model.label_blocks import categorical_sampled
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.label_blocks.categorical import CategoricalBlocks, simplex
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks

NAN = math.nan


def positions(count: int, size: int) -> list[list[int]]:
    return [list(range(size * number, size * (number + 1))) for number in range(count)]


def binary(size: int = 2) -> BinaryBlocks:
    names = [labels.Binary("a", prior=0.2), labels.Binary("b", prior=0.7)]
    return BinaryBlocks([0, 1], positions(2, size), names)


def categorical(classes: int, size: int) -> CategoricalBlocks:
    prior = tuple(number / (classes * (classes + 1) / 2) for number in range(1, classes + 1))
    names = [labels.Categorical(name, tuple(range(classes)), prior) for name in "ab"]
    return (LatticeBlocks if size <= 3 else SampledBlocks)([0, 1], positions(2, size), names)


def continuous(size: int = 2) -> ContinuousBlocks:
    return ContinuousBlocks([0, 1], positions(2, size), [labels.Continuous("a", 10.0, 2.5), labels.Continuous("b")])


EVERY = {
    "binary": binary,
    "lattice": lambda: categorical(3, 2),
    "sampled": lambda: categorical(5, 4),
    "continuous": continuous,
}


@pytest.fixture(params=EVERY)
def blocks(request: pytest.FixtureRequest) -> LabelBlocks:
    made: LabelBlocks = EVERY[request.param]()
    return made


@pytest.mark.parametrize("size", [1, 2, 5])
def test_binary_labels_start_two_deviations_from_zero_on_either_side(size: int) -> None:
    blocks = binary(size)
    torch.testing.assert_close(blocks.weight.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close((blocks.prior_loc * blocks.weight[:, None]).sum(-1), torch.tensor([[-2.0, 2.0]] * 2))
    torch.testing.assert_close(blocks.prior_loc.norm(dim=-1), torch.full((2, 2), 2.0))
    torch.testing.assert_close(blocks.prior_scale, torch.full((2, 2, size), 1.001))
    assert torch.equal(blocks.bias, torch.zeros(2))


@pytest.mark.parametrize(("classes", "size"), [(2, 1), (3, 2), (3, 3), (4, 3), (5, 4), (5, 7)])
def test_classes_start_at_the_corners_of_a_regular_simplex(classes: int, size: int) -> None:
    blocks = categorical(classes, size)
    for corners in blocks.weight:
        cosines = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
        torch.testing.assert_close(corners @ corners.T, cosines, atol=1e-6, rtol=0)
        assert torch.equal(corners[:, classes - 1 :], torch.zeros(classes, size - classes + 1)), "the rest says nothing"
    torch.testing.assert_close(blocks.prior_loc, 2 * blocks.weight)
    torch.testing.assert_close(blocks.prior_scale, torch.full((2, classes, size), 1.001))
    assert torch.equal(blocks.bias, torch.zeros(2, classes))
    assert simplex(classes).shape == (classes, classes - 1)


def test_corners_are_the_same_on_every_machine() -> None:
    """Every basis makes a regular simplex; which one a decomposition gives depends on the linear algebra of the machine."""
    torch.testing.assert_close(simplex(3), torch.tensor([[0.75**0.5, 0.5], [-(0.75**0.5), 0.5], [0.0, -1.0]]))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_numbers_start_along_one_direction_with_half_a_deviation(size: int) -> None:
    blocks = continuous(size)
    torch.testing.assert_close(blocks.weight.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(blocks.prior_slope, blocks.weight)
    torch.testing.assert_close(blocks.tau, torch.full((2,), 0.501))
    torch.testing.assert_close(blocks.prior_scale, torch.full((2, size), 1.001))
    assert torch.equal(blocks.prior_loc, torch.zeros(2, size))
    assert torch.equal(blocks.bias, torch.zeros(2))
    torch.testing.assert_close(blocks.standardised(torch.tensor([12.5, 3.0])), torch.tensor([1.0, 3.0]))


def test_neutral_blocks() -> None:
    for made in (binary(), categorical(3, 2), categorical(5, 4), continuous()):
        with torch.no_grad():
            made.prior_loc.normal_()
    few, several, number = binary(), categorical(3, 2), continuous()
    assert torch.equal(few.neutral(), few.prior_loc[:, 0])
    torch.testing.assert_close(several.neutral(), (several.prior_loc * torch.tensor([1.0, 2.0, 3.0])[:, None] / 6).sum(1))
    assert torch.equal(number.neutral(), number.prior_loc)


def test_directions_in_which_a_label_shows() -> None:
    few, several, number = binary(), categorical(3, 2), continuous()
    with torch.no_grad():
        for made in (few, several, number):
            made.weight.normal_()
    assert torch.equal(few.toward(torch.tensor([1.0, 0.0])), few.weight * torch.tensor([[1.0], [-1.0]]))
    assert torch.equal(few.toward(torch.tensor([0.5, 0.49])), few.weight * torch.tensor([[1.0], [-1.0]])), "as it is rounded"
    torch.testing.assert_close(
        several.toward(torch.tensor([2.0, 0.0])),
        torch.stack([several.weight[0, 2] - several.weight[0].mean(0), several.weight[1, 0] - several.weight[1].mean(0)]),
    )
    assert torch.equal(number.toward(torch.tensor([10.0, -0.1])), number.weight * torch.tensor([[1.0], [-1.0]]))


def test_half_a_label_shows_as_the_value_that_it_is_rounded_to() -> None:
    blocks = binary()
    half, present = (blocks.quantile(torch.full((1, 2), y), 0.9) for y in (0.5, 1.0))
    assert torch.equal(half, present)


def test_mixed_precision_leaves_integrals_in_full_precision(blocks: LabelBlocks) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (4, *blocks.latents.shape)
    mu, noise = torch.randn(2, *shape, generator=generator)
    sigma, uniform = 0.5 + torch.rand(shape, generator=generator), torch.rand(shape[:2], generator=generator)
    y = torch.tensor([[0.0, 1.0], [NAN, 1.0], [1.0, NAN], [NAN, NAN]])

    def everything() -> list[torch.Tensor]:
        tilted = blocks(mu, sigma, y, noise, uniform)
        z, known = mu + sigma * noise, y.nan_to_num()
        others = [blocks.predict(mu, sigma), blocks.log_classifier(z, known), blocks.log_joint_ratio(z, known)]
        return [tilted.log_q_y, tilted.log_ratio, tilted.noise, *others]

    full = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = everything()
    for one, another in zip(full, mixed, strict=True):
        assert torch.equal(one, another)


def test_a_classifier_that_ignores_its_block_says_the_prior_of_its_bias(blocks: LabelBlocks) -> None:
    """With a slope of zero nothing is tilted: q(z|x,y) is q(z|x), and log q(y|x) is that of the bias."""
    with torch.no_grad():
        blocks.weight.zero_()  # type: ignore[operator, union-attr]
        blocks.bias.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[operator, union-attr]
    shape = (200, *blocks.latents.shape)
    generator = torch.Generator().manual_seed(1)
    mu, noise = torch.randn(2, *shape, generator=generator)
    sigma = 0.5 + torch.rand(shape, generator=generator)
    uniform = torch.rand(shape[:2], generator=generator)
    mu, sigma = mu.requires_grad_(), sigma.requires_grad_()
    y = torch.ones(shape[:2])
    tilted = blocks(mu, sigma, y, noise, uniform)
    truth = torch.stack([q.log_prob(torch.ones(())) for q in blocks.classifier(torch.zeros(1, *shape[1:]))], -1)
    torch.testing.assert_close(tilted.log_q_y, truth.expand(200, -1), atol=1e-4, rtol=1e-4)
    assert tilted.noise.mean().abs() < 0.15
    assert (tilted.noise.std() - 1).abs() < 0.1
    total = tilted.log_q_y.sum() + tilted.log_ratio.sum() + tilted.noise.sum()
    gradients = torch.autograd.grad(total, [mu, sigma, *blocks.parameters()], allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    assert blocks.quantile(y[:1], 0.9).isfinite().all(), "no direction shows the label"


def test_the_surest_quantiles_of_priors_are_values() -> None:
    ends = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert binary().prior_quantile(ends).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert categorical(5, 4).prior_quantile(ends).tolist() == [[0.0, 0.0], [4.0, 4.0]]
    numbers = continuous().prior_quantile(ends)
    assert numbers.isfinite().all()
    torch.testing.assert_close(numbers[1], torch.tensor([10 + 2.5 * 4.75, 4.75]), rtol=0.01, atol=0)
    torch.testing.assert_close(numbers[0], torch.tensor([10 - 2.5 * 4.75, -4.75]), rtol=0.01, atol=0)


def test_chunks_of_rows_have_a_bounded_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes, labels, and classes or dimensions: as many rows as fit into the numbers that are allowed, one at least."""
    for classes, size in ((5, 4), (5, 9)):
        blocks = categorical(classes, size)
        assert isinstance(blocks, SampledBlocks)
        row = 16 * 2 * max(classes, size)  # numbers in a row's table of 16 nodes for two labels
        mu = torch.zeros(10, 2, size)
        monkeypatch.setattr(categorical_sampled, "NUMBERS_AT_ONCE", 3 * row)
        assert [part.stop - part.start for part in blocks.row_chunks(mu, 16)] == [3, 3, 3, 3]
        monkeypatch.setattr(categorical_sampled, "NUMBERS_AT_ONCE", 3 * row - 1)
        assert [part.stop - part.start for part in blocks.row_chunks(mu, 16)] == [2] * 5
        monkeypatch.setattr(categorical_sampled, "NUMBERS_AT_ONCE", 1)
        assert [part.stop - part.start for part in blocks.row_chunks(mu, 16)] == [1] * 10
        monkeypatch.setattr(categorical_sampled, "NUMBERS_AT_ONCE", 1 << 30)
        assert [part.start for part in blocks.row_chunks(mu, 16)] == [0]
        monkeypatch.setattr(categorical_sampled, "on_accelerator", lambda tensor: True)
        monkeypatch.setattr(categorical_sampled, "NUMBERS_ON_ACCELERATOR", 5 * row)
        assert [part.start for part in blocks.row_chunks(mu, 16)] == [0, 5]
        monkeypatch.undo()
