"""Encoders and decoders: shapes, sizes, one's own, and what is refused."""

import math

import pytest
import torch
from torch import nn

from ccvae.config import ModelConfig
from ccvae.model.networks.build import build_decoder, build_encoder

LATENT = 6
SIDES = [(16, 16), (17, 17), (23, 31), (28, 28), (31, 16), (32, 32), (33, 48), (45, 45), (64, 64), (65, 63), (96, 40),
         (100, 75), (127, 127), (128, 128), (178, 218), (255, 255), (256, 256), (16, 256)]  # fmt: skip
SMALL = {"latent_dim": LATENT, "width": 2}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def networks(shape, **settings):
    config = ModelConfig(**{**SMALL, **settings})
    sizes = (1, 1)  # of labels' blocks, for networks with parts for each
    return build_encoder(config, shape, sizes), build_decoder(config, shape, sizes)


def check_shapes(encoder, decoder, shape):
    for rows in (2, 3):
        x = torch.rand(rows, *shape)
        assert encoder(x).shape == (rows, 2 * LATENT)
        assert decoder(torch.randn(rows, LATENT)).shape == x.shape


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("network", ["conv", "resnet", "mlp", "auto"])
def test_images_of_every_size(network, sides):
    for channels in (1, 3):
        shape = (channels, *sides)
        check_shapes(*networks(shape, network=network), shape)


@pytest.mark.parametrize("side", range(16, 72))
def test_no_side_is_rounded(side):
    shape = (1, side, 87 - side)
    check_shapes(*networks(shape, width=1), shape)


@pytest.mark.parametrize(
    "sides", [(16, 16), (32, 32), (64, 64), (128, 128), (256, 256), (32, 48), (64, 128), (48, 48)], ids=str
)
def test_paper_networks(sides):
    shape = (3, *sides)
    check_shapes(*networks(shape, network="paper"), shape)


@pytest.mark.parametrize("features", [1, 2, 57])
@pytest.mark.parametrize("network", ["mlp", "auto"])
def test_vectors(network, features):
    check_shapes(*networks((features,), network=network), (features,))


def test_paper_networks_are_the_paper_s_at_64():
    """Four convolutions 32, 32, 64, 128 of 4×4, one 4×4 to 256, and a linear layer; the decoder mirrors them."""
    encoder, decoder = networks((3, 64, 64), network="paper", latent_dim=45)
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in encoder if isinstance(c, nn.Conv2d)] == [
        *[(3, 32, (4, 4)), (32, 32, (4, 4)), (32, 64, (4, 4)), (64, 128, (4, 4))],
        (128, 256, (4, 4)),
    ]
    assert parameters(encoder) == 16 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 32 + 32 + 64 + 128 + 256 + 257 * 90
    assert [(c.in_channels, c.out_channels) for c in decoder if isinstance(c, nn.ConvTranspose2d)] == [
        *[(256, 128), (128, 64), (64, 32), (32, 32), (32, 3)],
    ]


@pytest.mark.parametrize(
    ("shape", "network", "least", "most"),
    [
        ((3, 32, 32), "conv", 0.5e6, 2e6),
        ((3, 64, 64), "conv", 0.5e6, 2e6),
        ((3, 256, 256), "conv", 0.5e6, 3e6),
        ((3, 64, 64), "resnet", 1e6, 4e6),
        ((3, 64, 64), "paper", 0.5e6, 2e6),
        ((40,), "mlp", 0.5e5, 5e5),
    ],
)
def test_sizes_are_sane(shape, network, least, most):
    config = ModelConfig(network=network, latent_dim=45)
    encoder, decoder = build_encoder(config, shape), build_decoder(config, shape)
    for module in (encoder, decoder):
        assert least < parameters(module) < most
    wider = parameters(build_encoder(ModelConfig(network=network, latent_dim=45, width=64), shape))
    assert (wider > 1.5 * parameters(encoder)) != (network == "paper"), "width is that of our own networks"


