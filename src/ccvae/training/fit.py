"""`fit`: train a model on a data set, and write the run folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ccvae.config import DataConfig, TrainConfig
from ccvae.config.training import Precision
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches, SplitBatches
from ccvae.data.loaders.device_inputs import DeviceInputs
from ccvae.data.origin import settings_of
from ccvae.data.stored import store
from ccvae.distributed.devices import chosen_precision, warn_of_slow_precision
from ccvae.distributed.shard import is_first_process
from ccvae.model.calibration import fit_calibration
from ccvae.model.ccvae import CCVAE
from ccvae.model.latent_model import LatentModel
from ccvae.model.objective import Objective
from ccvae.model.saving import save, save_settings
from ccvae.storage.atomic import writing
from ccvae.storage.links import check_inside, check_no_link
from ccvae.storage.run_folder import WEIGHTS, check_free
from ccvae.training import few_labels, students, teachers
from ccvae.training.callbacks import (
    STEPS_BETWEEN_CHECKS,
    Checkpoints,
    EpochProgressBar,
    Interrupted,
    MetricsTable,
    StopOnInterrupt,
)
from ccvae.training.checkpoint_checks import same_structure
from ccvae.training.checkpoint_files import LAST, PREVIOUS, newest_checkpoint, read_checkpoint
from ccvae.training.compilation import compiled
from ccvae.training.contrastive import FOLDER
from ccvae.training.duration import chosen_epochs
from ccvae.training.final_checks import check_finite_weights, not_finite, warn_if_at_chance
from ccvae.training.logged_pictures import LoggedPictures
from ccvae.training.loggers import build_logger, check_logger
from ccvae.training.losses import ObjectiveLoss
from ccvae.training.module import TrainingModule
from ccvae.training.optimizer import build_optimizer, decayed_parameters
from ccvae.training.stage import Stage
from ccvae.training.trainer import OWN_CHECKPOINTS, build_trainer, run

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

    If labels are few, teachers and students are trained first (see `ccvae.training.few_labels`). Afterwards probabilities are
    calibrated on the labels of the validation rows (see `ccvae.model.calibration`).

    Args:
        model: the model, trained in place.
        data: its training split is trained on, its validation split validated.
        out: run folder to write (see `ccvae.storage.run_folder`); None writes nothing.
        config: how to train.
        resume: continue from the last checkpoint in `out`; without one, start at the beginning, which a message says.
        settings: further sections of the run folder's `config.yaml`, such as the origin of the data.
        callbacks: further Lightning callbacks, of the model's own training and not of its teachers'.
        loggers: Lightning loggers, of the same, beside the one that `config` names.
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
        Interrupted: Ctrl-C was pressed, or SIGTERM came; everything trained so far is kept. Of several processes only the first
            raises this; the others end.
        ConnectionError: another process of the training is gone.
    """
    config = replace(config or TrainConfig(), **changes)
    for warning in data.warnings:
        logging.getLogger("ccvae.data").warning("%s: %s", data.name, warning)
    model.space.check_matches(data.space)
    model.input_format = data.input_format
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    config = replace(config, precision=precision_of(model, config), epochs=chosen_epochs(config, data))
    folder = None if out is None else Path(out)
    kept = None if folder is None else folder / "checkpoints"
    if resume:
        check_resumption(folder)
    check_logging(model, config, folder, loggers)
    recipe = None if objective is not None else few_labels.recipe_for(config, data)
    augmentation = few_labels.augmentation_for(config, data, recipe)
    first = is_first_process()
    if folder is not None and first:
        if not resume:
            check_free(folder)
        chosen = {} if recipe is None else {"few_labels": asdict(recipe)}
        save_settings(model, folder, {"training": asdict(config), **chosen, **write_data(data, folder, settings)})
    logged = {"model": asdict(model.config), "training": asdict(config)}
    own = [build_logger(config.logger, folder, logged, resume)] if config.logger and folder and first else []
    loggers = [*loggers, *own]
    if config.log_pictures and isinstance(model, CCVAE):
        callbacks = [*callbacks, LoggedPictures(model, data, config.log_pictures)]
    stage = Stage(kept, folder and folder / "metrics.csv", "" if recipe is None else "CCVAE", resume, progress, trainer)
    try:
        if recipe is not None:
            targets = teachers.teach(data, config, recipe, stage, train)
            targets = students.teach(data, config, recipe, stage, train, targets)
            stage = replace(stage, targets=targets, passes=recipe.taught_passes)
            config = few_labels.taught_config(config, recipe)
        train(model, data, config, replace(stage, augmentation=augmentation), objective, callbacks, loggers)
    except Interrupted as interrupt:
        if not first:
            raise SystemExit(0) from None  # an error here would make Lightning or torchrun end the first process at once
        if folder is None:
            raise
        if interrupt.progress is not None:
            save(model, folder, partial=interrupt.progress)
        raise Interrupted(f"{interrupt}; all is kept in {folder}: continue with --resume, or fit(…, resume=True)") from None
    if len(data.splits["validation"]):
        predictions = [model.predict_proba(x, calibrated=False) for x, _ in SplitBatches(data, "validation")]
        model.calibration = fit_calibration(pd.concat(predictions), data.labels[data.splits["validation"]], data.space)
    if first:
        warn_if_at_chance(model, data, config.learning_rate)
        if folder is not None:
            save(model, folder)
    model.run_folder = folder
    return model


