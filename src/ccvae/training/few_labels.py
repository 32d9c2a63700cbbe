"""Few labels: classifiers trained on the labelled rows teach the CCVAE what the unlabelled rows show.

With few labelled rows, the encoder of a CCVAE memorizes them and then follows the reconstruction. So training has stages:

1. *Teachers*: several classifiers with different seeds maximize log q(y|x) of the labelled rows, under strong dropout and
   weight decay.
2. Their averaged q(y|x) is the *soft target* of every missing label (`ccvae.data.soft_targets`; distillation: Hinton et al.,
   2015; ensembles: Lakshminarayanan et al., 2017). What counts is the cell, not the row: any pattern of labels may be missing.
3. The CCVAE is trained as usual. Its exact bound takes a soft target as an observed label.

Each stage has its own checkpoints, so that a resumed run is exactly the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from ccvae.config import ModelConfig, TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.distributed.shard import is_first_process
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import build_encoder
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.model.objective import Objective
from ccvae.storage.atomic import writing
from ccvae.training.augmentation import Augmentation
from ccvae.training.callbacks import Interrupted
from ccvae.training.checkpoint_files import LAST, PREVIOUS
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = [
    "Recipe",
    "augmentation_for",
    "begun",
    "labels_are_few",
    "recipe_for",
    "taught_config",
    "teach",
    "teacher",
    "trained_teacher",
]

FEW = 0.25
"""Labels are few where fewer than this share of the training split's cells are observed."""
STEPS_AN_EPOCH = 200
LEARNING_RATE = 1e-2
PREDICTIONS = "predictions.safetensors"


class Train(Protocol):
    """What trains one stage: `ccvae.training.fit.train`."""

    def __call__(
        self, model: LatentModel, data: Dataset, config: TrainConfig, stage: Stage, objective: Objective[Any] | None, /
    ) -> bool:
        """Train."""
        ...


@dataclass(frozen=True)
class Recipe:
    """What is done about few labels, as a run's `config.yaml` has it.

    Args:
        labelled: training rows with any observed label.
        teachers: how many classifiers teach.
        steps: of each.
        batch_size: rows per step.
        width: channels of a teacher's first convolution, or units of a hidden layer divided by eight.
        dropout: of a teacher's last features.
        weight_decay: of a teacher's weights.
        flip: whether teachers and CCVAE see mirrored images.
        taught_labelled_share: share of labelled rows in the CCVAE's batches; None samples all rows uniformly.
        taught_weight_decay: of the CCVAE's weights.
        taught_passes: passes over the unlabelled rows that make an epoch, which keeps its number of steps about the same.
    """

    labelled: int
    teachers: int
    steps: int
    batch_size: int
    width: int
    dropout: float
    weight_decay: float
    flip: bool
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
    return Recipe(
        labelled=labelled,
        teachers=config.teachers,
        steps=config.teacher_steps,
        batch_size=min(config.teacher_batch_size, labelled),
        width=config.teacher_width,
        dropout=config.teacher_dropout,
        weight_decay=config.teacher_weight_decay,
        flip=bool(flipped(config, data)),
        taught_labelled_share=share,
        taught_weight_decay=config.taught_weight_decay,
        taught_passes=max(1, round(before / after)),
    )


def taught_share(config: TrainConfig) -> float | None:
    """Share of labelled rows in the CCVAE's batches; None if it would leave no row of either kind."""
    if config.labelled_share is None:
        return None
    share = min(config.labelled_share, config.taught_labelled_share)
    return share if 0 < round(share * config.batch_size) < config.batch_size else None


def steps_per_pass(rows: int, labelled: int, batch_size: int, share: float | None) -> float:
    """Steps of a pass over the training rows as `Batches` draws them."""
    if share is None or labelled >= share * rows:
        return rows / batch_size
    return (rows - labelled) / (batch_size - round(share * batch_size))


def taught_config(config: TrainConfig, recipe: Recipe) -> TrainConfig:
    """How the CCVAE is trained on soft targets."""
    return replace(config, labelled_share=recipe.taught_labelled_share, weight_decay=recipe.taught_weight_decay)


def flipped(config: TrainConfig, data: Dataset) -> bool:
    """Whether images are mirrored when labels are few: as configured, or else as the data allow."""
    return len(data.input_shape) == 3 and (data.mirrored if config.flip is None else config.flip)


def augmentation_for(config: TrainConfig, data: Dataset, recipe: Recipe | None) -> Augmentation:
    """What training images are changed by: as configured; images are mirrored by default only when labels are few."""
    flip = bool(config.flip) if recipe is None else recipe.flip
    return Augmentation(flip, config.shift, config.color)


