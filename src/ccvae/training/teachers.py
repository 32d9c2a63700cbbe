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
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.distributed.shard import is_first_process
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.model.networks.build import HIDDEN_UNITS_PER_WIDTH
from ccvae.model.networks.mlp import mlp_encoder
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.storage.atomic import writing
from ccvae.training.callbacks import Interrupted
from ccvae.training.checkpoint_files import LAST, PREVIOUS
from ccvae.training.classifiers import PointEncoder, Train, classifier, in_epochs
from ccvae.training.contrastive import FOLDER, Features, pretrained_features
from ccvae.training.duration import labelled_rows
from ccvae.training.few_labels import Recipe, augmentation_for
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = ["begun", "predictions_of", "teach", "teacher", "train_classifier", "trained_teacher"]

LEARNING_RATE = 1e-2
PREDICTIONS = "predictions.safetensors"


def teacher(data: Dataset, recipe: Recipe, seed: int, features: Features | None = None) -> CCVAE:
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
    tables, numbers = [], range(1, recipe.teachers + 1)
    trained_before = stage.resume and stage.checkpoints is not None
    folders = [stage.checkpoints / f"teacher-{number}" for number in numbers] if stage.checkpoints is not None else []
    finished = trained_before and all((folder / PREDICTIONS).exists() for folder in folders)
    features = None if finished else pretrained_features(data, config, recipe, stage, train)
    for number in numbers:
        trained = partial(trained_teacher, data, config, recipe, number=number, train=train, features=features)
        title = f"teacher {number} of {recipe.teachers}"
        tables.append(predictions_of(f"teacher-{number}", title, data, recipe.flip, stage, trained))
    return SoftTargets(data.space, data.splits["train"], mean_predictions(tables, data.space))


def predictions_of(
    name: str, title: str, data: Dataset, flip: bool, stage: Stage, trained: Callable[[Stage], tuple[CCVAE, bool]]
) -> pd.DataFrame:
    """What a classifier predicts for all training rows; it is trained first unless a resumed run has its predictions.

    Args:
        name: of the classifier's folder, beside the checkpoints of the CCVAE.
        title: of its progress bar.
        data: whose training rows they are.
        flip: whether it is trained on mirrored images too.
        stage: the CCVAE's.
        trained: trains it in a stage of its own, and says whether training is to stop now.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    folder = None if stage.checkpoints is None else stage.checkpoints / name
    if stage.resume and folder is not None and (folder / PREDICTIONS).exists():
        return read_predictions(folder / PREDICTIONS, data)
    try:
        model, stopped = trained(replace(stage, checkpoints=folder, title=title))
    except Interrupted as interrupt:
        raise Interrupted(f"{title}: {interrupt}") from None
    predictions = predicted(model, data, flip)
    if folder is not None and is_first_process():
        with writing(folder / PREDICTIONS) as path:
            path.write_bytes(to_bytes({"predictions": torch.tensor(predictions.to_numpy(dtype=np.float32)).contiguous()}))
        for kept in (LAST, PREVIOUS):
            (folder / kept).unlink(missing_ok=True)
    if stopped:
        raise Interrupted(f"stopped after {title}")
    return predictions


def trained_teacher(
    data: Dataset,
    config: TrainConfig,
    recipe: Recipe,
    stage: Stage,
    number: int,
    train: Train,
    features: Features | None = None,
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
    """Train a classifier on log q(y|x) alone, without validation.

    Args:
        model: the classifier.
        data: what it learns from.
        rows: of its training rows.
        config: how it is trained.
        recipe: says what images are changed by.
        stage: its own.
        train: see `teach`.

    Returns:
        Whether training is to stop now.
    """
    nothing = rows[:0]
    shown = replace(data, splits={"train": rows, "validation": nothing, "test": nothing})
    settings = replace(
        config, classification_weight=1.0, intervention_weight=0.0, elsewhere_weight=1.0, redrawn_share=0.0, patience=0
    )
    own = replace(
        stage,
        metrics=stage.checkpoints and stage.checkpoints / "metrics.csv",
        augmentation=augmentation_for(config, data, recipe),
    )
    return train(model, shown, settings, own, log_likelihood_of_labels)


@torch.no_grad()
def predicted(model: CCVAE, data: Dataset, flip: bool) -> pd.DataFrame:
    """A teacher's q(y|x) of all training rows; the mean over an image and its mirror image, if it was trained on both."""
    parts = []
    for x, _ in SplitBatches(data, "train", 500):
        tables = [model.predict_proba(each) for each in ((x, x.flip(3)) if flip else (x,))]
        columns = list(tables[0].columns)
        parts.append(pd.DataFrame(mean_predictions(tables, data.space), columns=columns))
    return pd.concat(parts, ignore_index=True)


def read_predictions(path: Path, data: Dataset) -> pd.DataFrame:
    """Predictions that a teacher wrote; raises `ValueError` if they are damaged, or of other rows or labels."""
    columns = [column for label in data.space for column in label.output_columns]
    shape = (len(data.splits["train"]), len(columns))
    try:
        predictions = load_file(path)["predictions"]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged, or no predictions of a teacher ({error}); delete it and resume") from None
    if tuple(predictions.shape) != shape or not predictions.is_floating_point() or not predictions.isfinite().all():
        raise ValueError(f"{path}: expected {shape[0]} rows of {shape[1]} finite numbers; delete it and resume")
    return pd.DataFrame(predictions.numpy(), columns=columns)
