"""The terms that make edits do what they say: what they measure, who learns from them, and that they help."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from ccvae.config import ModelConfig
from ccvae.distributed.shard import Shard
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit
from ccvae.training.intervention_losses import (
    absent_redrawn,
    elsewhere_kl,
    intervention_loss,
    labels_alone,
    with_input_gradient_only,
)
from ccvae.training.losses import ObjectiveLoss

SPACE = LabelSpace(
    (Binary("hat", prior=0.3), Categorical("hair", ("black", "red", "white")), Binary("glasses"), Continuous("age"))
)
LATENTS = 10


class Written(nn.Module):
    """Decoder whose picture is the latent vector, turned."""

    def __init__(self, turn):
        super().__init__()
        self.turn = nn.Parameter(turn)

    def forward(self, z):
        return z @ self.turn


class Read(nn.Module):
    """Encoder that turns pictures back: means, and raw scales of no interest."""

    def __init__(self, turn):
        super().__init__()
        self.turn = nn.Parameter(turn)

    def forward(self, x):
        return torch.cat([x @ self.turn.T, torch.zeros_like(x)], -1)


def readable(error=0.0):
    """A model whose encoder reads exactly what its decoder shows; or not quite."""
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(LATENTS, LATENTS, dtype=torch.float64))[0]
    config = ModelConfig(latent_dim=LATENTS, likelihood="normal")
    return CCVAE(SPACE, (LATENTS,), config, Read(turn + error), Written(turn)).double()


def posterior(rows=200):
    generator = torch.Generator().manual_seed(1)
    mu = torch.randn(rows, LATENTS, generator=generator, dtype=torch.float64)
    return Normal(mu, 0.1 + torch.rand(rows, LATENTS, generator=generator, dtype=torch.float64))


def test_perfect_reader_misreads_nothing():
    assert intervention_loss(readable(), posterior()).abs().max() < 1e-20
    assert intervention_loss(readable(error=0.3), posterior()).mean() > 0.1


def test_a_decoder_that_ignores_a_block_is_misread_where_it_was_changed():
    deaf = readable()
    with torch.no_grad():
        deaf.decoder.turn[:2] = 0  # the hat's block
    wrong = intervention_loss(deaf, posterior(2000), torch.Generator().manual_seed(0))
    right = intervention_loss(readable(), posterior(2000), torch.Generator().manual_seed(0))
    assert right.max() < 1e-20
    # what is left of a hat is z = 0, which no image shows: read amiss whether or not it was changed, but more if so
    assert wrong.min() > 0
    assert wrong.quantile(0.9) > 3 * wrong.quantile(0.1)


def test_only_the_decoder_learns():
    model = readable(error=0.3)
    q = posterior()
    q.loc.requires_grad_()
    intervention_loss(model, q).sum().backward()
    assert model.decoder.turn.grad.abs().max() > 0
    assert model.encoder.turn.grad is None
    assert q.loc.grad is None
    assert all(parameter.grad is None for parameter in model.blocks.parameters())


def test_reading_leaves_the_encoders_running_statistics_alone():
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(width=4)).train()
    q = model.posterior(torch.rand(8, 3, 16, 16))
    before = {name: buffer.clone() for name, buffer in model.encoder.named_buffers()}
    intervention_loss(model, q)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.encoder.named_buffers())
    assert model.encoder.training


def test_processes_share_what_one_would_draw():
    model, q = readable(error=0.3), posterior(7)
    whole = intervention_loss(model, q, torch.Generator().manual_seed(3), Shard(7))
    for rank in range(2):
        shard = Shard(7, rank, 2)
        part = Normal(q.loc[shard.rows], q.scale[shard.rows])
        torch.testing.assert_close(intervention_loss(model, part, torch.Generator().manual_seed(3), shard), whole[shard.rows])


def test_elsewhere_kl_is_that_of_the_style_and_of_absent_labels():
    model, q = readable(), posterior(3)
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    y = torch.tensor([[0.0, 2.0, 1.0, 0.3], [1.0, 0.0, 1.0, 0.0], [torch.nan] * 4], dtype=torch.float64)
    style = slice(model.style.start, None)
    prior = model.conditional_prior(torch.zeros(3, 4, dtype=torch.float64))

    def divergence(where):
        return kl_divergence(
            Normal(q.loc[:, where], q.scale[:, where]), Normal(prior.loc[:, where], prior.scale[:, where])
        ).sum(-1)

    absent = {"hat": torch.tensor([1.0, 0.0, 0.0]).double(), "glasses": torch.zeros(3).double()}
    (block,) = [each for each in model.label_blocks() if len(each.columns) == 2]
    says = block.predict(q.loc[:, block.latents], q.scale[:, block.latents])[2, :, 0]
    absent["hat"][2], absent["glasses"][2] = says
    expected = divergence(style)
    for name, shard in absent.items():
        expected = expected + shard * divergence(model.block_slices[SPACE.index(name)])
    torch.testing.assert_close(elsewhere_kl(model, q, y), expected)


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_training_with_and_without_them(data, estimator):
    """They change what is learned; and the paper's estimator goes without, unless told."""
    weights = {}
    for weight in (None, 0.0, 5.0):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, latent_dim=8, width=4)
        fit(model, data, epochs=1, progress=False, learning_rate=1e-3, estimator=estimator, intervention_weight=weight)
        weights[weight] = torch.cat([parameter.detach().flatten() for parameter in model.decoder.parameters()])
    assert not torch.equal(weights[0.0], weights[5.0])
    assert torch.equal(weights[None], weights[0.0]) == (estimator == "paper")


