"""Students: classifiers of all training rows that learn from soft targets, one after the other.

A teacher has seen the labelled rows only. A student with a larger network sees every row, with the teachers' probabilities for
labels that are missing, and usually gets better than they are; so does a second one that learns from the first. Everything but
the label blocks' encoder is left out, so a step costs a fraction of the CCVAE's. See `ccvae.training.few_labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.model.ccvae import CCVAE
from ccvae.model.networks.attention import LabelAttention
from ccvae.training.classifiers import classifier
from ccvae.training.duration import steps_per_epoch
from ccvae.training.few_labels import Recipe, taught_config
from ccvae.training.first_stages import Train, in_epochs
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage
from ccvae.training.teachers import pooled_means, predictions_file, predictions_of, train_classifier

__all__ = ["student", "teach", "trained_student"]

LEARNING_RATE = 7e-3
WIDTH = 32
"""Channels of a student's first convolution, or units of its hidden layers divided by eight."""
SEED = 100
"""Seeds of students follow those of teachers."""


class AttendedMeans(nn.Module):
    """The means of `LabelAttention`, without its scales.

    Args:
        attention: the network, whose outputs are means, then scales.
    """

    def __init__(self, attention: LabelAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """Means of all blocks, `(batch, latents)`."""
        means: Tensor = self.attention(x).chunk(2, -1)[0]
        return means


def attended_means(shape: tuple[int, ...], sizes: Sequence[int], width: int, dropout: float) -> nn.Module:
    """A student's network: `LabelAttention` for images, that of a teacher for vectors."""
    if len(shape) != 3:
        return pooled_means(shape, sizes, width, dropout)
    return AttendedMeans(LabelAttention(shape, sizes, width, dropout))


def student(data: Dataset, recipe: Recipe, seed: int) -> CCVAE:
    """A student's classifier."""
    return classifier(data, seed, WIDTH, recipe.student_dropout, attended_means)


def teach(data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, train: Train, targets: SoftTargets) -> SoftTargets:
    """Train the students, and give what the last of them predicts for every training row.

    Arguments and errors as those of `ccvae.training.teachers.teach`; `targets` are what the first student learns from, and the
    result if there are no students.
    """
    for number in range(1, recipe.students + 1):
        trained = partial(trained_student, data, config, recipe, number=number, train=train)
        title, taught = f"student {number} of {recipe.students}", replace(stage, targets=targets)
        predictions = predictions_of(predictions_file("student", number), title, data, recipe.flip, taught, trained)
        targets = SoftTargets(data.space, data.splits["train"], mean_predictions([predictions], data.space))
    return targets


def trained_student(
    data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, number: int, train: Train
) -> tuple[CCVAE, bool]:
    """A classifier trained on all training rows, with the soft targets of its stage. Arguments as `teach`'s.

    Returns:
        The classifier, and whether training is to stop now.
    """
    taught = taught_config(config, recipe)
    length = in_epochs(recipe.student_steps, steps_per_epoch(taught, data))
    seed = mixed_seed(config.seed, SEED + number) % 2**31
    settings = replace(taught, epochs=length.epochs, learning_rate=LEARNING_RATE, seed=seed)
    model = student(data, recipe, seed)
    own = replace(stage, passes=length.passes)
    return model, train_classifier(model, data, data.splits["train"], settings, recipe, own, train)
