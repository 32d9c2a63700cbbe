"""Lightning's trainer for a training configuration, and the loop that every training runs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from ccvae.config import TrainConfig
from ccvae.distributed.batch_norm import BatchNormSync
from ccvae.distributed.shutdown import shared_shutdown
from ccvae.training.callbacks import StopOnInterrupt
from ccvae.training.checkpoint_checks import restorable, with_clean_callbacks
from ccvae.training.checkpoint_files import CheckpointFiles
from ccvae.training.module import TrainingModule

__all__ = ["OWN_CHECKPOINTS", "build_trainer", "check_machine", "run"]

LONGEST_WAIT = timedelta(minutes=10)
"""Time after which a process stops waiting for others; reading data or writing a checkpoint must not take longer."""
OWN_CHECKPOINTS = ("fsdp", "deepspeed", "modelparallel")
"""Strategies that read and write checkpoints of a form of their own."""
LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.fabric.utilities.distributed")
"""Lightning's loggers; it sets the level of each when it is imported."""


@contextmanager
def quiet() -> Iterator[None]:
    """Within, Lightning logs warnings only, not which devices it found, or which other products there are."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@quiet()
def build_trainer(config: TrainConfig, **settings: Any) -> Trainer:
    """Lightning's trainer for a configuration.

    Args:
        config: how to train.
        settings: further arguments of `Trainer`. They take precedence over those that follow from the configuration, but for
            plugins, which are added to ours.

    Raises:
        ValueError: this machine lacks the accelerator or the number of devices, or the strategy does not support them.
    """
    configured = {
        "accelerator": config.accelerator,
        "devices": config.devices,
        "num_nodes": config.num_nodes,
        "strategy": build_strategy(config),
        "precision": config.precision,
        "max_epochs": config.epochs or 1,
        "gradient_clip_val": config.gradient_clip or None,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    plugins = [BatchNormSync(), *settings.pop("plugins", ())]
    strategy = settings.get("strategy", config.strategy)
    if not any(word in f"{strategy} {type(strategy).__name__}".lower() for word in OWN_CHECKPOINTS):
        plugins.append(CheckpointFiles())
    try:
        return Trainer(**configured | settings, plugins=plugins)
    except (MisconfigurationException, ImportError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"accelerator {config.accelerator}, devices {config.devices}, strategy {config.strategy}: "
            f"{' '.join(str(error).split())}"
        ) from None


def check_machine(config: TrainConfig) -> None:
    """Raise `ValueError` if this machine lacks what a configuration asks for, before data are read."""
    precision = "32-true" if config.precision == "auto" else config.precision
    build_trainer(config, precision=precision, logger=False, enable_checkpointing=False, enable_progress_bar=False)


def build_strategy(config: TrainConfig) -> str | DDPStrategy:
    """Lightning's strategy for a configuration."""
    if config.strategy != "ddp":
        return config.strategy
    return DDPStrategy(timeout=LONGEST_WAIT, gradient_as_bucket_view=True)


@quiet()
def run(trainer: Trainer, module: TrainingModule, interrupts: StopOnInterrupt, checkpoint: Path | None = None) -> None:
    """Train a module, the one loop of every training in this package.

    Args:
        trainer: from `build_trainer`; `interrupts` is one of its callbacks.
        module: what is trained.
        interrupts: what stops on Ctrl-C.
        checkpoint: checkpoint to resume from.

    Raises:
        Interrupted: Ctrl-C was pressed.
        ValueError: the loss is not finite.
        ConnectionError: another process of the training is gone.
    """
    with interrupts.handling_interrupts(), shared_shutdown(), warnings.catch_warnings():
        # Lightning 2.6 uses a name that torch 2.13 deprecates; validation is optional; a resumed run's folder is not empty
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
        # now, so that a checkpoint in double precision is not rounded when it is restored
        trainer.precision_plugin.convert_module(module)
        if any(word in type(trainer.strategy).__name__.lower() for word in OWN_CHECKPOINTS):
            module.clean_checkpoint = partial(with_clean_callbacks, trainer=trainer)
        elif isinstance(trainer.strategy.checkpoint_io, CheckpointFiles):
            trainer.strategy.checkpoint_io.check = partial(restorable, trainer=trainer, module=module)
        trainer.fit(module, module.batches, module.validation, ckpt_path=checkpoint, weights_only=True)
