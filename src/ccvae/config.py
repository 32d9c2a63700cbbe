"""Settings of a model, its training, its data and its evaluation: frozen dataclasses, validated when created."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from operator import ge, gt, le, lt
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = [
    "READERS",
    "DataConfig",
    "DataPlace",
    "EvaluationConfig",
    "ModelConfig",
    "TrainConfig",
    "check_input_shape",
    "check_seed",
    "check_type",
    "check_whole",
    "settings_from",
]

Network = Literal["auto", "attentive", "conv", "paper", "resnet", "mlp"]
LikelihoodName = Literal["laplace", "normal", "bernoulli"]
Estimator = Literal["exact", "paper"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"]
Reader = Literal[
    "auto", "avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits", "table", "hugging_face"
]  # fmt: skip
NETWORKS: tuple[str, ...] = get_args(Network)[1:]
READERS: tuple[str, ...] = get_args(Reader)[1:]

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping of names to values",
    Mapping: "a mapping of names to values",
    type(None): "null",
    Any: "any value",
}
"""Types of settings in words."""

LARGEST_SEED = 2**31 - 1
Settings = TypeVar("Settings", "ModelConfig", "TrainConfig", "DataConfig", "EvaluationConfig")

LARGEST_COUNT = 10**9
"""Of whole numbers in settings, where no other limit is given."""
LARGEST_SIZE = 10**6
"""Dimensions of latent vectors and blocks, and width of networks."""
LARGEST_SAMPLE = 10**6
"""Of rows, samples or images that one metric uses."""
LARGEST_SIDE = 4096
"""Of images, in pixels."""
LARGEST_INPUT = 2**26
"""Elements of one input."""
LONGEST_VALUE_SHOWN = 80
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a model.

    Args:
        latent_dim: dimensions of the whole latent vector: the labels' blocks and the style. 0 chooses the blocks and 32
            dimensions of style.
        block_dim: dimensions of each label's block: one number for all labels, or numbers by label name (other labels then get
            the smallest block possible). A categorical label of C classes gets at least C − 1.
        network: encoder and decoder: "attentive" for images (every label attends to where it shows, and paints maps of its
            own) and for vectors (labels and style have networks of their own); "conv", "paper" or "resnet" for images; "mlp"
            for vectors and small images; "auto" is conv for images and mlp for vectors.
        width: channels of the first convolution, or units of a hidden layer divided by eight.
        neutral_style: read the style from the input with all labels neutralised, so that how labels show is kept in their own
            blocks (see `ccvae.model.latent_model.LatentModel.passes`). None does so with the network "attentive".
        encoder: your own encoder as "package.module:Class", an `nn.Module` that is created with the input shape and
            `2 * latent_dim`. The module is imported, which runs its code.
        decoder: your own decoder as "package.module:Class", created with `latent_dim` and the output shape.
        dropout: dropout probability of the encoder's last features.
        likelihood: "laplace", "normal" or "bernoulli".
        scale: scale of the likelihood, in the data's units; its initial value if it is learned. None is 0.1 for images in
            [0, 1] and 1 for vectors; the paper uses 1. A smaller scale gives sharper images and less weight to the labels.
        learn_scale: whether the scale is learned.
    """

    latent_dim: int = 0
    block_dim: int | dict[str, int] = 2
    network: Network = "auto"
    width: int = 32
    encoder: str | None = None
    decoder: str | None = None
    dropout: float = 0.3
    likelihood: LikelihoodName = "laplace"
    scale: float | None = None
    learn_scale: bool = False
    neutral_style: bool | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_whole("latent_dim", self.latent_dim, least=0, most=LARGEST_SIZE)
        check_whole("width", self.width, least=1, most=LARGEST_SIZE)
        check_range("dropout", self.dropout, least=0, below=1)
        if self.scale is not None:
            check_range("scale", self.scale, above=0)
        sizes = self.block_dim if isinstance(self.block_dim, Mapping) else {"every label": self.block_dim}
        for name, size in sizes.items():
            check_whole(f"block_dim of {name}", size, least=1, most=LARGEST_SIZE)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training.

    Args:
        epochs: passes over the training split (over its unlabelled rows if `labelled_share` applies).
        batch_size: rows per step, over all devices.
        labelled_share: minimum fraction of rows with labels in each batch; None samples all rows uniformly.
        balanced: sample labelled rows of rare values more often; with one label, all its values equally often. The
            probabilities q(y|x) then assume data in which these values are as frequent as in the batches.
        learning_rate: peak learning rate of the networks (Adam with decoupled weight decay, one cycle). Networks without
            normalisation, such as "paper", need about a tenth of the default.
        label_learning_rate: learning rate of classifiers and conditional priors, as a multiple of `learning_rate`.
        weight_decay: weight decay of the networks' weights.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        estimator: "exact", or "paper" for the paper's importance-weighted estimator.
        classification_weight: weight of log q(y|x) in the objective; 1 is the bound itself. None is 1 for the paper's
            estimator; for the exact one it is a tenth of the number of input elements divided by the likelihood's scale, at
            least 10, so that labels count the same for inputs of any size and units.
        intervention_weight: weight of the intervention loss (see `ccvae.training.intervention_losses`): edits and conditions
            become visible, at the cost of a few nats. 0 is the bound alone. None is 0 for the paper's estimator; for the exact
            one it is 0.07 % of the number of input elements divided by the likelihood's scale.
        label_weights: additional weights of log q(y|x) by label name; 1 for labels that are not named.
        kl_weight: weight of all terms except reconstruction and classification; 1 is the bound itself.
        elsewhere_weight: additional weight of the KL of the style, and of blocks of binary labels that are absent. 1 is the
            bound itself; larger values move how labels show into their own blocks, and images blur.
        few_labels: whether to train teachers, classifiers of the labelled rows whose probabilities stand in for missing labels
            (see `ccvae.training.few_labels`). Off by default, because their effect on interventions is not measured yet. None
            turns it on if less than a quarter of the training labels are observed.
        teachers: number of teachers; 0 trains none.
        teacher_steps: training steps of each teacher.
        teacher_batch_size: rows per step of a teacher.
        teacher_width: channels of a teacher's first convolution, or units of its hidden layers divided by eight.
        teacher_dropout: probability with which a teacher's last features are dropped in training.
        teacher_weight_decay: weight decay of a teacher's weights.
        taught_labelled_share: `labelled_share` once teachers have labelled the other rows; with a larger one, the few labelled
            rows are repeated until they are memorized.
        taught_weight_decay: `weight_decay` of the model that is taught.
        flip: mirror every second training image, left to right. None mirrors if labels are few and the reader of the data
            says that mirrored images have the same labels (faces and clothes do, digits and organs do not).
        shift: move training images by up to this number of pixels each way.
        color: change contrast and brightness of training images by up to this factor, such as 0.1.
        kl_warmup: fraction of all steps over which `kl_weight` grows from zero.
        patience: stop after this number of epochs without a better validation bound; 0 never stops early.
        seed: seed of initial weights, batches and noise, from 0 to 2³¹ − 1.
        accelerator: as in Lightning: "auto", "cpu", "gpu", …
        devices: as in Lightning: number of devices, or "auto".
        num_nodes: number of machines.
        strategy: as in Lightning: "auto", "ddp", …
        precision: Lightning's "32-true", "64-true", "bf16-mixed" or "16-mixed"; label terms have single precision at least.
            "auto" is bf16-mixed for images if the device has instructions for bfloat16, else 32-true; the run folder's settings
            name the one that was chosen.
        compile: compile networks and label terms with `torch.compile`. It takes a minute or two before the first steps, and
            saves many kernel launches per step on a GPU. With several processes, whose networks exchange statistics, only label
            terms are compiled.
    """

    epochs: int = 12
    batch_size: int = 200
    labelled_share: float | None = 0.5
    balanced: bool = False
    learning_rate: float = 1e-2
    label_learning_rate: float = 5.0
    weight_decay: float = 0.05
    gradient_clip: float = 0.0
    estimator: Estimator = "exact"
    classification_weight: float | None = None
    intervention_weight: float | None = None
    label_weights: dict[str, float] = field(default_factory=dict)
    kl_weight: float = 1.0
    elsewhere_weight: float = 1.0
    few_labels: bool | None = False
    teachers: int = 2
    teacher_steps: int = 2000
    teacher_batch_size: int = 50
    teacher_width: int = 24
    teacher_dropout: float = 0.8
    teacher_weight_decay: float = 0.5
    taught_labelled_share: float = 0.1
    taught_weight_decay: float = 0.5
    flip: bool | None = None
    shift: int = 0
    color: float = 0.0
    kl_warmup: float = 0.0
    patience: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Precision = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        check_whole("epochs", self.epochs, least=1)
        check_whole("batch_size", self.batch_size, least=2)
        if self.labelled_share is not None:
            check_range("labelled_share", self.labelled_share, above=0, most=1)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("label_learning_rate", self.label_learning_rate, above=0)
        check_range("kl_warmup", self.kl_warmup, least=0, most=1)
        check_whole("patience", self.patience, least=0)
        check_whole("num_nodes", self.num_nodes, least=1)
        check_seed(self.seed)
        for name, least in (
            ("teachers", 0),
            ("teacher_steps", 1),
            ("teacher_batch_size", 2),
            ("teacher_width", 1),
            ("shift", 0),
        ):
            check_whole(name, getattr(self, name), least=least)
        check_range("teacher_dropout", self.teacher_dropout, least=0, below=1)
        check_range("teacher_weight_decay", self.teacher_weight_decay, least=0)
        check_range("taught_labelled_share", self.taught_labelled_share, above=0, most=1)
        check_range("taught_weight_decay", self.taught_weight_decay, least=0)
        check_range("color", self.color, least=0, most=1)
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
            "table" or "hugging_face"; "auto" recognises it.
        csv: CSV or Parquet table with the labels of a folder of images.
        labels: label columns, as a list or separated by commas.
        exclude: columns that are neither labels nor inputs, as a list or separated by commas.
        kinds: "binary", "categorical" or "continuous" by label, for labels whose kind is not to be inferred.
        missing_values: values that mean not observed, such as -1 or Unknown: one, several separated by commas, or by label.
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

    reader: Reader = "auto"
    csv: str | None = None
    labels: list[str] | str | None = None
    exclude: list[str] | str | None = None
    kinds: dict[str, str] | None = None
    missing_values: list[int | float | str] | dict[str, Any] | int | float | str | None = None
    delimiter: dict[str, str] | str | None = None
    id_column: str | None = None
    size: int | None = None
    absent: Literal["error", "ignore"] | None = None
    labelled: int | float | None = None
    labelled_per_class: int | None = None
    validation: int | float | None = None
    test: int | float | None = None
    group_column: str | None = None
    split_column: str | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self.seed)
        for name in ("labelled", "validation", "test"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least=0)
        if self.labelled_per_class is not None:
            check_whole("labelled_per_class", self.labelled_per_class, least=1)
        if self.size is not None:
            check_whole("size", self.size, least=1, most=LARGEST_SIDE)
        if self.labelled is not None and self.labelled_per_class is not None:
            raise ValueError("labelled and labelled_per_class are both given; give one of them")


@dataclass(frozen=True)
class DataPlace:
    """Where the data of a run are now; None where the run folder says it.

    Args:
        source: folder of images, or table, instead of the one that the run was trained on.
        csv: table with the labels of a folder of images, instead of that of training.
    """

    source: str | None = None
    csv: str | None = None


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
                least = 1 if setting.name == "evidence_samples" else 2
                check_whole(setting.name, getattr(self, setting.name), least=least, most=LARGEST_SAMPLE)
        if self.conditions * self.repeats > LARGEST_SAMPLE:
            raise ValueError(f"conditions: conditions × repeats must be at most {LARGEST_SAMPLE:,} generated images")
        check_types(self)
        check_seed(self.seed)


def settings_from(kind: type[Settings], section: Any, where: str) -> Settings:
    """Settings of a section of a file.

    Args:
        kind: class of the settings.
        section: what the file has, which may be anything.
        where: what messages call the section, such as "config.yaml: model".

    Raises:
        ValueError: the section is not a mapping, has unknown keys, or has values of wrong type or range.
    """
    known = [setting.name for setting in fields(kind)]
    if not isinstance(section, Mapping):
        raise ValueError(f"{where}: expected a mapping with keys such as {', '.join(known[:3])}, found {first_of(section)}")
    unknown = [str(key) for key in section if key not in known]
    if unknown:
        shown = ", ".join(unknown)[:LONGEST_VALUE_SHOWN]
        raise ValueError(
            f"{where}: unknown key {shown} (written by another version of this package, or changed); "
            f"the keys are {', '.join(known)}"
        )
    try:
        return kind(**section)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


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


def check_types(settings: Any) -> None:
    """Raise `ValueError` unless settings have the types of their fields; numbers are checked where their ranges are known."""
    hints = get_type_hints(type(settings))
    for setting in fields(settings):
        check_type(setting.name, getattr(settings, setting.name), hints[setting.name], numbers=False)


def check_type(name: str, value: Any, hint: Any, numbers: bool = True) -> None:
    """Raise `ValueError` unless a value has the type of a type hint.

    Args:
        name: what messages call the value.
        value: the value, from a file or the command line.
        hint: a type, or a union, literal, list or mapping of types; classes of other kinds are not checked.
        numbers: whether numbers are told from texts; otherwise both are accepted for a number.
    """
    expected = alternatives(hint)
    if not any(matches(value, kind, numbers) for kind in expected):
        raise ValueError(f"{name}: expected {' or '.join(in_words(expected))}, found {first_of(value)}")


def alternatives(hint: Any) -> list[Any]:
    """The types that a type hint allows: those of a union, and the values of literals."""
    if get_origin(hint) in (Union, UnionType, Literal):
        return [kind for part in get_args(hint) for kind in alternatives(part)]
    return [hint]


def matches(value: Any, kind: Any, numbers: bool) -> bool:
    """Whether a value has a type without alternatives (see `check_type`)."""
    if isinstance(kind, str | int) or kind is None:  # of a literal
        return type(value) is type(kind) and bool(value == kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and any(matches(part, kind, numbers) for kind in alternatives(inner[1]))
            for name, part in value.items()
        )
    if origin in (list, tuple, Sequence):
        kinds = [kind for part in inner if part is not Ellipsis for kind in alternatives(part)]
        fixed = origin is tuple and Ellipsis not in inner
        return (
            isinstance(value, list | tuple)
            and (not fixed or len(value) == len(inner))
            and all(any(matches(part, kind, numbers) for kind in kinds) for part in value)
        )
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number if numbers else not isinstance(value, Mapping | list | tuple | None)
    return isinstance(value, kind) if kind in WORDS and kind is not Any else True


def in_words(kinds: list[Any]) -> list[str]:
    """Types in words; the values of literals together."""
    values = [str(kind) for kind in kinds if isinstance(kind, str | int)]
    words = [f"one of {', '.join(values)}"] if values else []
    known = [get_origin(kind) or kind for kind in kinds if not isinstance(kind, str | int)]
    return words + list(dict.fromkeys(WORDS[kind] for kind in known if kind in WORDS))


def check_seed(seed: int) -> None:
    """Raise `ValueError` unless a seed is a whole number that all random number generators take."""
    check_whole("seed", seed, least=0, most=LARGEST_SEED)


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
        raise ValueError(f"{name}: expected a number {wanted}, found {first_of(value)}")


def check_whole(name: str, value: int, least: int, most: int = LARGEST_COUNT) -> None:
    """Raise `ValueError` unless a setting is a whole number, neither too small nor too large."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number, at least {least}, found {first_of(value)}")
    if value > most:
        raise ValueError(f"{name}: expected a whole number, at most {most:,}, found {first_of(value)}")