def test_interventions_are_rehearsed(data):
    """The decoder shows an intervention better for it, as the model's own classifier sees it on test rows."""
    read = {}
    for weight in (0.0, None):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, latent_dim=12, width=8, likelihood="normal", dropout=0.0)
        fit(model, data, epochs=24, batch_size=20, progress=False, intervention_weight=weight, classification_weight=50.0)
        q = model.encode(data.tensor(data.splits["test"]))
        with torch.no_grad():
            read[weight] = intervention_loss(model.eval(), q, torch.Generator().manual_seed(0)).mean()
    assert read[None] < 0.8 * read[0.0]


def test_elsewhere_weight_moves_information_out_of_the_style(data):
    nats = {}
    for weight in (1.0, 20.0):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, latent_dim=12, width=8, likelihood="normal", dropout=0.0)
        fit(model, data, epochs=6, batch_size=20, progress=False, elsewhere_weight=weight)
        result = model.bound(data.tensor(data.splits["test"]), torch.tensor(data.labels[data.splits["test"]]))
        nats[weight] = -result.style.mean()
    assert nats[20.0] < 0.7 * nats[1.0]


def test_owner_tells_whose_a_latent_is():
    model = readable()
    for column, block in enumerate(model.block_slices):
        assert (model.owner[block] == column).all()
    assert (model.owner[model.style] == len(SPACE)).all()


def test_posterior_comes_with_the_bound(data):
    model = CCVAE.for_data(data, latent_dim=8, width=4).eval()
    rows = data.splits["test"]
    for estimator in ("exact", "paper"):
        result = model.bound(data.tensor(rows), torch.tensor(data.labels[rows]), estimator)
        torch.testing.assert_close(result.posterior.loc, model.encode(data.tensor(rows)).loc, atol=1e-5, rtol=1e-5)


def test_only_inputs_learn_from_what_is_taken_with_input_gradient_only():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    x = torch.randn(5, 4, requires_grad=True)

    def function(given):
        return network(given).square().sum(1)

    alone = with_input_gradient_only(function, x)
    torch.testing.assert_close(alone, function(x))
    weights = torch.arange(1.0, 6.0)
    expected = torch.autograd.grad((weights * function(x)).sum(), x)[0]
    found = torch.autograd.grad((weights * alone).sum(), [x, *network.parameters()], allow_unused=True)
    torch.testing.assert_close(found[0], expected)
    assert found[1:] == (None,) * 4
    with torch.no_grad():
        torch.testing.assert_close(with_input_gradient_only(function, x), alone)


