"""Where blocks lie in the latent vector, and which labels are computed together."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ccvae.config import ModelConfig
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.model.label_blocks.discrete import DiscreteBlocks
from ccvae.model.label_blocks.layout import block_slices, build_blocks

SPACE = LabelSpace(
    (
        *(Binary("a"), Categorical("b", (0, 1, 2)), Continuous("c", 3, 2), Binary("d", prior=0.2)),
        *(Categorical("e", (5, 6, 7)), Categorical("f", tuple(range(6)))),
    )
)


def sizes(**config):
    slices = block_slices(SPACE, ModelConfig(**config))
    assert [part.start for part in slices] == [0, *(part.stop for part in slices[:-1])], "one beside the other, from the first"
    return [part.stop - part.start for part in slices]


def test_blocks_have_the_size_that_is_asked_for_but_room_for_all_classes():
    assert sizes(block_dim=1, latent_dim=0) == [1, 2, 1, 1, 2, 5]
    assert sizes(block_dim=3, latent_dim=0) == [3, 3, 3, 3, 3, 5]
    assert sizes(block_dim={"a": 4, "f": 7, "e": 1}, latent_dim=0)[0] == 4
    assert sizes(block_dim={"a": 4, "f": 7, "e": 1}, latent_dim=0)[4:] == [2, 7]


def test_blocks_must_fit():
    assert sizes(block_dim=1, latent_dim=12) == [1, 2, 1, 1, 2, 5]
    with pytest.raises(ValueError, match=r"latent_dim: the blocks of 6 labels need 12 dimensions .*, found 11"):
        sizes(block_dim=1, latent_dim=11)
    with pytest.raises(ValueError, match="no label 'z'"):
        sizes(block_dim={"z": 1}, latent_dim=0)


def test_labels_of_one_kind_and_size_are_computed_together():
    blocks = build_blocks(SPACE, block_slices(SPACE, ModelConfig(block_dim=2, latent_dim=0)))
    assert [(type(block), block.columns.tolist()) for block in blocks] == [
        (BinaryBlocks, [0, 3]),
        (LatticeBlocks, [1, 4]),
        (ContinuousBlocks, [2]),
        (SampledBlocks, [5]),
    ]
    assert blocks[0].latents.tolist() == [[0, 1], [6, 7]]
    assert blocks[1].latents.tolist() == [[2, 3], [8, 9]]
    assert [prior.probs.item() for prior in blocks[0].label_prior()] == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_what_labels_determine_is_no_weight(size):
    """It is made again from labels.json: stored, it could contradict them."""
    for block in build_blocks(SPACE, block_slices(SPACE, ModelConfig(block_dim=size, latent_dim=0))):
        assert set(block.state_dict()) == {name for name, _ in block.named_parameters()}
        assert {name for name, _ in block.named_buffers()} >= {"columns", "latents"}


def test_divergence_from_a_value_is_that_of_torch():
    torch.manual_seed(0)
    for block in build_blocks(SPACE, block_slices(SPACE, ModelConfig(block_dim=2, latent_dim=0))):
        if not isinstance(block, DiscreteBlocks):
            continue
        assert torch.allclose(block.prior_scale, torch.ones(()), atol=0.01), "priors start with scale 1"
        with torch.no_grad():
            block.prior_raw_scale.normal_()
        mu, sigma = torch.randn(3, *block.latents.shape), torch.rand(3, *block.latents.shape) + 0.1
        prior = block.conditional_prior(torch.ones(len(block.columns)))
        expected = kl_divergence(Normal(mu, sigma), prior).sum(-1)
        torch.testing.assert_close(block.divergence(mu, sigma, 1), expected, rtol=1e-4, atol=1e-4)
