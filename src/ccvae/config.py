"""Settings of a model, of its training and of its data: frozen, and checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["READERS", "DataConfig", "ModelConfig", "TrainConfig"]

NETWORKS = ("conv", "paper", "resnet", "mlp")
ESTIMATORS = ("exact", "paper")
READERS = ("avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits", "table", "hugging_face")


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a model.

    Args:
        latent_dim: size of the whole latent vector: the labels' blocks, and the style that no label explains.
        block_dim: size of each label's block: one number for all labels, or numbers by label name (others then get the
            smallest that fits). A categorical label of C classes gets C − 1 at least.
        network: encoder and decoder: "conv", "paper" or "resnet" for images, "mlp" for vectors and small images; "auto" is
            conv for images and mlp for vectors.
        width: channels of the first convolution, or units of a hidden layer divided by eight.
        encoder: your own encoder as "package.module:Class", called with the input shape and `2 * latent_dim`.
        decoder: your own decoder as "package.module:Class", called with `latent_dim` and the output shape.
        dropout: probability with which the encoder's last features are dropped in training.
        likelihood: "laplace", "normal" or "bernoulli".
        scale: the likelihood's scale, in the data's units (images lie in [0, 1]); where learned, its first value.
        learn_scale: whether the scale is learned.
    """

    latent_dim: int = 45
    block_dim: int | dict[str, int] = 1
    network: str = "auto"
    width: int = 32
    encoder: str | None = None
    decoder: str | None = None
    dropout: float = 0.0
    likelihood: str = "laplace"
    scale: float = 1.0
    learn_scale: bool = False

    def __post_init__(self) -> None:
        check_choice("network", self.network, ("auto", *NETWORKS))
        check_choice("likelihood", self.likelihood, ("laplace", "normal", "bernoulli"))
        check_range("latent_dim", self.latent_dim, least=1)
        check_range("width", self.width, least=1)
        check_range("dropout", self.dropout, least=0, below=1)
        check_range("scale", self.scale, above=0)
        sizes = self.block_dim if isinstance(self.block_dim, Mapping) else {"every label": self.block_dim}
        for name, size in sizes.items():
            check_range(f"block_dim of {name}", size, least=1)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training.

    Args:
        epochs: passes over the training split (over its unlabelled rows, where some of each batch are labelled rows).
        batch_size: rows a step, over all devices.
        labelled_share: share of each batch drawn from rows that bear labels, where fewer of all rows do; None draws all alike.
        learning_rate: highest learning rate of the networks (Adam with decoupled weight decay, one cycle).
        label_learning_rate: that of label maps and conditional priors, as a multiple of `learning_rate`.
        weight_decay: of the networks' weights.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        estimator: "exact", or "paper" to compare with the paper's importance-weighted one.
        classification_weight: weight of log q(y|x) in what is maximised; 1 is the bound itself.
        kl_weight: weight of all that is neither reconstruction nor classification; 1 is the bound itself.
        kl_warmup: share of all steps over which `kl_weight` grows from zero.
        patience: epochs without a better validation bound after which training stops; 0 never stops early.
        seed: of initial weights, batches and noise.
        accelerator: as Lightning's: "auto", "cpu", "gpu", …
        devices: as Lightning's: how many devices, or "auto".
        num_nodes: how many machines.
        strategy: as Lightning's: "auto", "ddp", …
        precision: as Lightning's: "32-true", "bf16-mixed", …
    """

    epochs: int = 20
    batch_size: int = 200
    labelled_share: float | None = 0.5
    learning_rate: float = 3e-3
    label_learning_rate: float = 5.0
    weight_decay: float = 0.05
    gradient_clip: float = 0.0
    estimator: str = "exact"
    classification_weight: float = 50.0
    kl_weight: float = 1.0
    kl_warmup: float = 0.0
    patience: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_range("epochs", self.epochs, least=1)
        check_range("batch_size", self.batch_size, least=2)
        if self.labelled_share is not None:
            check_range("labelled_share", self.labelled_share, above=0, most=1)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("label_learning_rate", self.label_learning_rate, above=0)
        check_range("kl_warmup", self.kl_warmup, least=0, most=1)
        for name in ("weight_decay", "gradient_clip", "classification_weight", "kl_weight", "patience"):
            check_range(name, getattr(self, name), least=0)


@dataclass(frozen=True)
class DataConfig:
    """Settings of data; those left at None take the reader's own defaults.

    Args:
        reader: how the source is read: "avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits",
            "table" or "hugging_face"; "auto" finds out.
        csv: CSV or Parquet table with the labels of a folder of images.
        labels: label columns.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed.
        id_column: column that names the images or rows.
        size: height and width in pixels.
        labelled: hide the labels of all training rows but so many (a whole number), or but such a share (with a point).
        validation: how many rows (a whole number), or which share (with a point), to validate on.
        test: likewise to test on.
        group_column: column of what splits must not tear apart, such as patients.
        split_column: column that says train, validation or test.
        seed: of splits and hidden labels.
        options: further arguments of the reader, by name.
    """

    reader: str = "auto"
    csv: str | None = None
    labels: list[str] | None = None
    kinds: dict[str, str] | None = None
    id_column: str | None = None
    size: int | None = None
    labelled: int | float | None = None
    validation: int | float | None = None
    test: int | float | None = None
    group_column: str | None = None
    split_column: str | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("reader", self.reader, ("auto", *READERS))


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `ValueError` unless a setting is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {value!r}")


def check_range(
    name: str,
    value: float,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raise `ValueError` unless a setting lies in its range."""
    bounds: dict[str, Any] = {"at least": least, "above": above, "at most": most, "below": below}
    holds = {"at least": value >= (least or 0), "above": value > (above or 0)}
    holds |= {"at most": most is None or value <= most, "below": below is None or value < below}
    wanted = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
    if not all(holds[words] for words, bound in bounds.items() if bound is not None):
        raise ValueError(f"{name}: expected a number {' and '.join(wanted)}, found {value}")
