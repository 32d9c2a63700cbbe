"""The style read from the input with all labels neutralised: what it sees, what it costs, and who learns from it."""

import pytest
import torch
import yaml
from torch import nn
from torch.distributions import Normal

from brute_force import KINDS, missing_patterns, posterior, tiny_model
from ccvae.config import ModelConfig
from ccvae.data import avatars
from ccvae.distributed.shard import Shard
from ccvae.labels import Binary, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE, load
from ccvae.model.latent_distributions import reading_once
from ccvae.training.fit import fit
from ccvae.training.intervention_losses import style_consistency
from ccvae.training.losses import Step, read_once

SPACE = LabelSpace((KINDS["binary"], KINDS["categorical"], KINDS["continuous"]))


class Concatenated(nn.Module):
    """Decoder whose output is the latent vector, for an encoder that reads it back."""

    def forward(self, z):
        return z


class Copied(nn.Module):
    """Encoder whose means are its input."""

    def forward(self, x):
        return torch.cat([x, torch.zeros_like(x)], -1)


def copying(latents=6):
    """A model without loss between inputs and latents."""
    config = ModelConfig(latent_dim=latents, block_dim=1, likelihood="normal", neutral_style=True)
    return CCVAE(SPACE, (latents,), config, Copied(), Concatenated())


@pytest.mark.parametrize("kinds", [("binary", "other"), ("categorical", "binary"), ("continuous",)])
def test_posterior_is_what_the_definition_says(kinds):
    torch.set_default_dtype(torch.float64)
    try:
        model = tiny_model(kinds, seed=3, neutral_style=True).eval()
        x = torch.tensor(0.7)
        with torch.no_grad():
            found, (mu, sigma) = model.posterior(x.reshape(1, 1)), posterior(model, x)
        assert torch.allclose(found.loc[0], mu, atol=1e-12)
        assert torch.allclose(found.scale[0], sigma, atol=1e-12)
        assert not torch.allclose(found.loc[0, model.style], model.read(x.reshape(1, 1)).loc[0, model.style])
    finally:
        torch.set_default_dtype(torch.float32)


def test_neutral_blocks_of_every_kind():
    model = tiny_model(("binary", "categorical", "continuous"), block_dim=2)
    neutral = [block.neutral()[0] for block in sorted(model.label_blocks(), key=lambda block: int(block.columns[0]))]
    binary, categorical, continuous = sorted(model.label_blocks(), key=lambda block: int(block.columns[0]))
    assert torch.equal(neutral[0], binary.prior_loc[0, 0])
    shares = torch.tensor(KINDS["categorical"].prior, dtype=torch.float64)
    assert torch.allclose(neutral[1], (shares[:, None] * categorical.prior_loc[0]).sum(0))
    at_mean = continuous.conditional_prior(torch.tensor([[KINDS["continuous"].mean]], dtype=torch.float64)).loc[0, 0]
    assert torch.allclose(neutral[2], at_mean)


def test_style_sees_nothing_of_what_blocks_hold():
    model = copying()
    x = torch.randn(5, 6)
    other = x.clone()
    other[:, : model.style.start] += 1
    first, second = model.encode(x), model.encode(other)
    assert torch.equal(first.loc[:, model.style], second.loc[:, model.style])
    assert torch.equal(first.loc[:, model.style], x[:, model.style])
    assert not torch.equal(first.loc[:, : model.style.start], second.loc[:, : model.style.start])


def test_bound_s_rows_do_not_meet():
    torch.manual_seed(0)  # blocks of 2, whose terms are integrated without random nodes
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network="attentive", block_dim=2, width=4)).double().eval()
    y, x = missing_patterns(model), torch.rand(8, 3, 16, 16, dtype=torch.float64)
    together, alone = bound(model, x, y), bound(model, x[2:3], y[2:3])
    for name in ("labels", "style", "classification"):
        assert torch.allclose(getattr(together, name)[2:3], getattr(alone, name), atol=1e-9)


def test_predictions_need_the_first_pass_only(monkeypatch):
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network="attentive", width=4)).eval()
    x = torch.rand(4, 3, 16, 16)
    wanted = model.proba_of(model.encode(x))
    monkeypatch.setattr(model, "neutralised", None)
    monkeypatch.setattr(model.encoder, "style", None)
    assert (model.predict_proba(x) - wanted).abs().to_numpy().max() < 1e-6


@pytest.mark.parametrize(("network", "two"), [("attentive", True), ("conv", False), ("auto", True)])
def test_by_default_attentive_networks_have_it(network, two):
    assert CCVAE(SPACE, (3, 16, 16), ModelConfig(network=network, width=4)).neutral_style is two
    assert CCVAE(SPACE, (3, 16, 16), ModelConfig(network=network, width=4, neutral_style=not two)).neutral_style is not two


def test_runs_saved_before_read_once(tmp_path):
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network="conv", width=4)).eval()
    model.save(tmp_path)
    config = tmp_path / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["model"]["neutral_style"]
    settings["model"]["network"] = "auto"
    config.write_text(yaml.safe_dump(settings))
    loaded, x = load(tmp_path), torch.rand(3, 3, 16, 16)
    assert loaded.neutral_style is False
    assert torch.equal(loaded.encode(x).loc, model.encode(x).loc)


def test_any_encoder_can_read_twice():
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network="conv", width=4, neutral_style=True)).eval()
    x = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        first, second = model.passes(x)
        again = model.read(model.neutralised(x, first.loc))
    assert torch.equal(second.loc[:, : model.style.start], first.loc[:, : model.style.start])
    assert torch.allclose(second.loc[:, model.style], again.loc[:, model.style])
    assert torch.allclose(second.scale[:, model.style], again.scale[:, model.style])