def test_auto_is_attentive_for_images_and_mlp_for_vectors():
    for shape, name in (((3, 32, 32), "attentive"), ((12,), "mlp")):
        automatic, chosen = (build_encoder(ModelConfig(network=choice, **SMALL), shape, (1, 1)) for choice in ("auto", name))
        assert {key: value.shape for key, value in automatic.state_dict().items()} == {
            key: value.shape for key, value in chosen.state_dict().items()
        }


@pytest.mark.parametrize("network", ["conv", "resnet", "paper", "mlp"])
def test_dropout_acts_in_training_alone(network):
    x = torch.rand(4, 3, 32, 32)
    encoder, _ = networks(x.shape[1:], network=network, width=8, dropout=0.5)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


@pytest.mark.parametrize("network", ["conv", "resnet", "paper", "mlp"])
def test_rows_do_not_meet_in_evaluation(network):
    x = torch.rand(5, 3, 32, 32)
    for module, inputs in zip(networks(x.shape[1:], network=network, width=8), (x, torch.randn(5, LATENT)), strict=True):
        module.eval()
        assert torch.allclose(module(inputs)[2:3], module(inputs[2:3]), atol=1e-5)


@pytest.mark.parametrize("network", ["conv", "resnet", "paper", "mlp"])
def test_every_weight_learns(network):
    encoder, decoder = networks((3, 32, 32), network=network, width=4)
    decoder(encoder(torch.rand(8, 3, 32, 32))[:, :LATENT]).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for module in (encoder, decoder) for parameter in module.parameters())
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad.abs().sum() > 0, name


# ---------------------------------------------------------------------- one's own


class OwnEncoder(nn.Module):
    """An encoder of one's own, as a configuration names it."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), outputs)

    def forward(self, x):
        return self.layer(x.flatten(1))


class OwnDecoder(nn.Module):
    """A decoder of one's own."""

    def __init__(self, latent, shape):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(latent, math.prod(shape)), nn.Unflatten(1, shape))

    def forward(self, z):
        return self.layer(z)


def test_ones_own_networks_come_from_their_names():
    shape = (2, 5, 3)
    encoder, decoder = networks(shape, encoder=f"{__name__}:OwnEncoder", decoder=f"{__name__}:OwnDecoder")
    assert isinstance(encoder, OwnEncoder)
    assert isinstance(decoder, OwnDecoder)
    check_shapes(encoder, decoder, shape)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_package.module:Class", "No module named 'no_such_package'"),
        (f"{__name__}:NoSuchClass", "has no attribute 'NoSuchClass'"),
        (__name__, "has no attribute ''"),
        (":Class", "Empty module name"),
    ],
)
def test_networks_that_are_not_there(path, reason):
    with pytest.raises(ValueError, match=r'no network .*; write "package\.module:Class", importable from here') as error:
        networks((8,), encoder=path)
    assert path in str(error.value)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((3, 15, 32), {}, r"sides from 16 to 256, not 15×32; resize them"),
        ((3, 64, 257), {}, r"sides from 16 to 256, not 64×257; resize them"),
        ((64, 64), {}, r"inputs must be \(channels, height, width\) or \(features,\), not \(64, 64\)"),
        ((), {}, r"inputs must be \(channels, height, width\)"),
        ((20,), {"network": "conv"}, "network 'conv' is for images; for vectors of 20 features choose attentive or mlp"),
        ((20,), {"network": "paper"}, "network 'paper' is for images; for vectors of 20 features choose attentive or mlp"),
        ((3, 50, 50), {"network": "paper"}, "needs sides divisible by 16, not 50×50; choose conv"),
    ],
)
def test_shapes_that_do_not_fit(shape, settings, message):
    for build in (build_encoder, build_decoder):
        with pytest.raises(ValueError, match=message):
            build(ModelConfig(**{**SMALL, **settings}), shape)
