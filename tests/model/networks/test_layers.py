"""Layers in faster forms give what torch's own give: outputs, gradients, names and initial weights."""

import pytest
import torch
from torch import nn

from ccvae.config import ModelConfig
from ccvae.model.networks.build import build_decoder, build_encoder
from ccvae.model.networks.layers import CoveringConv2d, DoublingConvTranspose2d, SpreadingConvTranspose2d, torch_layers

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
LAYERS = {
    "covering": (lambda: CoveringConv2d(8, 6, (4, 3)), (8, 4, 3)),
    "covering, no bias": (lambda: CoveringConv2d(8, 6, (4, 4), bias=False), (8, 4, 4)),
    "spreading": (lambda: SpreadingConvTranspose2d(6, 8, (4, 3)), (6, 1, 1)),
    "spreading, no bias": (lambda: SpreadingConvTranspose2d(6, 8, (4, 4), bias=False), (6, 1, 1)),
    "doubling to an image": (lambda: DoublingConvTranspose2d(8, 3), (8, 5, 4)),
    "doubling to grey, no bias": (lambda: DoublingConvTranspose2d(8, 1, bias=False), (8, 4, 6)),
    "doubling": (lambda: DoublingConvTranspose2d(8, 16), (8, 4, 5)),
}


def outcome(module, x):
    """Output and all gradients of some function of it."""
    leaf = x.clone().requires_grad_()
    output = module(leaf)
    target = torch.linspace(-1, 1, output.numel(), dtype=x.dtype).view(output.shape)
    return [output, *torch.autograd.grad(((output - target) ** 2).mean(), [leaf, *module.parameters()])]


def check_same(module, x):
    found = outcome(module, x)
    with torch_layers():
        expected = outcome(module, x)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=0, atol=TOLERANCES[x.dtype])


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_give_what_torch_s_give(name, dtype, memory):
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer = build().to(dtype=dtype, memory_format=memory)
    for rows in (1, 7):
        check_same(layer, torch.randn(rows, *shape, dtype=dtype).to(memory_format=memory))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("network", ["conv", "paper"])
def test_networks_give_what_torch_s_layers_give(network, dtype):
    torch.manual_seed(0)
    config = ModelConfig(network=network, latent_dim=6, width=8, dropout=0.0)
    for build, shape in ((build_encoder, (3, 32, 32)), (build_decoder, (6,))):
        module = build(config, (3, 32, 32)).to(dtype=dtype, memory_format=torch.channels_last)
        check_same(module, torch.rand(9, *shape, dtype=dtype))


@pytest.mark.parametrize(
    ("ours", "torch_s"),
    [
        (CoveringConv2d(8, 6, (4, 3)), nn.Conv2d(8, 6, (4, 3))),
        (SpreadingConvTranspose2d(6, 8, (4, 3)), nn.ConvTranspose2d(6, 8, (4, 3))),
        (DoublingConvTranspose2d(8, 3), nn.ConvTranspose2d(8, 3, 4, 2, 1)),
    ],
)
def test_weights_are_those_of_torch_s_layers(ours, torch_s):
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in torch_s.state_dict().items()
    }
    ours.load_state_dict(torch_s.state_dict())


def test_the_switch_ends_with_its_block():
    layer, x = DoublingConvTranspose2d(4, 3), torch.randn(2, 4, 4, 4)
    with torch_layers():
        assert layer(x).grad_fn.name().startswith("Convolution")
    assert "Doubling" in layer(x).grad_fn.name()


def test_in_mixed_precision_torch_computes():
    layer, x = DoublingConvTranspose2d(4, 3), torch.randn(2, 4, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        layer(x).float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
