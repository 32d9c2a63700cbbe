"""Stages before the CCVAE's own: each trains another model, and leaves one file of tensors.

A resumed run reads what the stages before left, and continues the one that was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.distributed.shard import is_first_process
from ccvae.model.latent_model import LatentModel
from ccvae.model.objective import Objective
from ccvae.storage.atomic import writing
from ccvae.training.callbacks import Interrupted
from ccvae.training.checkpoint_files import LAST, PREVIOUS
from ccvae.training.stage import Stage

__all__ = ["Length", "Tensors", "Train", "finished", "in_epochs", "result_of", "train_alone"]

STEPS_AN_EPOCH = 200

Tensors = Mapping[str, Tensor]
"""What a stage leaves, by name."""


class Train(Protocol):
    """What trains one stage: `ccvae.training.fit.train`."""

    def __call__(
        self, model: LatentModel, data: Dataset, config: TrainConfig, stage: Stage, objective: Objective[Any] | None, /
    ) -> bool:
        """Train."""
        ...


class Length(NamedTuple):
    """How long a stage is."""

    epochs: int
    passes: int  # over the rows, in an epoch


def in_epochs(steps: int, steps_a_pass: float) -> Length:
    """About a number of steps, in epochs of about 200 that are whole passes."""
    passes = max(1, round(min(STEPS_AN_EPOCH, steps) / steps_a_pass))
    return Length(epochs=max(1, round(steps / (passes * steps_a_pass))), passes=passes)


def finished(stage: Stage, file: str) -> bool:
    """Whether a resumed run has the file that a stage leaves beside the checkpoints of the CCVAE."""
    return stage.resume and stage.checkpoints is not None and (stage.checkpoints / file).exists()


def result_of(file: str, title: str, like: Tensors, stage: Stage, trained: Callable[[Stage], tuple[Tensors, bool]]) -> Tensors:
    """What a stage leaves; it is trained first unless a resumed run has its file.

    Args:
        file: what it leaves, "folder/name" beside the checkpoints of the CCVAE; the folder has its own checkpoints.
        title: of its progress bar.
        like: tensors of the same names, shapes and types.
        stage: the CCVAE's.
        trained: trains in a stage of its own; gives the tensors, and whether training is to stop now.

    Raises:
        Interrupted: Ctrl-C was pressed.
        ValueError: the file is damaged, or of other data or another network.
    """
    path = None if stage.checkpoints is None else stage.checkpoints / file
    if path is not None and finished(stage, file):
        return read_tensors(path, like)
    try:
        tensors, stopped = trained(replace(stage, checkpoints=path and path.parent, title=title))
    except Interrupted as interrupt:
        raise Interrupted(f"{title}: {interrupt}") from None
    if path is not None and is_first_process():
        with writing(path) as place:
            place.write_bytes(to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))
        for kept in (LAST, PREVIOUS):
            (path.parent / kept).unlink(missing_ok=True)
    if stopped:
        raise Interrupted(f"stopped after {title}")
    return tensors


def read_tensors(path: Path, like: Tensors) -> Tensors:
    """Tensors that a stage left; raises `ValueError` if they are damaged, or others than expected."""
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it and resume") from None
    found, expected = ({name: f"{each.dtype} {tuple(each.shape)}" for name, each in some.items()} for some in (tensors, like))
    for name in [*expected, *found]:
        one, other = (some.get(name, "nothing") for some in (expected, found))
        if one != other:
            raise ValueError(f"{path}: {name}: expected {one}, found {other}; delete it and resume")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} has numbers that are not finite; delete it and resume")
    return tensors


def train_alone(
    model: LatentModel,
    data: Dataset,
    rows: np.ndarray,
    config: TrainConfig,
    stage: Stage,
    train: Train,
    objective: Objective[Any],
) -> bool:
    """Train a model on an objective alone, without the losses for interventions and without validation.

    Args:
        model: the model.
        data: what it learns from.
        rows: of its training rows.
        config: how it is trained.
        stage: its own.
        train: what trains a stage, `ccvae.training.fit.train`.
        objective: what is maximized.

    Returns:
        Whether training is to stop now.
    """
    nothing = rows[:0]
    shown = replace(data, splits={"train": rows, "validation": nothing, "test": nothing})
    settings = replace(
        config, classification_weight=1.0, intervention_weight=0.0, elsewhere_weight=1.0, redrawn_share=0.0, patience=0
    )
    own = replace(stage, metrics=stage.checkpoints and stage.checkpoints / "metrics.csv")
    return train(model, shown, settings, own, objective)