def check_logging(model: LatentModel, config: TrainConfig, folder: Path | None, loggers: Sequence[Any]) -> None:
    """Raise `ValueError` if a configuration asks for logs that there cannot be."""
    check_logger(config.logger)
    if config.logger is not None and folder is None:
        raise ValueError("logger: logs are written into the run folder; give out")
    if not config.log_pictures:
        return
    if config.logger is None and not loggers:
        raise ValueError("log_pictures: pictures need a log; set logger to tensorboard, mlflow or wandb")
    if len(model.input_shape) != 3 or not isinstance(model, CCVAE):
        raise ValueError("log_pictures: only a CCVAE of images has pictures; leave it out")
    if any(word in config.strategy for word in OWN_CHECKPOINTS):
        raise ValueError(f"log_pictures: pictures need a whole model, which {config.strategy} splits; leave it out")


def check_resumption(folder: Path | None) -> None:
    """Log it if there is no checkpoint to resume from, as after a training that was killed before its first one.

    Raises:
        ValueError: there is no folder; or it has trained weights that starting at the beginning would replace; or its
            checkpoints are a link, by which a stranger's run folder would have files replaced elsewhere; or another link leads
            out of the folder.
    """
    if folder is None:
        raise ValueError("resume: there is no run folder to resume from; give out")
    kept = folder / "checkpoints"
    for path in (kept, kept / FOLDER, *kept.glob("teacher-*"), *kept.glob("student-*")):
        check_no_link(path)
    check_inside(folder, [path.relative_to(folder).as_posix() for path in folder.rglob("*")])
    if any((kept / name).exists() for name in (LAST, PREVIOUS)) or teachers.begun(kept):
        return
    if (folder / WEIGHTS).exists():
        raise ValueError(f"resume: {folder} has trained weights but no checkpoint to continue from; choose another folder")
    if is_first_process():
        logging.getLogger("ccvae.training").warning(
            "%s has no checkpoint to resume from: training starts at the beginning", folder
        )


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
        Whether Ctrl-C was pressed, or SIGTERM came, too late to interrupt this stage: the next one must not begin.

    Raises:
        Interrupted: Ctrl-C was pressed, or SIGTERM came.
    """
    config = replace(config, precision=precision_of(model, config), epochs=chosen_epochs(config, data))
    validated = len(data.splits["validation"]) > 0
    checkpoint = newest_checkpoint(stage.checkpoints) if stage.resume and stage.checkpoints is not None else None
    checkpoints = None if stage.checkpoints is None else Checkpoints(stage.checkpoints, validated)
    interrupts = StopOnInterrupt(None if checkpoints is None else checkpoints.last)
    watchers = [*callbacks]
    if checkpoints is not None and stage.metrics is not None:
        watchers += [checkpoints, MetricsTable(stage.metrics)]
    if config.patience and validated:
        watchers.append(EarlyStopping("validation/total", mode="max", patience=config.patience))
    watchers.append(interrupts)
    if stage.progress:
        watchers.append(EpochProgressBar(stage.title))
    own: dict[str, Any] = {
        "callbacks": watchers,
        "logger": list(loggers) or False,
        "enable_checkpointing": checkpoints is not None,
        "enable_progress_bar": stage.progress,
        "log_every_n_steps": STEPS_BETWEEN_CHECKS,
    }
    lightning_trainer = build_trainer(config, **own | (stage.trainer or {}))
    module = training_module(model, data, config, lightning_trainer, stage, objective)
    with compiled(model, networks=lightning_trainer.world_size == 1) if config.compile else nullcontext():
        try:
            run(lightning_trainer, module, interrupts, checkpoint)
        except Interrupted as interrupt:
            raise Interrupted(str(interrupt), f"{lightning_trainer.global_step} of {module.steps} steps") from None
    if checkpoints is not None and checkpoints.best_score is not None:
        if not_finite(model):
            logging.getLogger("ccvae.training").warning("training diverged in its last epoch; the best weights before are kept")
        restore_best_weights(module, checkpoints.best)
    check_finite_weights(model)
    model.eval()
    lightning_trainer.strategy.barrier()  # no process may end while others wait for it
    return interrupts.requested_anywhere(lightning_trainer)


def restore_best_weights(module: TrainingModule, path: Path) -> None:
    """Give a module the weights of the best checkpoint; if that is damaged, log it and keep the last weights."""
    try:
        weights = same_structure(read_checkpoint(path).get("state_dict"), module.state_dict(), "state_dict")
    except ValueError as error:
        logging.getLogger("ccvae.training").warning("%s; the weights of the last step are kept instead of the best", error)
        return
    module.load_state_dict(weights)


def precision_of(model: LatentModel, config: TrainConfig) -> Precision:
    """The precision in which a model is trained: see `TrainConfig`."""
    dtype = next(model.parameters()).dtype
    chosen = chosen_precision(config.precision, config.accelerator, len(model.input_shape) == 3, dtype)
    return cast(Precision, chosen)


def write_data(data: Dataset, folder: Path, settings: dict[str, Any] | None) -> dict[str, Any]:
    """Write what a run needs to read its data again; gives the sections of `config.yaml`, with "data" where it is known."""
    with writing(folder / "splits.csv") as path:
        data.split_table().to_csv(path, index=False)
    sections = dict(settings or {})
    if "data" in sections:
        return sections
    origin = settings_of(data)
    if origin is not None:
        source = origin.pop("source")
        return {**sections, "data": {"source": source, **asdict(DataConfig(**origin))}}
    if not store(data, folder):
        logging.getLogger("ccvae.data").warning(
            "%s: the data are in memory only, and too large to be stored in %s; to evaluate it, name their files with "
            "--data.source",
            data.name,
            folder,
        )
    return sections


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
    steps = chosen_epochs(config, data) * len(batches)
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
