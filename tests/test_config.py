"""Settings: what is refused, and how it is said."""

import dataclasses
import inspect
import math

import numpy as np
import pytest

from ccvae.config import READERS, DataConfig, ModelConfig, TrainConfig
from ccvae.config.model import NETWORKS
from ccvae.distributions.likelihoods import LIKELIHOODS

WRONG = [
    (ModelConfig, "latent_dim", -1, "latent_dim: expected a whole number, at least 0, found -1"),
    (ModelConfig, "latent_dim", 4.5, "latent_dim: expected a whole number, at least 0, found 4.5"),
    (ModelConfig, "latent_dim", "45", "latent_dim: expected a whole number, at least 0, found '45'"),
    (ModelConfig, "latent_dim", True, "latent_dim: expected a whole number, at least 0, found True"),
    (ModelConfig, "width", 0, "width: expected a whole number, at least 1, found 0"),
    (ModelConfig, "block_dim", 0, "block_dim of every label: expected a whole number, at least 1, found 0"),
    (ModelConfig, "block_dim", {"hat": 2, "hair": -1}, "block_dim of hair: expected a whole number, at least 1, found -1"),
    (ModelConfig, "network", "vgg", "network: expected one of auto, attentive, conv, paper, resnet, mlp, found 'vgg'"),
    (ModelConfig, "likelihood", "gauss", "likelihood: expected one of laplace, normal, bernoulli, found 'gauss'"),
    (ModelConfig, "dropout", 1.0, "dropout: expected a number at least 0 and below 1, found 1.0"),
    (ModelConfig, "dropout", -0.1, "dropout: expected a number at least 0 and below 1, found -0.1"),
    (ModelConfig, "scale", 0, "scale: expected a number above 0, found 0"),
    (TrainConfig, "epochs", 0, "epochs: expected a whole number, at least 1, found 0"),
    (TrainConfig, "batch_size", 1, "batch_size: expected a whole number, at least 2, found 1"),
    (TrainConfig, "labelled_share", 0.0, "labelled_share: expected a number above 0 and at most 1, found 0.0"),
    (TrainConfig, "labelled_share", 1.5, "labelled_share: expected a number above 0 and at most 1, found 1.5"),
    (TrainConfig, "learning_rate", 0.0, "learning_rate: expected a number above 0, found 0.0"),
    (TrainConfig, "learning_rate", math.nan, "learning_rate: expected a number above 0, found nan"),
    (TrainConfig, "learning_rate", math.inf, "learning_rate: expected a number above 0, found inf"),
    (TrainConfig, "learning_rate", "1e-3", "learning_rate: expected a number above 0, found '1e-3'"),
    (TrainConfig, "label_learning_rate", -1.0, "label_learning_rate: expected a number above 0, found -1.0"),
    (TrainConfig, "weight_decay", -1e-9, "weight_decay: expected a number at least 0, found -1e-09"),
    (TrainConfig, "gradient_clip", -1.0, "gradient_clip: expected a number at least 0, found -1.0"),
    (TrainConfig, "estimator", "iwae", "estimator: expected one of exact, paper, found 'iwae'"),
    (
        TrainConfig,
        "precision",
        "bf16-true",
        "precision: expected one of auto, 32-true, 64-true, bf16-mixed, 16-mixed, "
        "found 'bf16-true' (did you mean 'bf16-mixed'?)",
    ),
    (TrainConfig, "classification_weight", -2.0, "classification_weight: expected a number at least 0, found -2.0"),
    (TrainConfig, "label_weights", {"hat": -1}, "label_weights of hat: expected a number at least 0, found -1"),
    (TrainConfig, "kl_weight", -1, "kl_weight: expected a number at least 0, found -1"),
    (TrainConfig, "kl_warmup", 1.01, "kl_warmup: expected a number at least 0 and at most 1, found 1.01"),
    (TrainConfig, "patience", 0.5, "patience: expected a whole number, at least 0, found 0.5"),
    (DataConfig, "reader", "csv", f"reader: expected one of auto, {', '.join(READERS)}, found 'csv'"),
]


@pytest.mark.parametrize(("config", "field", "value", "message"), WRONG)
def test_errors_name_the_field_the_value_and_what_is_allowed(config, field, value, message):
    with pytest.raises(ValueError, match=r".+") as error:
        config(**{field: value})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (ModelConfig, {"latent_dim": 1, "width": 1, "dropout": 0, "scale": 1e-3, "block_dim": {"hat": 1}}),
        (ModelConfig, {"latent_dim": np.int64(8), "scale": np.float32(0.5), "dropout": 0.999}),
        (TrainConfig, {"epochs": 1, "batch_size": 2, "labelled_share": 1.0, "kl_warmup": 1, "patience": 0}),
        (TrainConfig, {"labelled_share": None, "kl_weight": 0, "classification_weight": 0, "weight_decay": 0}),
    ],
)
def test_ends_of_ranges_are_taken(config, settings):
    made = config(**settings)
    assert {name: getattr(made, name) for name in settings} == settings


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig, DataConfig])
def test_settings_are_frozen_checked_again_and_documented(config):
    made = config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 1
    assert dataclasses.replace(made) == made
    for field in dataclasses.fields(config):
        assert f"\n    {field.name}: " in inspect.cleandoc(config.__doc__), field.name
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        config(nonsense=1)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (TrainConfig, {"estimator": "paper", "label_weights": {"hat": 2}}, "leave them out, or set estimator to exact"),
        (
            DataConfig,
            {"labelled": 10, "labelled_per_class": 5},
            "labelled and labelled_per_class are both given; give one of them",
        ),
    ],
)
def test_settings_that_do_not_go_together(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_replaced_settings_are_checked():
    with pytest.raises(ValueError, match="latent_dim"):
        dataclasses.replace(ModelConfig(), latent_dim=-1)


def test_choices_are_those_that_exist():
    assert {ModelConfig(network=name).network for name in NETWORKS} == set(NETWORKS)
    assert {ModelConfig(likelihood=name).likelihood for name in LIKELIHOODS} == set(LIKELIHOODS)
