"""Teachers: classifiers of the few labelled rows, trained before the CCVAE. See `ccvae.training.few_labels`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.model.networks.build import HIDDEN_UNITS_PER_WIDTH
from ccvae.model.networks.mlp import mlp_encoder
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.training.classifiers import PointEncoder, classifier
from ccvae.training.contrastive import FOLDER, pretrained_features
from ccvae.training.duration import labelled_rows
from ccvae.training.few_labels import Recipe, augmentation_for
from ccvae.training.first_stages import Tensors, Train, finished, in_epochs, result_of, train_alone
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = ["begun", "predictions_file", "predictions_of", "teach", "teacher", "train_classifier", "trained_teacher"]

LEARNING_RATE = 1e-2


def teacher(data: Dataset, recipe: Recipe, seed: int, features: Tensors | None = None) -> CCVAE:
    """A teacher's classifier: `pooled_encoder` for images, an MLP for vectors.

    Args:
        data: whose inputs and labels they are.
        recipe: sizes and dropout.
        seed: of the initial weights.
        features: weights to start from; random ones if None.
    """
    model = classifier(data, seed, recipe.width, recipe.dropout, pooled_means)
    if features is not None:
        cast(PointEncoder, model.encoder).means.load_state_dict(features, strict=False)  # all but the last layer
    return model


def pooled_means(shape: tuple[int, ...], sizes: Sequence[int], width: int, dropout: float) -> nn.Module:
    """A teacher's network."""
    if len(shape) == 3:
        return pooled_encoder(shape, sum(sizes), width, dropout)
    return mlp_encoder(shape, sum(sizes), HIDDEN_UNITS_PER_WIDTH * width, dropout)


def begun(folder: Path) -> bool:
    """Whether teachers or their features have been trained, or begun to be, in a folder of checkpoints."""
    return any(any(folder.glob(f"{name}/*")) for name in (FOLDER, "teacher-*"))


def teach(data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, train: Train) -> SoftTargets:
    """Train the teachers, from features of all rows if the recipe says so, and give what they predict for every training row.

    Args:
        data: whose labelled training rows they learn from.
        config: how the CCVAE is trained: devices, precision and seed are the same.
        recipe: how the teachers are trained.
        stage: the CCVAE's, beside whose checkpoints each teacher has a folder of its own. If it resumes, teachers that are
            trained are skipped, and the one that was interrupted goes on.
        train: what trains a stage, `ccvae.training.fit.train`.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    numbers = range(1, recipe.teachers + 1)
    all_trained = all(finished(stage, predictions_file("teacher", number)) for number in numbers)
    features = None if all_trained else pretrained_features(data, config, recipe, stage, train)
    tables = []
    for number in numbers:
        trained = partial(trained_teacher, data, config, recipe, number=number, train=train, features=features)
        title = f"teacher {number} of {recipe.teachers}"
        tables.append(predictions_of(predictions_file("teacher", number), title, data, recipe.flip, stage, trained))
    return SoftTargets(data.space, data.splits["train"], mean_predictions(tables, data.space))


def predictions_file(who: str, number: int) -> str:
    """Where the predictions of a teacher or a student are kept, beside the checkpoints of the CCVAE."""
    return f"{who}-{number}/predictions.safetensors"


def predictions_of(
    file: str, title: str, data: Dataset, flip: bool, stage: Stage, trained: Callable[[Stage], tuple[CCVAE, bool]]
) -> pd.DataFrame:
    """What a classifier predicts for all training rows; it is trained first unless a resumed run has its predictions.

    Args:
        file: from `predictions_file`.
        title: of its progress bar.
        data: whose training rows they are.
        flip: whether it is trained on mirrored images too.
        stage: the CCVAE's.
        trained: trains it in a stage of its own, and says whether training is to stop now.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """

    def predictions(own: Stage) -> tuple[Tensors, bool]:
        model, stopped = trained(own)
        return {"predictions": torch.from_numpy(predicted(model, data, flip))}, stopped

    columns = [column for label in data.space for column in label.output_columns]
    like = {"predictions": torch.empty(len(data.splits["train"]), len(columns), device="meta")}
    return pd.DataFrame(result_of(file, title, like, stage, predictions)["predictions"].numpy(), columns=columns)


def trained_teacher(
    data: Dataset,
    config: TrainConfig,
    recipe: Recipe,
    stage: Stage,
    number: int,
    train: Train,
    features: Tensors | None = None,
) -> tuple[CCVAE, bool]:
    """A classifier trained on the labelled training rows. Arguments as `teach`'s; `number` tells teachers apart.

    `features` are what it starts from; random weights if None.

    Returns:
        The classifier, and whether training is to stop now.
    """
    length = in_epochs(recipe.steps, recipe.labelled // recipe.batch_size)
    seed = mixed_seed(config.seed, number) % 2**31
    settings = replace(
        config,
        epochs=length.epochs,
        batch_size=recipe.batch_size,
        labelled_share=None,
        learning_rate=LEARNING_RATE,
        weight_decay=recipe.weight_decay,
        seed=seed,
    )
    model = teacher(data, recipe, seed, features)
    return model, train_classifier(
        model, data, labelled_rows(data), settings, recipe, replace(stage, passes=length.passes), train
    )


def train_classifier(
    model: CCVAE, data: Dataset, rows: np.ndarray, config: TrainConfig, recipe: Recipe, stage: Stage, train: Train
) -> bool:
    """Train a classifier on log q(y|x) of rows that may be changed as the recipe says: see `train_alone`."""
    own = replace(stage, augmentation=augmentation_for(config, data, recipe))
    return train_alone(model, data, rows, config, own, train, log_likelihood_of_labels)


@torch.no_grad()
def predicted(model: CCVAE, data: Dataset, flip: bool) -> np.ndarray:
    """A classifier's q(y|x) of all training rows, float32 `(rows, outputs)`.

    It is the mean over an image and its mirror image, if the classifier was trained on both.
    """
    parts = []
    for x, _ in SplitBatches(data, "train", 500):
        tables = [model.predict_proba(each) for each in ((x, x.flip(3)) if flip else (x,))]
        parts.append(mean_predictions(tables, data.space))
    return np.concatenate(parts)
