"""Settings of a model, its training, its data and its evaluation: frozen dataclasses, validated when created."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from operator import ge, gt, le, lt
from typing import Any

__all__ = ["READERS", "DataConfig", "EvaluationConfig", "ModelConfig", "TrainConfig", "check_input_shape"]

NETWORKS = ("attentive", "conv", "paper", "resnet", "mlp")
ESTIMATORS = ("exact", "paper")
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")
READERS = ("avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits", "table", "hugging_face")

LARGEST_INPUT = 2**26
"""Elements of one input."""
LONGEST_VALUE_SHOWN = 80
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a model.

    Args:
        latent_dim: size of the whole latent vector: the labels' blocks, and the style that no label explains. 0 makes room
            for the blocks and 32 dimensions of style.
        block_dim: size of each label's block: one number for all labels, or numbers by label name (others then get the
            smallest that fits). A categorical label of C classes gets C − 1 at least.
        network: encoder and decoder: "attentive" for images (every label attends to where it shows, and paints maps of its
            own) and for vectors (labels and style have networks of their own); "conv", "paper" or "resnet" for images; "mlp"
            for vectors and small images; "auto" is conv for images and mlp for vectors.
        width: channels of the first convolution, or units of a hidden layer divided by eight.
        neutral_style: read the style from the input with all labels neutralised, so that how labels show is kept in their own
            blocks (see `ccvae.model.latent_model.LatentModel.passes`). None does so with the network "attentive".
        encoder: your own encoder as "package.module:Class", called with the input shape and `2 * latent_dim`.
        decoder: your own decoder as "package.module:Class", called with `latent_dim` and the output shape.
        dropout: probability with which the encoder's last features are dropped in training.
        likelihood: "laplace", "normal" or "bernoulli".
        scale: the likelihood's scale, in the data's units; where learned, its first value. None is 0.1 for images, which lie in
            [0, 1], and 1 for vectors; the paper has 1. A smaller one sharpens pictures and weighs the labels less.
        learn_scale: whether the scale is learned.
    """

    latent_dim: int = 0
    block_dim: int | dict[str, int] = 2
    network: str = "auto"
    width: int = 32
    encoder: str | None = None
    decoder: str | None = None
    dropout: float = 0.3
    likelihood: str = "laplace"
    scale: float | None = None
    learn_scale: bool = False
    neutral_style: bool | None = None

    def __post_init__(self) -> None:
        check_choice("network", self.network, ("auto", *NETWORKS))
        check_choice("likelihood", self.likelihood, ("laplace", "normal", "bernoulli"))
        check_whole("latent_dim", self.latent_dim, least=0)
        check_whole("width", self.width, least=1)
        check_range("dropout", self.dropout, least=0, below=1)
        if self.scale is not None:
            check_range("scale", self.scale, above=0)
        sizes = self.block_dim if isinstance(self.block_dim, Mapping) else {"every label": self.block_dim}
        for name, size in sizes.items():
            check_whole(f"block_dim of {name}", size, least=1)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training.

    Args:
        epochs: passes over the training split (over its unlabelled rows, where some of each batch are labelled rows).
        batch_size: rows a step, over all devices.
        labelled_share: share of each batch drawn from rows that bear labels, where fewer of all rows do; None draws all alike.
        balanced: draw labelled rows of rare values more often: with one label, all its values equally often. Probabilities
            q(y|x) are then those of data in which they are.
        learning_rate: highest learning rate of the networks (Adam with decoupled weight decay, one
            cycle); networks without normalisation, such as "paper", want a tenth of it.
        label_learning_rate: that of classifiers and conditional priors, as a multiple of `learning_rate`.
        weight_decay: of the networks' weights.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        estimator: "exact", or "paper" to compare with the paper's importance-weighted one.
        classification_weight: weight of log q(y|x) in what is maximised; 1 is the bound itself. None is 1 for the paper's
            estimator, and for the exact one a tenth of the number of input elements over the likelihood's scale: the labels
            then have a like say whatever the inputs' size and units.
        intervention_weight: weight of how far the encoder misreads what interventions set (see
        `ccvae.training.intervention_losses`): it makes
            edits and conditions show, at the price of a few nats. 0 is the bound alone. None is 0 for the paper's estimator,
            and for the exact one 0.07 % of the number of input elements over the likelihood's scale.
        label_weights: further weights of log q(y|x) by label, such as of labels that matter more; 1 for those not named.
        kl_weight: weight of all that is neither reconstruction nor classification; 1 is the bound itself.
        elsewhere_weight: further weight of what is kept in the style, and in blocks of binary labels that do not hold. 1 is the
            bound itself; above, how labels show moves into their own blocks, and pictures blur.
        kl_warmup: share of all steps over which `kl_weight` grows from zero.
        patience: epochs without a better validation bound after which training stops; 0 never stops early.
        seed: of initial weights, batches and noise.
        accelerator: as Lightning's: "auto", "cpu", "gpu", …
        devices: as Lightning's: how many devices, or "auto".
        num_nodes: how many machines.
        strategy: as Lightning's: "auto", "ddp", …
        precision: as Lightning's: "32-true", "64-true", "bf16-mixed" or "16-mixed"; label terms have single precision at least.
        compile: compile networks and label terms by `torch.compile`: a minute or two before the first steps, and on a GPU far
            fewer computations to start in each. Of several processes, whose networks exchange statistics, label terms only.
    """

    epochs: int = 12
    batch_size: int = 200
    labelled_share: float | None = 0.5
    balanced: bool = False
    learning_rate: float = 1e-2
    label_learning_rate: float = 5.0
    weight_decay: float = 0.05
    gradient_clip: float = 0.0
    estimator: str = "exact"
    classification_weight: float | None = None
    intervention_weight: float | None = None
    label_weights: dict[str, float] = field(default_factory=dict)
    kl_weight: float = 1.0
    elsewhere_weight: float = 1.0
    kl_warmup: float = 0.0
    patience: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("precision", self.precision, PRECISIONS)
        check_whole("epochs", self.epochs, least=1)
        check_whole("batch_size", self.batch_size, least=2)
        if self.labelled_share is not None:
            check_range("labelled_share", self.labelled_share, above=0, most=1)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("label_learning_rate", self.label_learning_rate, above=0)
        check_range("kl_warmup", self.kl_warmup, least=0, most=1)
        check_whole("patience", self.patience, least=0)
        for name in ("weight_decay", "gradient_clip", "kl_weight"):
            check_range(name, getattr(self, name), least=0)
        check_range("elsewhere_weight", self.elsewhere_weight, least=1)
        for name in ("classification_weight", "intervention_weight"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least=0)
        for name, weight in self.label_weights.items():
            check_range(f"label_weights of {name}", weight, least=0)
        if self.label_weights and self.estimator != "exact":
            raise ValueError(
                "label_weights: only the exact estimator can weigh labels; leave them out, or set estimator to exact"
            )


@dataclass(frozen=True)
class DataConfig:
    """Settings of data; those left at None take the reader's own defaults.

    Args:
        reader: how the source is read: "avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits",
            "table" or "hugging_face"; "auto" finds out.
        csv: CSV or Parquet table with the labels of a folder of images.
        labels: label columns, as a list, or with commas between.
        exclude: columns that are neither labels nor inputs, as a list, or with commas between.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed.
        missing_values: values that mean not observed, such as -1 or Unknown: one, several with commas between, or by label.
        delimiter: what separates findings in cells such as Edema|Mass, each of which becomes a binary label.
        id_column: column that names the images or rows.
        size: height and width in pixels.
        absent: "error" or "ignore" for rows of a table whose image does not exist.
        labelled: number (whole) or fraction (with a point) of training rows that keep their labels; the rows are chosen so
            that every value of every label keeps its share.
        labelled_per_class: number of training rows of every value that keep their labels.
        validation: number (whole) or fraction (with a point) of rows to validate on.
        test: number (whole) or fraction (with a point) of rows to test on.
        group_column: column of groups, such as patients, that stay whole in one split.
        split_column: column that says train, validation or test.
        seed: random seed of splits and hidden labels.
        options: further arguments of the reader, by name.
    """

    reader: str = "auto"
    csv: str | None = None
    labels: list[str] | str | None = None
    exclude: list[str] | str | None = None
    kinds: dict[str, str] | None = None
    missing_values: list[int | float | str] | dict[str, Any] | int | float | str | None = None
    delimiter: dict[str, str] | str | None = None
    id_column: str | None = None
    size: int | None = None
    absent: str | None = None
    labelled: int | float | None = None
    labelled_per_class: int | None = None
    validation: int | float | None = None
    test: int | float | None = None
    group_column: str | None = None
    split_column: str | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("reader", self.reader, ("auto", *READERS))
        if self.labelled is not None and self.labelled_per_class is not None:
            raise ValueError("labelled and labelled_per_class are both given; give one of them")


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation: how many rows, samples and pictures each metric uses.

    All counts are upper limits. Every reported number states how many rows it was measured on.

    Args:
        rows: rows for classification, reconstruction and the bound.
        evidence_rows: rows for the importance-weighted estimate of log p(x).
        evidence_samples: importance samples per row; more samples give a tighter estimate.
        edit_rows: rows in which every label is set to another value.
        walk_rows: rows in which every label is traversed.
        truth_rows: rows whose edits are compared with rendered ground truth.
        pairs: pairs of images per label for transfers.
        probe_rows: training rows on which probes are fitted.
        conditions: combinations of labels under which images are generated.
        repeats: generated images per combination.
        pictures: images of each kind for Fréchet and kernel distances.
        draws: bootstrap resamples for the intervals of classification metrics.
        calibrate: measure calibrated probabilities too, with the run's temperatures, or, if it has none, with temperatures
            fitted on the validation split.
        seed: seed of all choices of rows and all samples.
    """

    rows: int = 4000
    evidence_rows: int = 96
    evidence_samples: int = 512
    edit_rows: int = 300
    walk_rows: int = 64
    truth_rows: int = 48
    pairs: int = 150
    probe_rows: int = 4000
    conditions: int = 64
    repeats: int = 8
    pictures: int = 2000
    draws: int = 100
    calibrate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in fields(self):
            if setting.name not in ("calibrate", "seed"):
                check_whole(setting.name, getattr(self, setting.name), least=1 if setting.name == "evidence_samples" else 2)
        check_whole("seed", self.seed, least=0)