def teacher(data: Dataset, recipe: Recipe, seed: int) -> CCVAE:
    """A classifier with a CCVAE's label blocks and nothing else: `pooled_encoder` for images, an MLP for vectors."""
    torch.manual_seed(seed)
    blank = CCVAE(data.space, data.input_shape, ModelConfig(), nn.Identity(), nn.Identity())
    # only the blocks' latents: no style
    latents = blank.style.start
    config = ModelConfig(latent_dim=latents, width=recipe.width, dropout=recipe.dropout)
    if len(data.input_shape) == 3:
        encoder = pooled_encoder(data.input_shape, 2 * latents, recipe.width, recipe.dropout)
    else:
        encoder = build_encoder(config, data.input_shape)
    model = CCVAE(data.space, data.input_shape, config, encoder, nn.Identity())
    for name, parameter in model.named_parameters():
        if ".prior_" in name:
            parameter.requires_grad_(False)  # log q(y|x) knows no p(z|y), and DDP wants gradients of all that is trained
    return model


def begun(folder: Path) -> bool:
    """Whether teachers have been trained, or begun to be, in a folder of checkpoints."""
    return any(folder.glob("teacher-*/*"))


def teach(data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, train: Train) -> SoftTargets:
    """Train the teachers, and give what they predict for every training row.

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
    tables = []
    for number in range(1, recipe.teachers + 1):
        own = None if stage.checkpoints is None else stage.checkpoints / f"teacher-{number}"
        done = stage.resume and own is not None and (own / PREDICTIONS).exists()
        if not done:
            tables.append(taught_by(data, config, recipe, replace(stage, checkpoints=own), number, train))
        elif own is not None:
            tables.append(read_predictions(own / PREDICTIONS, data))
    return SoftTargets(data.space, data.splits["train"], mean_predictions(tables, data.space))


def taught_by(data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, number: int, train: Train) -> pd.DataFrame:
    """Train one teacher; its predictions for all training rows are given, and written into its folder."""
    title = f"teacher {number} of {recipe.teachers}"
    try:
        model, stopped = trained_teacher(data, config, recipe, replace(stage, title=title), number, train)
    except Interrupted as interrupt:
        raise Interrupted(f"{title}: {interrupt}") from None
    predictions, folder = predicted(model, data, recipe.flip), stage.checkpoints
    if folder is not None and is_first_process():
        with writing(folder / PREDICTIONS) as path:
            path.write_bytes(to_bytes({"predictions": torch.tensor(predictions.to_numpy(dtype=np.float32)).contiguous()}))
        for name in (LAST, PREVIOUS):
            (folder / name).unlink(missing_ok=True)
    if stopped:
        raise Interrupted(f"stopped after {title}")
    return predictions


def trained_teacher(
    data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, number: int, train: Train
) -> tuple[CCVAE, bool]:
    """A classifier trained on the labelled training rows. Arguments as `teach`'s; `number` tells teachers apart.

    Returns:
        The classifier, and whether training is to stop now.
    """
    rows = data.splits["train"]
    few = replace(data, splits={"train": labelled_rows(data), "validation": rows[:0], "test": rows[:0]})
    steps_a_pass = recipe.labelled // recipe.batch_size
    passes = max(1, round(min(STEPS_AN_EPOCH, recipe.steps) / steps_a_pass))
    seed = mixed_seed(config.seed, number) % 2**31
    settings = replace(
        config,
        epochs=max(1, round(recipe.steps / (passes * steps_a_pass))),
        batch_size=recipe.batch_size,
        labelled_share=None,
        learning_rate=LEARNING_RATE,
        weight_decay=recipe.weight_decay,
        classification_weight=1.0,
        intervention_weight=0.0,
        elsewhere_weight=1.0,
        patience=0,
        seed=seed,
    )
    model = teacher(data, recipe, seed)
    own = replace(
        stage,
        metrics=stage.checkpoints and stage.checkpoints / "metrics.csv",
        passes=passes,
        augmentation=Augmentation(recipe.flip, config.shift, config.color),
    )
    stopped = train(model, few, settings, own, log_likelihood_of_labels)
    return model, stopped


def labelled_rows(data: Dataset) -> np.ndarray:
    """Training rows with any observed label."""
    rows = data.splits["train"]
    return np.asarray(rows[(~np.isnan(data.labels[rows])).any(axis=1)])


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
