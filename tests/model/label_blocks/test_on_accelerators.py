"""Label blocks on an accelerator: all tensors stay there, and nothing waits for a value.

No accelerator is needed: torch's tensors on the device "meta" have a shape and no values, refuse to mix with those of the CPU,
and refuse to say a value.
"""

from contextlib import nullcontext

import pytest
import torch

from ccvae.distributions.normal_nodes import normal_nodes, shifted_nodes
from ccvae.labels import Binary, Categorical, Continuous
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks

ROWS, LABELS = 7, 2
MAKE = {
    "binary": lambda: BinaryBlocks([0, 1], [[0, 1], [2, 3]], [Binary("a"), Binary("b")]),
    "lattice": lambda: LatticeBlocks([0, 1], [[0, 1], [2, 3]], [Categorical(name, (0, 1, 2)) for name in "ab"]),
    "sampled": lambda: SampledBlocks([0, 1], [[0, 1, 2, 3], [4, 5, 6, 7]], [Categorical(n, tuple(range(5))) for n in "ab"]),
    "continuous": lambda: ContinuousBlocks([0, 1], [[0, 1], [2, 3]], [Continuous("a"), Continuous("b", 3, 2)]),
}


@pytest.fixture(params=MAKE)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LabelBlocks:
    """Blocks whose weights and buffers are not on the CPU."""
    monkeypatch.setattr(torch, "autocast", lambda device, **settings: nullcontext())  # there is none for this device
    made: LabelBlocks = MAKE[request.param]()
    return made.to("meta")


def there(*shape: int) -> torch.Tensor:
    """A tensor on the same device."""
    return torch.empty(shape, device="meta")


def stays(found: torch.Tensor, *shape: int) -> None:
    assert found.device.type == "meta"
    assert found.shape == shape


def test_every_term_of_the_bound_and_its_gradient(blocks: LabelBlocks) -> None:
    size = blocks.latents.shape[1]
    mu, sigma = there(ROWS, LABELS, size).requires_grad_(), there(ROWS, LABELS, size).requires_grad_()
    tilted = blocks(mu, sigma, there(ROWS, LABELS), there(ROWS, LABELS, size), there(ROWS, LABELS))
    stays(tilted.log_q_y, ROWS, LABELS)
    stays(tilted.log_ratio, ROWS, LABELS)
    stays(tilted.noise, ROWS, LABELS, size)
    total = tilted.log_q_y.sum() + tilted.log_ratio.sum() + tilted.noise.sum()
    for leaf, gradient in zip((mu, sigma), torch.autograd.grad(total, [mu, sigma]), strict=True):
        stays(gradient, *leaf.shape)


def test_predictions_priors_and_classifiers(blocks: LabelBlocks) -> None:
    size = blocks.latents.shape[1]
    z, y = there(ROWS, LABELS, size), there(ROWS, LABELS)
    predicted = blocks.predict(z, z)
    stays(predicted, ROWS, LABELS, predicted.shape[-1])
    prior = blocks.conditional_prior(y)
    stays(prior.loc, ROWS, LABELS, size)
    stays(prior.scale, ROWS, LABELS, size)
    stays(blocks.neutral(), LABELS, size)
    stays(blocks.log_classifier(z, y), ROWS, LABELS)
    stays(blocks.log_joint_ratio(z, y), ROWS, LABELS)
    stays(blocks.expected_joint_ratio(z, None), ROWS, LABELS)
    stays(blocks.prior_quantile(y), ROWS, LABELS)
    stays(blocks.quantile(y, 0.9), ROWS, LABELS, size)
    for distributions, shape in ((blocks.classifier(z), (ROWS,)), (blocks.label_prior(), ())):
        assert len(distributions) == LABELS
        for each in distributions:
            stays(each.mean, *shape)


def test_nodes_of_a_normal() -> None:
    stays(normal_nodes(there(5, 3)), 5, 3)
    stays(shifted_nodes(there(5, 3), there(ROWS, LABELS, 3)), 5, ROWS, LABELS, 3)


def test_such_tensors_refuse_to_mix_devices_and_to_wait() -> None:
    """Otherwise the tests above would say nothing."""
    with pytest.raises(RuntimeError, match="device"):
        there(3) + torch.ones(3)
    with pytest.raises(RuntimeError, match="item"):
        bool(there(3).isnan().all())