class Painted(nn.Module):
    """Decoder that paints the two blocks as columns of pixels, and the style nowhere."""

    def forward(self, z):
        image = torch.zeros(len(z), 1, 16, 16)
        image[:, 0, :, 2], image[:, 0, :, 9] = z[:, :1], z[:, 1:2]
        return image.logit(1e-9)  # the likelihood's mean is its sigmoid


def test_pixels_that_labels_do_not_change_stay_as_they_are():
    space = LabelSpace((Binary("first"), Binary("second")))
    config = ModelConfig(latent_dim=3, block_dim=1, likelihood="normal", neutral_style=True)
    model = CCVAE(space, (1, 16, 16), config, nn.Linear(1, 1), Painted()).eval()
    [blocks] = model.label_blocks()
    with torch.no_grad():
        blocks.prior_loc.copy_(torch.tensor([[[0.2], [0.9]], [[0.1], [0.8]]]))
    x = torch.rand(2, 1, 16, 16)
    neutral = model.neutralised(x, torch.tensor([[0.9, 0.1, 5.0], [0.2, 0.13, -3.0]]))
    expected = x.clone()
    expected[0, :, :, 1:4] = 0  # the first label's column, and a margin of one pixel
    expected[0, :, :, 2] = 0.2
    expected[1, :, :, 8:11] *= 0.7  # a change of 0.03 counts for 30 %
    expected[1, :, :, 9] = 0.7 * x[1, :, :, 9] + 0.3 * 0.1
    assert torch.allclose(neutral, expected, atol=1e-6)


def test_single_rows_can_be_read_once():
    model = copying()
    x = torch.randn(4, 6)
    once, twice = model.encode(x + 1), model.encode(x)
    rows = torch.tensor([True, False, True, False])
    model.likelihood_of.mean = lambda decoded: decoded + 1  # what the second pass sees differs
    with reading_once(model, rows):
        first, mixed = model.passes(x)
    assert model.rows_read_once is None
    assert torch.equal(mixed.loc[rows], first.loc[rows])
    assert torch.equal(mixed.loc[~rows][:, model.style], once.loc[~rows][:, model.style])
    assert torch.equal(mixed.loc[:, : model.style.start], twice.loc[:, : model.style.start])
    with reading_once(model, ~rows & rows):
        assert torch.equal(model.passes(x)[1].loc, model.posterior(x).loc)
    with reading_once(model, rows | True):
        first, same = model.passes(x)
    assert first is same


def test_ever_fewer_rows_are_read_once():
    generator = torch.Generator().manual_seed(0)
    shares = [
        read_once(Step(number, 1000, generator, Shard(5000)), torch.zeros(5000)).double().mean()
        for number in (0, 49, 50, 300, 499, 999)
    ]
    assert shares[:2] == [1, 1]
    assert shares[2] == pytest.approx(0.5 * (1 - 5 / 50), abs=0.03)
    assert shares[3] == pytest.approx(0.5 * (1 - 30 / 50), abs=0.03)
    assert shares[4] < 0.01
    assert shares[5] == 0
    whole, part = (
        read_once(Step(200, 1000, torch.Generator().manual_seed(1), shard), torch.zeros(9))
        for shard in (Shard(9), Shard(9, 1, 2))
    )
    assert torch.equal(whole[1::2], part)


def test_a_model_without_a_style_reads_once():
    space = LabelSpace((Binary("only"),))
    model = CCVAE(space, (3, 16, 16), ModelConfig(network="attentive", latent_dim=2, block_dim=2, width=4)).eval()
    first, second = model.passes(torch.rand(2, 3, 16, 16))
    assert first is second
    assert model.reconstruct(torch.rand(2, 3, 16, 16)).shape == (2, 3, 16, 16)


def test_every_weight_learns_and_statistics_are_those_of_data():
    torch.manual_seed(0)
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network="attentive", width=4)).train()
    x, y = torch.rand(8, 3, 16, 16), missing_patterns(model).float()
    result = bound(model, x, y)
    (-result.total.mean() + style_consistency(model, result.first_pass, result.posterior).mean()).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not still
    assert all(int(buffer) == 1 for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked"))


def test_distance_style_consistency():
    model = copying()
    loc = torch.randn(5, 6)
    posterior = Normal(loc, torch.full((5, 6), 0.1))
    assert style_consistency(model, posterior, posterior).abs().max() == 0
    moved = loc.clone().requires_grad_()
    moved_by = moved.clone()
    moved_by[:, model.style] = moved_by[:, model.style] + 3.0
    found = style_consistency(model, Normal(moved_by, posterior.scale), posterior)
    styles = model.style.stop - model.style.start
    assert torch.allclose(found, torch.full((5,), styles * (3.0 / 0.3 - 0.5)))
    found.sum().backward()
    assert moved.grad[:, : model.style.start].abs().max() == 0
    assert moved.grad[:, model.style].abs().min() > 0


def test_at_first_training_reads_once(monkeypatch):
    """What tells the passes apart is from 5 % of the steps on."""
    seen = []

    def watched(model, first, posterior):
        seen.append(first is not posterior)
        return style_consistency(model, first, posterior)

    monkeypatch.setattr("ccvae.training.losses.style_consistency", watched)
    data = avatars(400, size=16, seed=0, validation=20, test=20)
    model = CCVAE.for_data(data, network="attentive", width=2)
    fit(model, data, epochs=2, batch_size=30, progress=False, accelerator="cpu")
    assert seen == [True] * (24 - 2)
    assert model.neutral_style
