"""Teachers: classifiers of the few labelled rows, trained before the CCVAE. See `ccvae.training.few_labels`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ccvae.config import ModelConfig, TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.distributed.shard import is_first_process
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.model.label_blocks.discrete import DiscreteBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import HIDDEN_UNITS_PER_WIDTH
from ccvae.model.networks.mlp import mlp_encoder
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.model.objective import Objective
from ccvae.storage.atomic import writing
from ccvae.training.callbacks import Interrupted
from ccvae.training.checkpoint_files import LAST, PREVIOUS
from ccvae.training.duration import labelled_rows
from ccvae.training.few_labels import Recipe, augmentation_for
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = ["begun", "classifier", "in_epochs", "predictions_of", "teach", "teacher", "train_classifier", "trained_teacher"]

STEPS_AN_EPOCH = 200
LEARNING_RATE = 1e-2
BLOCK = 2
"""Dimensions of a label's block in a teacher, which need not hold how the label shows."""
PREDICTIONS = "predictions.safetensors"
NO_SPREAD = -20.0
"""Unconstrained scale of a posterior that is as narrow as one can be."""


class Train(Protocol):
    """What trains one stage: `ccvae.training.fit.train`."""

    def __call__(
        self, model: LatentModel, data: Dataset, config: TrainConfig, stage: Stage, objective: Objective[Any] | None, /
    ) -> bool:
        """Train."""
        ...


class Means(Protocol):
    """What makes the network of a classifier: from inputs to the means of all blocks, `(batch, latents)`."""

    def __call__(self, shape: tuple[int, ...], sizes: Sequence[int], width: int, dropout: float, /) -> nn.Module:
        """Make it, for inputs of a shape and blocks of some dimensions."""
        ...


class PointEncoder(nn.Module):
    """An encoder of means alone, beside the narrowest scales.

    Args:
        means: from inputs to means `(batch, latents)`.
    """

    def __init__(self, means: nn.Module) -> None:
        super().__init__()
        self.means = means

    def forward(self, x: Tensor) -> Tensor:
        """Means, then unconstrained scales: `(batch, 2 * latents)`."""
        means = cast(Tensor, self.means(x))
        return torch.cat([means, torch.full_like(means, NO_SPREAD)], -1)


def teacher(data: Dataset, recipe: Recipe, seed: int) -> CCVAE:
    """A teacher's classifier: `pooled_encoder` for images, an MLP for vectors."""
    return classifier(data, seed, recipe.width, recipe.dropout, pooled_means)


def pooled_means(shape: tuple[int, ...], sizes: Sequence[int], width: int, dropout: float) -> nn.Module:
    """A teacher's network."""
    if len(shape) == 3:
        return pooled_encoder(shape, sum(sizes), width, dropout)
    return mlp_encoder(shape, sum(sizes), HIDDEN_UNITS_PER_WIDTH * width, dropout)


def classifier(data: Dataset, seed: int, width: int, dropout: float, means: Means) -> CCVAE:
    """A CCVAE's label blocks and classifiers on a network of means, and nothing else.

    Of discrete labels, only the means of blocks are learned, and they determine the logits. A classifier that learns its
    weights, and a posterior that learns its scale, soon predict "unknown" for labels that are hard to see. With weights near
    zero no gradient reaches the encoder, and it stays so: with 800 labelled faces the mean AUROC is 0.89 instead of 0.95.

    Args:
        data: whose inputs and labels they are.
        seed: of the initial weights.
        width: of the network.
        dropout: of the network.
        means: makes the network, whose outputs are the means of blocks of `BLOCK` dimensions.
    """
    torch.manual_seed(seed)
    blank = CCVAE(data.space, data.input_shape, ModelConfig(block_dim=BLOCK), nn.Identity(), nn.Identity())
    sizes = [block.stop - block.start for block in blank.block_slices]
    # only the blocks' latents: no style
    config = ModelConfig(latent_dim=sum(sizes), block_dim=BLOCK, width=width, dropout=dropout)
    encoder = PointEncoder(means(data.input_shape, sizes, width, dropout))
    model = CCVAE(data.space, data.input_shape, config, encoder, nn.Identity())
    for block in model.label_blocks():
        for name, parameter in block.named_parameters():
            if isinstance(block, DiscreteBlocks) or name.startswith("prior_"):
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
        trained = partial(trained_teacher, data, config, recipe, number=number, train=train)
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
    data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, number: int, train: Train
) -> tuple[CCVAE, bool]:
    """A classifier trained on the labelled training rows. Arguments as `teach`'s; `number` tells teachers apart.

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
    model = teacher(data, recipe, seed)
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


class Length(NamedTuple):
    """How long a classifier is trained."""

    epochs: int
    passes: int  # over the rows, in an epoch


def in_epochs(steps: int, steps_a_pass: float) -> Length:
    """About a number of steps, in epochs of about 200 that are whole passes."""
    passes = max(1, round(min(STEPS_AN_EPOCH, steps) / steps_a_pass))
    return Length(epochs=max(1, round(steps / (passes * steps_a_pass))), passes=passes)


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
