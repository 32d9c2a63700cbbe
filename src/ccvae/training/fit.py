"""`fit`: train a model on a data set, and write the run folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ccvae.config import Precision, TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches, SplitBatches
from ccvae.data.loaders.device_inputs import DeviceInputs
from ccvae.distributed.devices import chosen_precision, warn_of_slow_precision
from ccvae.distributed.shard import is_first_process
from ccvae.model.calibration import fit_calibration
from ccvae.model.latent_model import LatentModel
from ccvae.model.objective import Objective
from ccvae.model.saving import save
from ccvae.storage.atomic import writing
from ccvae.storage.run_folder import check_free
from ccvae.training import few_labels
from ccvae.training.callbacks import EpochProgressBar, Interrupted, MetricsTable, StopOnInterrupt, checkpoint_callback
from ccvae.training.compilation import compiled
from ccvae.training.losses import ObjectiveLoss
from ccvae.training.module import TrainingModule
from ccvae.training.optimizer import build_optimizer, decayed_parameters
from ccvae.training.stage import LAST, Stage
from ccvae.training.trainer import build_trainer, run

__all__ = ["Interrupted", "fit"]

VALIDATION_BATCH = 200
Model = TypeVar("Model", bound=LatentModel)


def fit(
    model: Model,
    data: Dataset,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Any] = (),
    progress: bool = True,
    trainer: dict[str, Any] | None = None,
    objective: Objective[Any] | None = None,
    **changes: Any,
) -> Model:
    """Train a model, and keep the weights with the best validation bound (the last weights, without validation rows).

    If labels are few, teachers are trained first (see `ccvae.training.few_labels`). Afterwards probabilities are calibrated on
    the labels of the validation rows (see `ccvae.model.calibration`).

    Args:
        model: the model, trained in place.
        data: its training split is trained on, its validation split validated.
        out: run folder to write (see `ccvae.storage.run_folder`); None writes nothing.
        config: how to train.
        resume: continue from the last checkpoint in `out`.
        settings: further sections of the run folder's `config.yaml`, such as the origin of the data.
        callbacks: further Lightning callbacks, of the model's own training and not of its teachers'.
        loggers: Lightning loggers, of the same.
        progress: whether to show a progress bar.
        trainer: further arguments of Lightning's `Trainer`; they take precedence over ours.
        objective: what to maximise instead of the configured estimator's bound, such as a baseline's objective. The weights
            in `config` apply to it; `classification_weight` and `intervention_weight` are then 1 and 0 by default.
        changes: fields of `TrainConfig` that differ from `config`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: labels or inputs are not the model's, there is nothing to resume, the machine lacks what is asked for, or
            the loss is no longer finite.
        Interrupted: Ctrl-C was pressed; everything trained so far is kept. Of several processes only the first raises this; the
            others end.
        ConnectionError: another process of the training is gone.
    """
    config = replace(config or TrainConfig(), **changes)
    for warning in data.warnings:
        logging.getLogger("ccvae.data").warning("%s: %s", data.name, warning)
    model.space.check_matches(data.space)
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    config = replace(config, precision=precision_of(model, config))
    folder = None if out is None else Path(out)
    kept = None if folder is None else folder / "checkpoints"
    if resume and (kept is None or not ((kept / LAST).exists() or few_labels.begun(kept))):
        raise ValueError(f"resume: no checkpoint at {kept and kept / LAST}; train without resume first")
    recipe = None if objective is not None else few_labels.recipe_for(config, data)
    augmentation = few_labels.augmentation_for(config, data, recipe)
    first = is_first_process()
    if folder is not None and first:
        if not resume:
            check_free(folder)
        chosen = {} if recipe is None else {"few_labels": asdict(recipe)}
        save(model, folder, {"training": asdict(config), **chosen, **(settings or {})})
        with writing(folder / "splits.csv") as path:
            data.split_table().to_csv(path, index=False)
    stage = Stage(kept, folder and folder / "metrics.csv", "" if recipe is None else "CCVAE", resume, progress, trainer)
    try:
        if recipe is not None:
            targets = few_labels.teach(data, config, recipe, stage, train)
            stage = replace(stage, targets=targets)
        train(model, data, config, replace(stage, augmentation=augmentation), objective, callbacks, loggers)
    except Interrupted as interrupt:
        if not first:
            raise SystemExit(0) from None  # an error here would make Lightning or torchrun end the first process at once
        if folder is None:
            raise
        save(model, folder)
        raise Interrupted(f"{interrupt}; all is kept in {folder}: go on with --resume, or fit(…, resume=True)") from None
    if len(data.splits["validation"]):
        predictions = [model.predict_proba(x, calibrated=False) for x, _ in SplitBatches(data, "validation")]
        model.calibration = fit_calibration(pd.concat(predictions), data.labels[data.splits["validation"]], data.space)
    if folder is not None and first:
        save(model, folder)
    return model


def train(
    model: LatentModel,
    data: Dataset,
    config: TrainConfig,
    stage: Stage,
    objective: Objective[Any] | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Any] = (),
) -> bool:
    """One stage of a training: a model's from its first step to its last, or on from its last checkpoint.

    Args:
        model: the model, trained in place; it is left in evaluation mode.
        data: see `fit`.
        config: how to train.
        stage: where its files are, and what is special about its batches.
        objective: see `fit`.
        callbacks: further Lightning callbacks.
        loggers: Lightning loggers.

    Returns:
        Whether Ctrl-C was pressed too late to interrupt this stage: the next one must not begin.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    config = replace(config, precision=precision_of(model, config))
    validated = len(data.splits["validation"]) > 0
    last = None if stage.checkpoints is None else stage.checkpoints / LAST
    best = None if stage.checkpoints is None else checkpoint_callback(stage.checkpoints, validated)
    interrupts = StopOnInterrupt(last)
    watchers = [*callbacks]
    if best is not None and stage.metrics is not None:
        watchers += [best, MetricsTable(stage.metrics)]
    if config.patience and validated:
        watchers.append(EarlyStopping("validation/total", mode="max", patience=config.patience))
    watchers.append(interrupts)
    if stage.progress:
        watchers.append(EpochProgressBar(stage.title))
    own: dict[str, Any] = {
        "callbacks": watchers,
        "logger": list(loggers) or False,
        "enable_checkpointing": best is not None,
        "enable_progress_bar": stage.progress,
    }
    lightning_trainer = build_trainer(config, **own | (stage.trainer or {}))
    module = training_module(model, data, config, lightning_trainer, stage, objective)
    with compiled(model, networks=lightning_trainer.world_size == 1) if config.compile else nullcontext():
        run(lightning_trainer, module, interrupts, last if stage.resume and last is not None and last.exists() else None)
    if best is not None and best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    model.eval()
    lightning_trainer.strategy.barrier()  # no process may end while others wait for it
    return interrupts.requested_anywhere(lightning_trainer)


