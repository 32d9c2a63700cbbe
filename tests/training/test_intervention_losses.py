"""The terms that make edits do what they say: what they measure, who learns from them, and that they help."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from ccvae.config import ModelConfig
from ccvae.distributed.shard import Shard
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit
from ccvae.training.intervention_losses import elsewhere_kl, intervention_loss, with_input_gradient_only

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
