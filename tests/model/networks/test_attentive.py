"""Networks in which every label has parts of its own: attention, painting, and the two parts of an encoder."""

import pytest
import torch

from ccvae.config import ModelConfig
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.model.networks.build import build_decoder, build_encoder

SIDES = [(16, 16), (17, 31), (32, 32), (33, 48), (64, 64), (65, 63), (178, 218), (256, 256), (16, 256)]
SIZES = (2, 1, 3)
LATENT = 10


def networks(shape, sizes=SIZES, **settings):
    config = ModelConfig(**{"network": "attentive", "latent_dim": LATENT, "width": 4, **settings})
    return build_encoder(config, shape, sizes), build_decoder(config, shape, sizes)


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_size(sides, channels):
    encoder, decoder = networks((channels, *sides))
    x = torch.rand(2, channels, *sides)
    assert encoder(x).shape == (2, 2 * LATENT)
    assert decoder(torch.randn(2, LATENT)).shape == x.shape
    maps = encoder.labels.maps(x)
    assert maps.shape == (2, len(SIZES), *sides)
    assert torch.allclose(maps.sum((-2, -1)), torch.ones(2, len(SIZES)), atol=1e-5)
    assert maps.min() >= 0


@pytest.mark.parametrize("side", range(16, 72))
def test_no_side_is_rounded(side):
    shape = (1, side, 87 - side)
    encoder, decoder = networks(shape, width=2)
    assert decoder(encoder(torch.rand(2, *shape))[:, :LATENT]).shape == (2, *shape)


@pytest.mark.parametrize("shape", [(3, 32, 32), (5,)], ids=str)
@pytest.mark.parametrize("sizes", [SIZES, (3, 3), (1,), (LATENT,), (5, 5)], ids=str)
def test_parts_are_those_of_the_whole(shape, sizes):
    encoder, decoder = (network.eval() for network in networks(shape, sizes))
    x = torch.rand(3, *shape)
    whole, blocks, style = (encoder(x, part) for part in ("all", "labels", "style"))
    cut = sum(sizes)
    assert blocks.shape == (3, 2 * cut)
    assert style.shape == (3, 2 * (LATENT - cut))
    means, scales = whole.chunk(2, -1)
    assert torch.allclose(torch.cat([means[:, :cut], scales[:, :cut]], 1), blocks, atol=1e-6)
    assert torch.allclose(torch.cat([means[:, cut:], scales[:, cut:]], 1), style, atol=1e-6)
    assert decoder(means).shape == x.shape


def test_blocks_have_their_own_outputs():
    """Each label's block follows that label's weights, whatever the sizes."""
    encoder, _ = networks((3, 16, 16))
    encoder.eval()
    x, starts = torch.rand(2, 3, 16, 16), (0, 2, 3)
    before = encoder(x, "labels")
    for label, (start, size) in enumerate(zip(starts, SIZES, strict=True)):
        with torch.no_grad():
            encoder.labels.bias[label] += 1
        change = encoder(x, "labels") - before
        wanted = torch.zeros(2 * sum(SIZES))
        wanted[start : start + size] = 1
        wanted[sum(SIZES) + start : sum(SIZES) + start + size] = 1
        assert torch.allclose(change, wanted.expand(2, -1), atol=1e-5)
        with torch.no_grad():
            encoder.labels.bias[label] -= 1


def test_a_label_paints_its_own_maps():
    """Before they are mixed, a block changes nothing but its own label's maps."""
    _, decoder = networks((3, 16, 16))
    decoder.eval()
    seen = []
    decoder.painted_norm.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    z = torch.randn(2, LATENT)
    decoder(z)
    for label, start in enumerate((0, 2, 3)):
        changed = z.clone()
        changed[:, start] += 1
        decoder(changed)
        difference = (seen[-1] - seen[0]).abs().amax((0, 2, 3)).reshape(len(SIZES), -1).amax(1)
        assert [bool(moved > 1e-6) for moved in difference] == [place == label for place in range(len(SIZES))]


def test_dropout_acts_in_training_alone():
    encoder, _ = networks((3, 32, 32), dropout=0.5)
    x = torch.rand(4, 3, 32, 32)
    assert not torch.equal(encoder(x, "labels"), encoder(x, "labels"))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_attention_finds_the_place_of_a_label():
    """Trained to tell where squares are bright, each label looks at its own quarter of the image."""
    torch.manual_seed(0)
    space = LabelSpace((Binary("top left"), Binary("bottom right")))
    model = CCVAE(space, (1, 16, 16), ModelConfig(network="attentive", width=8, block_dim=1, dropout=0.0))
    optimizer = torch.optim.Adam(model.encoder.labels.parameters(), 3e-3)
    y = torch.randint(0, 2, (256, 2)).float()
    x = 0.3 * torch.rand(256, 1, 16, 16)
    x[:, 0, 2:6, 2:6] += 0.7 * y[:, :1, None]
    x[:, 0, 10:14, 10:14] += 0.7 * y[:, 1:, None]
    for _ in range(150):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model.read(x, "labels").loc, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    quarters = torch.nn.functional.avg_pool2d(model.attention(x).mean(0), 8).flatten(1)
    assert quarters.argmax(1).tolist() == [0, 3]


def test_attention_is_refused_where_there_is_none():
    space = LabelSpace((Binary("on"), Categorical("where", ("a", "b", "c")), Continuous("amount")))
    for shape, network in (((3, 16, 16), "conv"), ((7,), "attentive")):
        model = CCVAE(space, shape, ModelConfig(network=network, width=4))
        with pytest.raises(ValueError, match="train a model of images with network attentive"):
            model.attention(torch.rand(2, *shape))


def test_sizes_of_blocks_are_needed():
    with pytest.raises(ValueError, match="give the sizes of their blocks"):
        networks((3, 32, 32), sizes=())