def precision_of(model: LatentModel, config: TrainConfig) -> Precision:
    """The precision in which a model is trained: see `TrainConfig`."""
    dtype = next(model.parameters()).dtype
    chosen = chosen_precision(config.precision, config.accelerator, len(model.input_shape) == 3, dtype)
    return cast(Precision, chosen)


def training_module(
    model: LatentModel, data: Dataset, config: TrainConfig, trainer: Any, stage: Stage, objective: Objective[Any] | None
) -> TrainingModule:
    """The Lightning module that trains a model on a data set, with this process's shard of every batch."""
    device = trainer.strategy.root_device
    warn_of_slow_precision(config.precision, device)
    inputs, rank, world_size = DeviceInputs(data, device), trainer.global_rank, trainer.world_size
    batches = Batches(
        data,
        config.batch_size,
        config.seed,
        config.labelled_share,
        config.balanced,
        inputs,
        rank,
        world_size,
        stage.passes,
        stage.targets,
    )
    validation = None
    if len(data.splits["validation"]):
        validation = SplitBatches(data, "validation", VALIDATION_BATCH, inputs, rank, world_size)
    steps = config.epochs * len(batches)
    decayed = decayed_parameters(model)  # now: FSDP flattens parameters into vectors
    return TrainingModule(
        model.train(),
        ObjectiveLoss(model, config, objective, stage.augmentation),
        batches,
        lambda: build_optimizer(model, config, steps, decayed),
        steps,
        config.seed,
        validation,
    )
