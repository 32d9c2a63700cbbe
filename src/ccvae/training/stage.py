"""A stage of a training: where its files are, and what is special about its batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccvae.data.soft_targets import SoftTargets
from ccvae.training.augmentation import Augmentation

__all__ = ["Stage"]


@dataclass(frozen=True)
class Stage:
    """One of the trainings that a run consists of.

    Args:
        checkpoints: folder of its checkpoints; None writes nothing.
        metrics: table to write with a row per epoch.
        title: its name beside the progress bar.
        resume: whether to continue from its last checkpoint, if it has one.
        progress: whether to show a progress bar.
        trainer: further arguments of Lightning's `Trainer`.
        passes: passes over the training rows that make an epoch.
        targets: what missing labels are filled with.
        augmentation: random changes of training images.
    """

    checkpoints: Path | None
    metrics: Path | None
    title: str = ""
    resume: bool = False
    progress: bool = True
    trainer: dict[str, Any] | None = None
    passes: int = 1
    targets: SoftTargets | None = None
    augmentation: Augmentation | None = None
