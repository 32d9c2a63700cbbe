"""Few labels: classifiers trained on the labelled rows teach the CCVAE what the unlabelled rows show.

With few labelled rows, the encoder of a CCVAE memorizes them and then follows the reconstruction. So training has stages:

1. *Pretraining*, for images of which at most 150 are labelled: a network learns to recognise images by random views of them,
   without labels (`ccvae.training.contrastive`), and teachers start from its features.
2. *Teachers*: classifiers with different seeds, one by default, maximize log q(y|x) of the labelled rows, under strong dropout
   and weight decay.
3. Their averaged q(y|x) is the *soft target* of every missing label (`ccvae.data.soft_targets`; distillation: Hinton et al.,
   2015; ensembles: Lakshminarayanan et al., 2017). What counts is the cell, not the row: any pattern of labels may be missing.
4. *Students*, larger classifiers, one by default, learn from all rows one after the other, and the q(y|x) of each are the soft
   targets from then on. Each is usually better than what it learned from, for it sees many more images (Furlanello et al.,
   2018; Xie et al., 2020); a label that the teacher hardly reads can get worse.
5. The CCVAE is trained as usual. Its exact bound takes a soft target as an observed label.

Each stage has its own checkpoints, so that a resumed run is exactly the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.training.augmentation import Augmentation
from ccvae.training.duration import all_steps, labelled_rows, steps_per_pass

__all__ = ["Recipe", "augmentation_for", "enough_pretraining", "labels_are_few", "recipe_for", "taught_config"]

FEW = 0.25
"""Labels are few where fewer than this share of the training split's cells are observed."""
MOST_PRETRAINED, PRETRAINING_STEPS, MOST_PRETRAINING_PASSES = 150, 1200, 100
"""Labelled rows up to which features of all images are worth learning first; and for how long, at most."""
PRETRAINING_BATCH = 200
LEAST_TEACHER_STEPS, TEACHER_STEPS_A_ROW = 250, 6
"""A teacher that starts from such features forgets them if it is trained for longer than few labels need."""


@dataclass(frozen=True)
class Recipe:
    """What is done about few labels, as a run's `config.yaml` has it.

    Args:
        labelled: training rows with any observed label.
        pretraining_steps: steps in which features of all images are learned.
        teachers: how many classifiers teach.
        steps: of each.
        batch_size: rows per step.
        width: channels of a teacher's first convolution, or units of a hidden layer divided by eight.
        dropout: of a teacher's last features.
        weight_decay: of a teacher's weights.
        flip: whether teachers, students and CCVAE see mirrored images.
        students: how many classifiers learn from the teachers, one from the other.
        student_steps: of each.
        student_dropout: of a student's features.
        taught_labelled_share: share of labelled rows in the batches of students and of the CCVAE; None samples all rows
            uniformly.
        taught_weight_decay: of the weights of students and of the CCVAE.
        taught_passes: passes over the unlabelled rows that make an epoch, which keeps its number of steps about the same.
    """

    labelled: int
    pretraining_steps: int
    teachers: int
    steps: int
    batch_size: int
    width: int
    dropout: float
    weight_decay: float
    flip: bool
    students: int
    student_steps: int
    student_dropout: float
    taught_labelled_share: float | None
    taught_weight_decay: float
    taught_passes: int


def labels_are_few(data: Dataset) -> bool:
    """Whether fewer than a quarter of the training split's labels are observed."""
    labels = data.labels[data.splits["train"]]
    return bool(len(labels) and (~np.isnan(labels)).mean() < FEW)


def recipe_for(config: TrainConfig, data: Dataset) -> Recipe | None:
    """The recipe for a data set; None if it has labels enough or none, or no teachers are configured."""
    few = labels_are_few(data) if config.few_labels is None else config.few_labels
    if not few or not config.teachers:
        return None
    labelled = len(labelled_rows(data))
    if labelled < 2:
        return None  # nothing to learn from; training says what is wrong
    share = taught_share(config)
    rows = len(data.splits["train"])
    before, after = (steps_per_pass(rows, labelled, config.batch_size, each) for each in (config.labelled_share, share))
    pretraining = pretraining_steps(config, data, labelled)
    return Recipe(
        labelled=labelled,
        pretraining_steps=pretraining,
        teachers=config.teachers,
        steps=teacher_steps(config, labelled, pretraining),
        batch_size=min(config.teacher_batch_size, labelled),
        width=config.teacher_width,
        dropout=config.teacher_dropout,
        weight_decay=config.teacher_weight_decay,
        flip=bool(flipped(config, data)),
        students=config.students,
        student_steps=min(config.student_steps, all_steps(config, data)),
        student_dropout=config.student_dropout,
        taught_labelled_share=share,
        taught_weight_decay=config.taught_weight_decay,
        taught_passes=max(1, round(before / after)),
    )


def pretraining_steps(config: TrainConfig, data: Dataset, labelled: int) -> int:
    """Steps of pretraining: as configured, or chosen by the number of labelled rows; none for vectors."""
    if len(data.input_shape) != 3:
        return 0
    if config.pretraining_steps is not None:
        return config.pretraining_steps
    return enough_pretraining(data) if labelled <= MOST_PRETRAINED else 0


def enough_pretraining(data: Dataset) -> int:
    """Steps of pretraining where it is done by default."""
    steps_a_pass = max(1, len(data.splits["train"]) // PRETRAINING_BATCH)
    return min(PRETRAINING_STEPS, MOST_PRETRAINING_PASSES * steps_a_pass)


def teacher_steps(config: TrainConfig, labelled: int, pretraining: int) -> int:
    """Steps of each teacher: as configured, and not more than few labelled rows need if it starts from pretrained features."""
    enough = max(LEAST_TEACHER_STEPS, TEACHER_STEPS_A_ROW * labelled)
    return min(config.teacher_steps, enough) if pretraining else config.teacher_steps


def taught_share(config: TrainConfig) -> float | None:
    """Share of labelled rows in the CCVAE's batches; None if it would leave no row of either kind."""
    if config.labelled_share is None:
        return None
    share = min(config.labelled_share, config.taught_labelled_share)
    return share if 0 < round(share * config.batch_size) < config.batch_size else None


def taught_config(config: TrainConfig, recipe: Recipe) -> TrainConfig:
    """How students and the CCVAE are trained on soft targets."""
    return replace(config, labelled_share=recipe.taught_labelled_share, weight_decay=recipe.taught_weight_decay)


def flipped(config: TrainConfig, data: Dataset) -> bool:
    """Whether images are mirrored when labels are few: as configured, or else as the data allow."""
    return len(data.input_shape) == 3 and (data.mirrored if config.flip is None else config.flip)


def augmentation_for(config: TrainConfig, data: Dataset, recipe: Recipe | None) -> Augmentation:
    """What training images are changed by: as configured; images are mirrored by default only when labels are few."""
    flip = bool(config.flip) if recipe is None else recipe.flip
    return Augmentation(flip, config.shift, config.color)
