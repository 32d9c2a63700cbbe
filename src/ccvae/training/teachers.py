"""Teachers: classifiers of the few labelled rows, trained before the CCVAE. See `ccvae.training.few_labels`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

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
from ccvae.model.label_blocks.base import DiscreteBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import HIDDEN_UNITS_PER_WIDTH
from ccvae.model.networks.mlp import mlp_encoder
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.model.objective import Objective
from ccvae.storage.atomic import writing
from ccvae.training.augmentation import Augmentation
from ccvae.training.callbacks import Interrupted
from ccvae.training.checkpoint_files import LAST, PREVIOUS
from ccvae.training.duration import labelled_rows
from ccvae.training.few_labels import Recipe
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = ["begun", "teach", "teacher", "trained_teacher"]

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
    """A classifier with a CCVAE's label blocks and nothing else: `pooled_encoder` for images, an MLP for vectors.

    Of discrete labels, only the means of blocks are learned, and they determine the logits. A classifier that learns its
    weights, and a posterior that learns its scale, soon predict "unknown" for labels that are hard to see. With weights near
    zero no gradient reaches the encoder, and it stays so: with 800 labelled faces the mean AUROC is 0.89 instead of 0.95.
    """
    torch.manual_seed(seed)
    blank = CCVAE(data.space, data.input_shape, ModelConfig(block_dim=BLOCK), nn.Identity(), nn.Identity())
    # only the blocks' latents: no style
    latents = blank.style.start
    config = ModelConfig(latent_dim=latents, block_dim=BLOCK, width=recipe.width, dropout=recipe.dropout)
    if len(data.input_shape) == 3:
        encoder = pooled_encoder(data.input_shape, latents, recipe.width, recipe.dropout)
    else:
        encoder = mlp_encoder(data.input_shape, latents, HIDDEN_UNITS_PER_WIDTH * recipe.width, recipe.dropout)
    model = CCVAE(data.space, data.input_shape, config, PointEncoder(encoder), nn.Identity())
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
        redrawn_share=0.0,
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