def check_input_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """An input's shape as a tuple.

    Raises:
        ValueError: it is neither (channels, height, width) nor (features,), in whole numbers above 0, or is too large.
    """
    whole = isinstance(shape, Sequence) and all(
        isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in shape
    )
    if not whole or len(shape) not in (1, 3):
        raise ValueError(f"input_shape: expected [channels, height, width] or [features], found {first_of(shape)}")
    if math.prod(shape) > LARGEST_INPUT:
        raise ValueError(f"input_shape: an input has at most {LARGEST_INPUT:,} elements, found {first_of(shape)}")
    return tuple(map(int, shape))


def first_of(value: object) -> str:
    """A value as text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[:LONGEST_VALUE_SHOWN]}…"


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
    """Raise `ValueError` unless a setting is a finite number in its range."""
    bounds = (("at least", least, ge), ("above", above, gt), ("at most", most, le), ("below", below, lt))
    given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not all(holds(value, bound) for _, bound, holds in given):
        wanted = " and ".join(f"{words} {bound}" for words, bound, _ in given)
        raise ValueError(f"{name}: expected a number {wanted}, found {value!r}")


def check_whole(name: str, value: int, least: int) -> None:
    """Raise `ValueError` unless a setting is a whole number, and not too small."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number, at least {least}, found {value!r}")
