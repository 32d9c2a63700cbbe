"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ccvae.config.validation import check_range, check_seed, check_types, check_whole

__all__ = ["Estimator", "LoggerName", "Precision", "TrainConfig"]

Estimator = Literal["exact", "paper"]
LoggerName = Literal["tensorboard", "mlflow", "wandb"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training.

    Args:
        epochs: passes over the training split (over its unlabelled rows if `labelled_share` applies). None makes at least 2,000
            steps if 4 to 200 epochs do; the run folder's settings have the number.
        batch_size: rows per step, over all devices.
        labelled_share: minimum fraction of rows with labels in each batch; None samples all rows uniformly.
        balanced: sample labelled rows of rare values more often; with one label, all its values equally often. The
            probabilities q(y|x) then assume data in which these values are as frequent as in the batches.
        learning_rate: peak learning rate of the networks (Adam with decoupled weight decay, one cycle). Networks without
            normalisation, such as "paper", need about a tenth of the default.
        label_learning_rate: learning rate of classifiers and conditional priors, as a multiple of `learning_rate`.
        weight_decay: weight decay of the networks' weights. With teachers it is `taught_weight_decay`.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        estimator: "exact", or "paper" for the paper's importance-weighted estimator.
        classification_weight: weight of log q(y|x) in the objective; 1 is the bound itself. None is 1 for the paper's
            estimator; for the exact one it is a tenth of the number of input elements divided by the likelihood's scale, at
            least 10, so that labels count the same for inputs of any size and units.
        intervention_weight: weight of the intervention loss (see `ccvae.training.intervention_losses`): edits and conditions
            become visible, at the cost of a few nats. 0 is the bound alone. None is 0 for the paper's estimator; for the exact
            one it is 0.1 % of the number of input elements divided by the likelihood's scale.
        label_weights: additional weights of log q(y|x) by label name; 1 for labels that are not named.
        kl_weight: weight of all terms except reconstruction and classification; 1 is the bound itself.
        elsewhere_weight: factor on the KL of the style, and of blocks of binary labels that are absent. 1 is the
            bound itself; larger values move how labels show into their own blocks, and images blur.
        redrawn_share: share of rows in which the decoder sees other draws of the blocks of absent binary labels, from
            p(z|y = 0): what is shown then cannot be stored in the block of a label that is absent. None is 0 for the paper's
            estimator, and 0.5 for the exact one.
        few_labels: whether to train teachers, classifiers of the labelled rows whose probabilities stand in for missing labels,
            and students of theirs (see `ccvae.training.few_labels`). None trains them if less than a quarter of the training
            labels are observed.
        teachers: number of teachers; 0 trains none, and no students.
        pretraining_steps: steps in which features for teachers are learned from all images, without labels (see
            `ccvae.training.contrastive`); 0 has none. None is 1,200 (or a hundred passes, if those are fewer steps) if data are
            images, of which at most 150 are labelled; else 0.
        teacher_steps: training steps of each teacher; with pretraining, they are limited to six times the number of labelled
            rows, or to 250 if rows are very few.
        teacher_batch_size: rows per step of a teacher.
        teacher_width: channels of a teacher's first convolution, or units of its hidden layers divided by eight.
        teacher_dropout: probability with which a teacher's last features are dropped in training.
        teacher_weight_decay: weight decay of a teacher's weights.
        students: number of classifiers that learn, one after the other, from what the teachers (or the student before) predict
            for all rows; the CCVAE learns from the last. 0 trains none.
        student_steps: training steps of each student, at most as many as the CCVAE's.
        student_dropout: probability with which a student's features are dropped in training.
        taught_labelled_share: `labelled_share` once teachers have labelled the other rows; with a larger one, the few labelled
            rows are repeated until they are memorized.
        taught_weight_decay: `weight_decay` of students and of the CCVAE that they teach.
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
        logger: "tensorboard", "mlflow" or "wandb" log metrics and settings beside `metrics.csv` (see
            `ccvae.training.loggers`); they need a run folder.
        log_pictures: epochs between pictures of reconstructions, interventions and traversals in that log; 0 logs none. Each
            time takes about as long as predicting a few hundred images, and is logged as `pictures/seconds`.
    """

    epochs: int | None = None
    batch_size: int = 50
    labelled_share: float | None = 0.5
    balanced: bool = False
    learning_rate: float = 7e-3
    label_learning_rate: float = 5.0
    weight_decay: float = 0.05
    gradient_clip: float = 0.0
    estimator: Estimator = "exact"
    classification_weight: float | None = None
    intervention_weight: float | None = None
    label_weights: dict[str, float] = field(default_factory=dict)
    kl_weight: float = 1.0
    elsewhere_weight: float = 1.0
    redrawn_share: float | None = None
    few_labels: bool | None = None
    teachers: int = 1
    pretraining_steps: int | None = None
    teacher_steps: int = 2000
    teacher_batch_size: int = 50
    teacher_width: int = 24
    teacher_dropout: float = 0.6
    teacher_weight_decay: float = 0.5
    students: int = 1
    student_steps: int = 1500
    student_dropout: float = 0.3
    taught_labelled_share: float = 0.1
    taught_weight_decay: float = 0.15
    flip: bool | None = None
    shift: int = 0
    color: float = 0.0
    kl_warmup: float = 0.4
    patience: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    logger: LoggerName | None = None
    log_pictures: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.epochs is not None:
            check_whole("epochs", self.epochs, least=1)
        check_whole("batch_size", self.batch_size, least=2)
        if self.labelled_share is not None:
            check_range("labelled_share", self.labelled_share, above=0, most=1)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("label_learning_rate", self.label_learning_rate, above=0)
        check_range("kl_warmup", self.kl_warmup, least=0, most=1)
        check_whole("patience", self.patience, least=0)
        check_whole("log_pictures", self.log_pictures, least=0)
        check_whole("num_nodes", self.num_nodes, least=1)
        check_seed(self.seed)
        for name, least in (
            ("teachers", 0),
            ("teacher_steps", 1),
            ("teacher_batch_size", 2),
            ("teacher_width", 1),
            ("students", 0),
            ("student_steps", 1),
            ("shift", 0),
        ):
            check_whole(name, getattr(self, name), least=least)
        if self.pretraining_steps is not None:
            check_whole("pretraining_steps", self.pretraining_steps, least=0)
        check_range("teacher_dropout", self.teacher_dropout, least=0, below=1)
        check_range("student_dropout", self.student_dropout, least=0, below=1)
        check_range("teacher_weight_decay", self.teacher_weight_decay, least=0)
        check_range("taught_labelled_share", self.taught_labelled_share, above=0, most=1)
        check_range("taught_weight_decay", self.taught_weight_decay, least=0)
        check_range("color", self.color, least=0, most=1)
        for name in ("weight_decay", "gradient_clip", "kl_weight"):
            check_range(name, getattr(self, name), least=0)
        check_range("elsewhere_weight", self.elsewhere_weight, least=1)
        if self.redrawn_share is not None:
            check_range("redrawn_share", self.redrawn_share, least=0, most=1)
        for name in ("classification_weight", "intervention_weight"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least=0)
        for name, weight in self.label_weights.items():
            check_range(f"label_weights of {name}", weight, least=0)
        if self.label_weights and self.estimator != "exact":
            raise ValueError(
                "label_weights: only the exact estimator can weigh labels; leave them out, or set estimator to exact"
            )