def test_blocks_of_absent_labels_are_redrawn_from_their_prior():
    model, rows = readable(), 4000
    z = torch.zeros(rows, LATENTS, dtype=torch.float64, requires_grad=True)
    nan = torch.nan
    y = torch.tensor([[0.0, 1.0, 1.0, 0.3], [nan, 0.0, 0.0, nan]], dtype=torch.float64).repeat(rows // 2, 1)
    blocks = dict(zip(SPACE.names, model.block_slices, strict=True))
    with absent_redrawn(model, y, 0.25, torch.Generator().manual_seed(0)):
        shown = model.shown_instead(z)
    assert model.shown_instead is None
    moved = (shown != 0).detach()
    hat, glasses = moved[:, blocks["hat"]], moved[:, blocks["glasses"]]
    for redrawn in (hat[::2], glasses[1::2]):
        assert (redrawn.all(1) == redrawn.any(1)).all(), "whole blocks"
        assert redrawn[:, 0].double().mean() == pytest.approx(0.25, abs=0.03)
    assert not hat[1::2].any(), "nothing is known of a missing label"
    assert not glasses[::2].any(), "a label that is present keeps its block"
    others = [blocks["hair"], blocks["age"], model.style]
    assert not any(moved[:, where].any() for where in others), "other kinds are never absent"
    [binary] = [block for block in model.label_blocks() if block.columns.tolist() == [0, 2]]
    prior = binary.conditional_prior(torch.zeros(1, 2, dtype=torch.float64))
    drawn = shown[::2][hat[::2].all(1)][:, blocks["hat"]].detach()
    assert torch.allclose(drawn.mean(0), prior.loc[0, 0], atol=0.2)
    assert torch.allclose(drawn.std(0), prior.scale[0, 0], rtol=0.15)
    shown.sum().backward()
    assert torch.equal(z.grad, (~moved).double()), "what is redrawn teaches nobody"
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("context", [partial(absent_redrawn, share=0.5), labels_alone])
def test_all_of_a_batch_and_its_shard_are_redrawn_alike(context):
    model = readable()
    y = torch.zeros(9, 4, dtype=torch.float64)
    whole, part = torch.zeros(9, LATENTS, dtype=torch.float64), torch.zeros(4, LATENTS, dtype=torch.float64)
    shown = []
    for z, labels, shard in ((whole, y, Shard(9)), (part, y[1::2], Shard(9, 1, 2))):
        with context(model, labels, generator=torch.Generator().manual_seed(3), shard=shard):
            shown.append(model.shown_instead(z))
    assert torch.equal(shown[0][1::2], shown[1])
    assert shown[1].any()


def test_labels_alone_are_shown_without_style():
    model, rows = readable(), 4000
    z = torch.full((rows, LATENTS), 9.0, dtype=torch.float64, requires_grad=True)
    nan = torch.nan
    y = torch.tensor([[0.0, 2.0, 0.9, 0.3], [nan, nan, nan, nan]], dtype=torch.float64).repeat(rows // 2, 1)
    with labels_alone(model, y, torch.Generator().manual_seed(0)):
        shown = model.shown_instead(z)
    assert model.shown_instead is None
    style = shown[:, model.style].detach()
    assert torch.allclose(style.mean(0), torch.zeros(style.shape[1], dtype=torch.float64), atol=0.1)
    assert torch.allclose(style.std(0), torch.ones(style.shape[1], dtype=torch.float64), atol=0.1)
    known, missing = shown[::2, : model.style.start].detach(), shown[1::2, : model.style.start].detach()
    assert (missing == 9).all(), "nothing is known of a missing label"
    prior = model.conditional_prior(torch.tensor([[0.0, 2.0, 1.0, 0.3]], dtype=torch.float64))
    assert torch.allclose(known.mean(0), prior.loc[0, : model.style.start], atol=0.2)
    assert torch.allclose(known.std(0), prior.scale[0, : model.style.start], rtol=0.15)
    shown.sum().backward()
    assert not z.grad[:, model.style].any(), "what is redrawn teaches nobody"
    assert not z.grad[::2].any()
    assert (z.grad[1::2, : model.style.start] == 1).all()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "times"), [({"neutral_style": True}, [0, 1]), ({"neutral_style": False}, []), ({"estimator": "paper"}, [])]
)
def test_trainings_with_neutralised_inputs_begin_with_labels_alone(data, monkeypatch, settings, times):
    settings = dict(settings)
    neutral = settings.pop("neutral_style", False)
    model = CCVAE.for_data(data, network="mlp", latent_dim=10, width=2, neutral_style=neutral)
    seen, step = [], []

    def watched(*arguments):
        seen.append(step[-1])
        return labels_alone(*arguments)

    def counted(self, model, x, y, at):
        step.append(at.number)
        return training_loss(self, model, x, y, at)

    training_loss = ObjectiveLoss.training_loss
    monkeypatch.setattr(ObjectiveLoss, "training_loss", counted)
    monkeypatch.setattr("ccvae.training.losses.labels_alone", watched)
    fit(model, data, epochs=8, batch_size=50, labelled_share=None, progress=False, accelerator="cpu", **settings)
    assert len(step) == 24
    assert seen == times


@pytest.mark.parametrize(("settings", "times"), [({}, 6), ({"redrawn_share": 0.0}, 0), ({"estimator": "paper"}, 0)])
def test_training_redraws_by_default(data, monkeypatch, settings, times):
    seen = []

    def watched(*arguments):
        seen.append(arguments[2])
        return absent_redrawn(*arguments)

    monkeypatch.setattr("ccvae.training.losses.absent_redrawn", watched)
    model = CCVAE.for_data(data, network="mlp", latent_dim=10, width=2)
    fit(model, data, epochs=2, batch_size=50, labelled_share=None, progress=False, accelerator="cpu", **settings)
    assert seen == [0.5] * times
