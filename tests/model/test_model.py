"""The model: its five distributions, and what it takes from users' arrays and gives back."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from ccvae.config import ModelConfig
from ccvae.labels import Binary, LabelSpace
from ccvae.labels import Categorical as CategoricalLabel
from ccvae.labels import Continuous as ContinuousLabel
from ccvae.model.ccvae import CCVAE
from ccvae.model.inference import evaluating
from ccvae.model.label_blocks.layout import block_slices
from ccvae.model.latent_distributions import STYLE_DIMENSIONS

SPACE = LabelSpace(
    (
        Binary("smiling", ("no", "yes"), prior=0.3),
        CategoricalLabel("hair", ("black", "red", "white"), (0.5, 0.2, 0.3)),
        Binary("hat"),
        ContinuousLabel("age", 40.0, 12.0),
        CategoricalLabel("size", (1, 2), (0.4, 0.6)),
    )
)
SHAPE = (3, 16, 20)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = CCVAE(SPACE, SHAPE, ModelConfig(network="conv", latent_dim=12, width=4, block_dim={"smiling": 2, "age": 2}))
    with torch.no_grad():  # running means and variances of some data, as after training
        for _ in range(20):
            model.decoder(torch.randn(16, 12))
            model.encoder(torch.rand(16, *SHAPE))
        for parameter in model.blocks.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (70, 16, 20, 3), dtype=np.uint8)


# ---------------------------------------------------------------------- the latent vector


@pytest.mark.parametrize(
    ("block_dim", "sizes"),
    [
        (1, [1, 2, 1, 1, 1]),
        (2, [2, 2, 2, 2, 2]),
        (3, [3, 3, 3, 3, 3]),
        ({}, [1, 2, 1, 1, 1]),
        ({"age": 4, "hair": 1}, [1, 2, 1, 4, 1]),
        ({"smiling": 2, "hair": 3, "hat": 1, "age": 2, "size": 5}, [2, 3, 1, 2, 5]),
    ],
)
def test_blocks_lie_one_after_another_and_fit_their_labels(block_dim, sizes):
    slices = block_slices(SPACE, ModelConfig(latent_dim=20, block_dim=block_dim))
    assert [part.stop - part.start for part in slices] == sizes
    assert slices[0].start == 0
    assert all(earlier.stop == later.start for earlier, later in pairwise(slices))


def test_blocks_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"latent_dim: the blocks of 5 labels need 15 dimensions .*, found 14; raise latent_dim"
    ):
        CCVAE(SPACE, SHAPE, ModelConfig(latent_dim=14, block_dim=3))
    with pytest.raises(ValueError, match=r"no label 'beard'; the labels are smiling, hair, hat, age, size"):
        CCVAE(SPACE, SHAPE, ModelConfig(block_dim={"beard": 2}))
    assert CCVAE(SPACE, SHAPE, ModelConfig(latent_dim=15, block_dim=3, width=4)).style == slice(15, 15)


@pytest.mark.parametrize("block_dim", [1, 3, {"age": 4}])
def test_a_latent_vector_of_no_given_size_has_room_for_a_style(block_dim):
    model = CCVAE(SPACE, SHAPE, ModelConfig(latent_dim=0, block_dim=block_dim, width=2))
    blocks = model.block_slices[-1].stop
    assert (model.style.start, model.style.stop) == (blocks, blocks + STYLE_DIMENSIONS)
    assert model.config.latent_dim == blocks + STYLE_DIMENSIONS, "what is saved is the size that was found"
    assert model.posterior(torch.rand(2, *SHAPE)).loc.shape == (2, model.config.latent_dim)


def test_every_label_has_its_own_part_of_the_latent_vector(model):
    found = {}
    for block in model.label_blocks():
        for column, where in zip(block.columns.tolist(), block.latents.tolist(), strict=True):
            found[column] = where
    assert found == {column: list(range(part.start, part.stop)) for column, part in enumerate(model.block_slices)}
    assert model.style == slice(8, 12)


def test_model_for_data_takes_shape_labels_and_settings(data):
    model = CCVAE.for_data(data, latent_dim=9, width=4, likelihood="normal")
    assert model.input_shape == data.input_shape == (3, 16, 16)
    assert model.space == data.space
    assert (model.config.latent_dim, model.config.likelihood) == (9, "normal")
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 18))
    assert CCVAE.for_data(data, encoder, latent_dim=9, width=4).encoder is encoder
    with pytest.raises(TypeError, match="latent_dims"):
        CCVAE.for_data(data, latent_dims=9)


# ---------------------------------------------------------------------- the five distributions


def test_posterior(model, images):
    x = model.inputs(images)
    posterior = model.posterior(x)
    mu, raw_sigma = model.encoder(x).chunk(2, -1)
    assert torch.equal(posterior.loc, mu)
    assert torch.allclose(posterior.scale, torch.nn.functional.softplus(raw_sigma).clamp_min(1e-3))
    assert posterior.scale.min() >= 1e-3


def test_label_map_and_label_prior_come_by_name(model):
    z = torch.randn(4, 12)
    maps, priors = model.classifier(z), model.label_prior()
    assert tuple(maps) == tuple(priors) == SPACE.names
    kinds = [Bernoulli, Categorical, Bernoulli, Normal, Categorical]
    assert [type(q) for q in maps.values()] == [type(p) for p in priors.values()] == kinds
    assert all(q.batch_shape == (4,) for q in maps.values())
    assert priors["smiling"].probs.item() == pytest.approx(0.3)
    assert priors["hair"].probs.tolist() == pytest.approx([0.5, 0.2, 0.3])
    assert (priors["age"].mean.item(), priors["age"].stddev.item()) == pytest.approx((40, 12))
    for name, part in zip(SPACE.names, model.block_slices, strict=True):
        changed = z.clone()
        changed[:, part] += 1
        moved = model.classifier(changed)
        others = {
            other for other in SPACE.names if not torch.equal(maps[other].mean.nan_to_num(), moved[other].mean.nan_to_num())
        }
        assert others <= {name}, "a classifier sees its own block only"


def test_conditional_prior_is_standard_in_the_style(model):
    y = torch.tensor([[1.0, 2.0, 0.0, 52.0, 1.0], [0.0, 0.0, 1.0, 40.0, 0.0]])
    prior = model.conditional_prior(y)
    assert prior.loc.shape == (2, 12)
    assert torch.equal(prior.loc[:, model.style], torch.zeros(2, 4))
    assert torch.equal(prior.scale[:, model.style], torch.ones(2, 4))
    for block in model.label_blocks():
        own = block.conditional_prior(y[:, block.columns])
        assert torch.equal(prior.loc[:, block.latents], own.loc)
        assert torch.equal(prior.scale[:, block.latents], own.scale)


def test_likelihood_is_that_of_the_decoder(model, images):
    x, z = model.inputs(images[:3]), torch.randn(3, 12)
    expected = torch.sigmoid(model.decoder(z))
    assert torch.allclose(model.likelihood_of.mean(model.decoder(z)), expected)
    scale = model.likelihood_of.scale
    truth = torch.distributions.Laplace(expected, scale).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(model.log_likelihood(z, x), truth, rtol=1e-4)
    assert torch.allclose(model.decode(z), expected, atol=1e-6)


# ---------------------------------------------------------------------- users' arrays


def test_inputs_take_images_in_every_usual_form(model, images):
    truth = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    forms = {
        "uint8, channels last": images,
        "uint8, channels first": images.transpose(0, 3, 1, 2),
        "uint8 tensor": torch.tensor(images),
        "float array": (images / 255).transpose(0, 3, 1, 2),
        "float tensor": truth,
        "float, channels last": (images / 255).astype(np.float32),
        "list": [image for image in images],  # noqa: C416
        "reversed twice": images[::-1].copy()[::-1],
    }
    for name, form in forms.items():
        found = model.inputs(form)
        assert found.dtype == torch.float32, name
        assert found.shape == (70, *SHAPE), name
        assert torch.allclose(found, truth, atol=1e-6), name
    read_only = images.copy()
    read_only.setflags(write=False)
    assert torch.allclose(model.inputs(read_only), truth, atol=1e-6)
    for one in (images[0], images[0].transpose(2, 0, 1), truth[0]):
        assert torch.allclose(model.inputs(one), truth[:1], atol=1e-6)
    assert model.inputs(images[:0]).shape == (0, *SHAPE)


def test_inputs_take_one_channel_and_vectors():
    grey = CCVAE(SPACE, (1, 16, 16), ModelConfig(latent_dim=12, block_dim=1, width=2))
    assert grey.inputs(np.zeros((4, 16, 16, 1), np.uint8)).shape == (4, 1, 16, 16)
    vectors = CCVAE(SPACE, (5,), ModelConfig(latent_dim=12, block_dim=1, width=2))
    assert torch.equal(vectors.inputs(np.array([-3.0, 0, 7, 200, 1])), torch.tensor([[-3.0, 0, 7, 200, 1]]))
    assert torch.equal(vectors.inputs(np.full((2, 5), 7, np.uint8)), torch.full((2, 5), 7.0)), "vectors keep their units"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((4, 3, 20, 16)), r"the model takes \(rows, 3, 16, 20\), found \(4, 3, 20, 16\)"),
        (np.zeros((4, 16, 20)), r"the model takes \(rows, 3, 16, 20\), found \(4, 16, 20\)"),
        (np.zeros((16, 20)), r"found \(16, 20\)"),
        ([[0.5, 0.5]], r"found \(1, 2\)"),
        (np.full((1, *SHAPE), 2.0), r"images must lie in \[0, 1\], or be whole numbers from 0 to 255, found 2 to 2"),
        (np.full((1, *SHAPE), -0.1), r"found -0.1 to -0.1"),
        (np.full((1, *SHAPE), 300), r"found 300 to 300"),
        (np.full((1, *SHAPE), np.nan), r"found nan to nan"),
    ],
)
def test_inputs_that_do_not_fit(model, wrong, message):
    with pytest.raises(ValueError, match="inputs: .*" + message):
        model.inputs(wrong)


def test_probabilities_have_a_column_for_each_value(model, images):
    table = model.predict_proba(images)
    assert list(table.columns) == [
        *["smiling=no", "smiling=yes", "hair=black", "hair=red", "hair=white", "hat=0", "hat=1", "age", "age.std"],
        *["size=1", "size=2"],
    ]
    assert len(table) == len(images)
    for label in SPACE:
        if label.kind != "continuous":
            columns = [f"{label.name}={value}" for value in label.values]
            assert np.allclose(table[columns].sum(axis=1), 1, atol=1e-6)
            assert ((table[columns] >= 0) & (table[columns] <= 1)).all(axis=None)
    assert (table["age.std"] > 0).all()
    assert table.drop(columns="age.std").nunique().min() > 1, "they depend on the images"


def test_probabilities_are_the_mean_of_the_label_map_under_the_posterior(model, images):
    table, posterior = model.predict_proba(images[:2]), model.encode(images[:2])
    torch.manual_seed(0)
    with torch.no_grad():
        z = posterior.sample((200_000,)).flatten(0, 1)
        maps = model.classifier(z)
    assert np.allclose(table["smiling=yes"], maps["smiling"].probs.reshape(-1, 2).mean(0), atol=5e-3)
    assert np.allclose(
        table[[f"hair={v}" for v in ("black", "red", "white")]], maps["hair"].probs.reshape(-1, 2, 3).mean(0), atol=5e-3
    )
    assert np.allclose(table["age"], maps["age"].mean.reshape(-1, 2).mean(0), atol=0.2)
    spread = (maps["age"].variance + maps["age"].mean.reshape(-1, 2).var(0).repeat(200_000)).reshape(-1, 2).mean(0).sqrt()
    assert np.allclose(table["age.std"], spread, rtol=0.02)


def test_predictions_do_not_depend_on_the_batch(model, images):
    together = model.predict_proba(images)
    apart = pd.concat(
        [model.predict_proba(images[rows]) for rows in (slice(0, 1), slice(1, 69), slice(69, 70))], ignore_index=True
    )
    pd.testing.assert_frame_equal(together, apart, atol=1e-5)
    backwards = model.predict_proba(images[::-1]).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(together, backwards, atol=1e-5)


def test_predict_gives_the_most_probable_values(model, images):
    table, proba = model.predict(images), model.predict_proba(images)
    assert list(table.columns) == list(SPACE.names)
    assert set(table["smiling"]) <= {"no", "yes"}
    assert set(table["hair"]) <= {"black", "red", "white"}
    assert table["hat"].dtype.kind == table["size"].dtype.kind == "i"
    assert np.array_equal(table["smiling"] == "yes", proba["smiling=yes"] > proba["smiling=no"])
    assert np.array_equal(
        table["hair"], proba[["hair=black", "hair=red", "hair=white"]].idxmax(axis=1).str.removeprefix("hair=")
    )
    assert np.array_equal(table["age"], proba["age"])


def test_encode_and_decode_leave_no_gradient_and_restore_modes(model, images):
    model.train()
    model.encoder[1].eval()  # a part that its user has frozen
    modes = {name: part.training for name, part in model.named_modules()}
    posterior = model.encode(images)
    decoded = model.decode(posterior.loc)
    assert not posterior.loc.requires_grad
    assert not decoded.requires_grad
    assert decoded.shape == (70, *SHAPE)
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert {name: part.training for name, part in model.named_modules()} == modes
    model.eval()
    assert torch.allclose(model.encode(images).loc, posterior.loc, atol=1e-6), "encoded in evaluation mode either way"


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_restores_the_mode_even_after_an_error(training):
    module = torch.nn.Sequential(torch.nn.Dropout()).train(training)

    def fail():
        with evaluating(module):
            assert not module.training
            assert not module[0].training
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert module.training == module[0].training == training


def test_bound_is_that_of_the_module(model, images):
    y = torch.tensor([[1.0, math.nan, 0.0, 41.0, 1.0]]).expand(70, -1)
    torch.manual_seed(0)
    first = model.bound(model.inputs(images), y)
    assert first.total.shape == (70,)
    assert first.total.isfinite().all()
    assert model.bound(model.inputs(images), y, estimator="paper").total.isfinite().all()


def test_weights_go_in_and_out(model, images):
    """Everything that a prediction needs, beside labels and settings, is in the state dict."""
    other = CCVAE(SPACE, SHAPE, model.config)
    assert not np.allclose(other.predict_proba(images), model.predict_proba(images))
    other.load_state_dict(model.state_dict())
    pd.testing.assert_frame_equal(other.predict_proba(images), model.predict_proba(images))
