"""Models whose conditional priors are mixtures: their bound against brute force, what is done with draws, files, and a toy."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ccvae
from brute_force import dense_bound, dense_log_evidence, expected_reconstruction, missing_patterns, tiny_model
from ccvae.cli.main import main
from ccvae.data.dataset import Dataset
from ccvae.data.splits import split_rows
from ccvae.distributed.shard import Shard
from ccvae.evaluation.metrics.latent_usage import prior_variance
from ccvae.evaluation.metrics.likelihood import log_evidence, log_prior
from ccvae.evaluation.metrics.self_consistency import self_consistency
from ccvae.model.bound import bound
from ccvae.model.card import model_card
from ccvae.training.fit import fit
from ccvae.training.intervention_losses import absent_redrawn, intervention_loss, labels_alone
from ccvae.training.optimizer import build_optimizer, decayed_parameters

NAN = math.nan
SPACE = ccvae.LabelSpace(
    (ccvae.Binary("hat", prior=0.3), ccvae.Categorical("hair", ("black", "red", "white")), ccvae.Continuous("age", 3.0, 2.0))
)


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(components=3, space=SPACE, features=7, seed=0):
    """A small untrained model of vectors whose components have weights, means and scales of their own."""
    torch.manual_seed(seed)
    model = ccvae.CCVAE(space, (features,), ccvae.ModelConfig(width=4, prior_components=components)).eval()
    with torch.no_grad():
        for block in model.label_blocks():
            for parameter in block.parameters():
                parameter += 0.5 * torch.randn_like(parameter)
    return model


def with_modes(model, modes=((6.0, 6.0), (6.0, -6.0)), value=1):
    """The model with two narrow components for one value of its first binary label, of weights 0.25 and 0.75."""
    block = model.blocks[0]
    with torch.no_grad():
        block.prior_raw_scale[:, value] = -8.0
        block.prior_loc[:, value] = torch.tensor(modes)
        block.prior_logits[:, value] = torch.tensor([0.25, 0.75]).log()
    return model


# ---------------------------------------------------------------------- the bound

MODELS = [
    (("binary",), 2, 0),
    (("binary", "other"), 1, 0),
    (("binary", "pair"), 1, 0),
    (("binary",), 1, 1),
    (("categorical",), 2, 0),
]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("kinds", "block_dim", "style"), MODELS)
@settings(max_examples=20)
@given(
    seed=st.integers(0, 3),
    mask=st.lists(st.booleans(), min_size=2, max_size=2),
    x=st.floats(-2, 2),
    components=st.integers(2, 4),
)
def test_bound_is_below_log_evidence_for_every_pattern(kinds, block_dim, style, seed, mask, x, components):
    model = tiny_model(kinds, block_dim, style, seed, spread=0.5, prior_components=components)
    patterns = missing_patterns(model, seed)
    y = patterns[-1].masked_fill(torch.tensor(mask[: len(kinds)]), NAN)
    x = torch.tensor(x)
    with torch.no_grad():
        ours = bound(model, x.reshape(1, 1), y[None])
        total = expected_reconstruction(model, x, y, 101) + (ours.labels + ours.style + ours.classification)[0]
        with_log_mixture = dense_bound(model, x, y, 101)
        assert total <= with_log_mixture + 1e-6, "E[log p(z|y)] is replaced by what is no larger"
        assert with_log_mixture <= dense_log_evidence(model, x, y, 241) + 1e-5
        assert total > with_log_mixture - 3, "and is not far from it"


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_every_parameter_receives_a_finite_gradient(estimator):
    model = tiny_model(("binary", "categorical", "continuous"), 2, seed=8, prior_components=3)
    for y in (missing_patterns(model), missing_patterns(model)[:1], missing_patterns(model)[-1:]):
        model.zero_grad()
        bound(model, torch.full((len(y), 1), 0.5), y, estimator).total.mean().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad.isfinite().all(), name
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


@pytest.mark.usefixtures("_float64")
def test_the_papers_estimator_has_the_log_density_itself():
    model = tiny_model(("binary", "pair"), 1, 0, seed=2, spread=0.3, prior_components=2)
    x = torch.tensor(0.2)
    for y in missing_patterns(model, 10)[1:]:
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.cat([bound(model, x.expand(2_000, 1), y.expand(2_000, -1), "paper").total for _ in range(20)])
            error = (draws.mean() - dense_bound(model, x, y, 101)).abs()
        assert error < 4 * draws.std() / math.sqrt(len(draws)) + 0.03, y


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("kinds", "block_dim"), [(("binary", "other"), 1), (("binary",), 2), (("categorical",), 2)])
def test_importance_weighted_evidence_has_the_true_density(kinds, block_dim):
    model = tiny_model(kinds, block_dim, seed=3, spread=0.5, prior_components=3)
    with torch.no_grad():
        model.encoder.affine.bias[model.config.latent_dim :] += 3.0  # wide enough to cover z
        x = torch.tensor([[0.4]])
        exact = dense_log_evidence(model, x[0, 0], torch.full((len(kinds),), NAN), 81)
        assert log_evidence(model, x, samples=20_000)[0].item() == pytest.approx(exact.item(), abs=0.04)
        z = 6 * torch.randn(200_000, model.config.latent_dim, generator=torch.Generator().manual_seed(0))
        ratio = (log_prior(model, z).sum(-1) - torch.distributions.Normal(0.0, 6.0).log_prob(z).sum(-1)).exp()
        assert ratio.mean().item() == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(len(z)) + 1e-3)


# ---------------------------------------------------------------------- draws

TWO = ccvae.LabelSpace((ccvae.Binary("hat"), ccvae.Binary("glasses", prior=0.2)))


class Copied(nn.Module):
    """Decoder that shows the latents themselves, and remembers them."""

    def forward(self, z):
        self.seen = z
        return z


def transparent(modes=((6.0, 6.0), (6.0, -6.0)), value=1):
    """A model whose outputs are its latents, and whose encoder reads zeros."""
    torch.manual_seed(0)
    config = ccvae.ModelConfig(latent_dim=6, block_dim=2, likelihood="normal", prior_components=2)
    model = ccvae.CCVAE(TWO, (6,), config, Silent(), Copied()).eval()
    return with_modes(model, modes, value)


class Silent(nn.Module):
    """Encoder of means as they are given, and of small scales."""

    def forward(self, x):
        return torch.cat([x, torch.full_like(x, -4.0)], -1)


def shares(drawn):
    """Fraction of blocks at the second mode; all of them must be at one or the other."""
    assert torch.allclose(drawn[:, 0], torch.tensor(6.0), atol=0.1)
    assert torch.allclose(drawn[:, 1].abs(), torch.tensor(6.0), atol=0.1)
    return (drawn[:, 1] < 0).float().mean().item()


def test_generation_and_interventions_draw_components():
    model = transparent()
    drawn = model.generate(2000, {"hat": 1}, seed=0)
    assert shares(drawn[:, :2]) == pytest.approx(0.75, abs=0.04)
    free = model.generate(4000, seed=0)
    own = free[:, 0] > 4
    assert own.float().mean().item() == pytest.approx(0.5, abs=0.04), "labels are drawn as before"
    assert shares(free[own][:, :2]) == pytest.approx(0.75, abs=0.04), "whatever number gave the label"
    rare = free[free[:, 2] > 4][:, 2:4]
    assert shares(rare) == pytest.approx(0.75, abs=0.06)
    steady = model.generate(2000, {"hat": 1}, seed=0, strength=0.5)[:, :2]
    assert shares(steady) == shares(drawn[:, :2]), "a strength changes no component"
    assert len(steady.unique(dim=0)) == 2
    x = torch.zeros(2000, 6)
    changed = model.intervene(x, {"hat": 1}, strength=None, seed=3)
    assert shares(changed[:, :2]) == pytest.approx(0.75, abs=0.04)
    assert torch.equal(changed[:, 2:], x[:, 2:])


@pytest.mark.parametrize("given", [{"hat": 1}, None])
def test_sample_k_does_not_depend_on_how_many_are_drawn(given):
    model = made()
    many = model.generate(70, given, seed=5)
    assert torch.allclose(many[:3], model.generate(3, given, seed=5), atol=1e-5)
    assert torch.allclose(many[66:69], model.generate(3, given, seed=71), atol=1e-5)
    x = torch.randn(1, 7).expand(70, -1)
    many = model.intervene(x, {"hat": 1, "hair": "red"}, strength=None, seed=5)
    assert torch.allclose(many[66:69], model.intervene(x[:3], {"hat": 1, "hair": "red"}, strength=None, seed=71), atol=1e-5)


def test_one_component_draws_from_the_same_numbers_as_always():
    """Equal in every bit to means and scales with white noise; numbers that choose components change nothing."""
    model = made(components=1)
    from ccvae.model.interventions import sample_noise, with_labels

    noise, uniform = sample_noise(model, 9, 3)
    assert model.remaining_uniform(uniform, model.draw_labels(uniform)) is uniform
    y = model.draw_labels(uniform)
    prior = model.conditional_prior(y)
    with torch.no_grad():
        assert torch.equal(with_labels(model, noise, y, None, noise, uniform), prior.loc + prior.scale * noise)
        assert torch.equal(model.conditional_component(y, uniform).loc, prior.loc)
        assert torch.equal(model.generate(9, seed=3), model.decode(prior.loc + prior.scale * noise))


def test_an_intervention_keeps_the_component_of_the_present_block():
    model = transparent()
    x = torch.zeros(2, 6)
    x[:, :2] = torch.tensor([[4.0, 5.0], [3.0, -4.0]])
    modes = torch.tensor([[6.0, 6.0], [6.0, -6.0]])
    assert torch.allclose(model.intervene(x, {"hat": 1})[:, :2], modes, atol=1e-3)
    strong = model.intervene(x, {"hat": 1}, strength=0.95)[:, :2]
    assert torch.allclose(strong, modes, atol=0.1)
    assert (strong.sum(1) > modes.sum(1)).all(), "along the classifier's direction"
    walked = model.traverse(x, "hat", 3, strength=0.5)
    assert torch.allclose(walked[:, -1, :2], modes[1].expand(2, 2), atol=1e-3), "the end of a walk is the likelier one"
    neutral = model.blocks[0].neutral()[0]
    assert torch.allclose(neutral, model.blocks[0].prior_loc[0, 0].mean(0), atol=1e-5)


def test_rehearsal_and_redrawn_blocks_are_draws_of_components():
    model = transparent()
    posterior = model.posterior(torch.zeros(4000, 6))
    intervention_loss(model, posterior, torch.Generator().manual_seed(0))
    blocks = model.decoder.seen[:, :2].detach()
    assert shares(blocks[blocks[:, 0] > 4]) == pytest.approx(0.75, abs=0.05)
    model = transparent(value=0)
    y, z = torch.zeros(4000, 2), torch.zeros(4000, 6)
    with absent_redrawn(model, y, 0.5, torch.Generator().manual_seed(0)):
        whole = model.shown_instead(z).detach()
    assert shares(whole[whole[:, 0] != 0][:, :2]) == pytest.approx(0.75, abs=0.04)
    shard = Shard(4000, 1, 2)
    with absent_redrawn(model, y[shard.rows], 0.5, torch.Generator().manual_seed(0), shard):
        assert torch.equal(model.shown_instead(z[shard.rows]), whole[shard.rows])
    with labels_alone(model, y, torch.Generator().manual_seed(0)):
        whole = model.shown_instead(z).detach()
    assert shares(whole[:, :2]) == pytest.approx(0.75, abs=0.04)
    with labels_alone(model, y[shard.rows], torch.Generator().manual_seed(0), shard):
        assert torch.equal(model.shown_instead(z[shard.rows]), whole[shard.rows])


def test_evaluation_sees_all_components():
    model = transparent()
    latents = model.conditional_component(
        torch.ones(8000, 2), torch.rand(8000, 2, generator=torch.Generator().manual_seed(0))
    ).loc
    drawn = model.generate(8000, seed=0)
    assert torch.allclose(prior_variance(model, 0), drawn.var(0), rtol=0.1)
    assert latents[:, 1].std() > 4
    # one of four blocks of a value that is present lies where the classifier reads that it is absent
    model = with_modes(model, ((-6.0, -6.0), (6.0, 6.0)))
    with torch.no_grad():
        model.blocks[0].prior_loc[:, 0], model.blocks[0].prior_raw_scale[:, 0] = -6.0, -8.0
    assert self_consistency(model)["hat"].value == pytest.approx((1 + 0.75) / 2, abs=0.04)
    change = model.counterfactual(torch.full((3, 6), -3.0), "hat", 1)
    scale = model.conditional_prior(torch.ones(1, 2)).scale[0, :2]
    assert torch.allclose(scale, torch.full((2,), math.sqrt(0.25 * 0.75) * 12), rtol=1e-2)
    moved = (change.images[:, :2] + 3.0) / scale
    np.testing.assert_allclose(change.distance, moved.norm(dim=-1).detach(), rtol=1e-3)


# ---------------------------------------------------------------------- settings and files


def test_saving_and_loading(tmp_path):
    model = made()
    model.save(tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["prior_components"] == 3
    again = ccvae.load(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in model.state_dict().items())
    assert torch.equal(again.generate(5, {"hat": 1}, seed=2), model.generate(5, {"hat": 1}, seed=2))
    assert "mixture of 3 Normal distributions" in model_card(tmp_path, unmeasured=True)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for wrong in (1, 2):
        written["model"]["prior_components"] = wrong
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
        with pytest.raises(ValueError, match=r"does not fit the configured networks: .*prior_l"):
            ccvae.load(tmp_path)


def test_one_component_has_the_weights_of_always(tmp_path):
    model = made(components=1)
    assert not [name for name in model.state_dict() if "logits" in name]
    assert model.blocks[0].prior_loc.shape == (1, 2, 2)
    model.save(tmp_path)
    assert "mixture" not in model_card(tmp_path, unmeasured=True)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del written["model"]["prior_components"]  # as older runs have it
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
    assert torch.equal(ccvae.load(tmp_path).generate(3), model.generate(3))


@pytest.mark.parametrize("wrong", [0, -1, 65, 1.5, True, "two"])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="prior_components: expected a whole number"):
        ccvae.ModelConfig(prior_components=wrong)


def test_weights_learn_at_the_rate_of_labels():
    model = made()
    config = ccvae.TrainConfig(learning_rate=0.01)
    decayed = decayed_parameters(model)
    assert "blocks.0.prior_logits" not in decayed
    groups = build_optimizer(model, config, 10, decayed)[0].param_groups
    (own,) = [group for group in groups if any(parameter is model.blocks[0].prior_logits for parameter in group["params"])]
    assert any(parameter is model.blocks[0].prior_loc for parameter in own["params"])
    assert own["weight_decay"] == 0


def test_the_command_line_takes_it(tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame({"on": rng.integers(0, 2, 60), "x": rng.normal(size=60), "y": rng.normal(size=60)}).to_csv(
        tmp_path / "table.csv", index=False
    )
    words = ["train", str(tmp_path / "table.csv"), "--out", str(tmp_path / "run"), "--data.labels", "on", "--figures", "false"]
    words += ["--training.epochs", "1", "--training.accelerator", "cpu", "--model.width", "1", "--model.prior_components", "4"]
    with warnings.catch_warnings():
        assert main(words) == 0
    assert ccvae.load(tmp_path / "run").blocks[0].prior_loc.shape[2] == 4


# ---------------------------------------------------------------------- what it is for


def two_places(count=600, seed=0):
    """Pictures with a square or without; a square is at the left or at the right, which no label says."""
    rng = np.random.default_rng(seed)
    present, right = rng.integers(0, 2, count), rng.integers(0, 2, count)
    images = np.full((count, 16, 16, 1), 20)
    for row in np.flatnonzero(present):
        left = 10 if right[row] else 0
        images[row, 5:11, left : left + 6] = 230
    images = (images + rng.integers(-8, 9, images.shape)).astype(np.uint8)
    labels = present[:, None].astype(np.float32)
    splits = split_rows(count, validation=0, test=100, seed=seed)
    space = ccvae.LabelSpace((ccvae.Binary("square"),)).with_priors(labels[splits["train"]])
    return Dataset(images, labels, space, np.array([str(row) for row in range(count)]), splits, name="two places")


def light(images):
    """Grey level at the left and at the right, `(rows, 2)`."""
    return torch.stack([images[:, 0, 5:11, :6].mean((1, 2)), images[:, 0, 5:11, 10:].mean((1, 2))], 1)


def test_draws_show_a_label_in_one_way_or_the_other_and_not_between():
    found = {}
    for components in (1, 4):
        torch.manual_seed(0)
        data = two_places()
        # no style: where the square is, the label's block must say
        sizes = {"latent_dim": 2, "block_dim": 2, "width": 4, "dropout": 0.0}
        model = ccvae.CCVAE.for_data(data, network="mlp", likelihood="normal", prior_components=components, **sizes)
        beside = {"redrawn_share": 0.0, "intervention_weight": 0.0, "elsewhere_weight": 1.0, "classification_weight": 1.0}
        ways_of_training = {"batch_size": 50, "learning_rate": 0.01, "kl_warmup": 0.0, "labelled_share": None, **beside}
        fit(model, data, epochs=30, progress=False, accelerator="cpu", **ways_of_training)
        drawn = light(model.generate(1000, {"square": 1}, seed=0))
        ways = torch.tensor([[0.9, 0.08], [0.08, 0.9]])
        distance = (drawn[:, None] - ways).abs().amax(-1)
        found[components] = {
            "clear": (distance.amin(1) < 0.15).float().mean().item(),
            "right": (distance.argmin(1) == 1).float().mean().item(),
        }
    assert found[1]["clear"] < 0.85, "many draws of one Normal are blends of both"
    assert found[4]["clear"] > 0.95
    assert found[4]["right"] == pytest.approx(0.5, abs=0.15)
