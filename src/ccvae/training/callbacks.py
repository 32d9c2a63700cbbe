"""What watches training: the table of metrics, checkpoints, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ccvae.storage.atomic import writing

__all__ = ["STEPS_BETWEEN_LOOKS", "EpochTable", "InterruptKeeper", "Interrupted", "checkpoints"]

STEPS_BETWEEN_LOOKS = 10
"""Steps between looks that wait for an accelerator or other processes: at progress, at a loss that is no number, at Ctrl-C."""


class Interrupted(Exception):  # noqa: N818 — nothing is wrong: what was trained is kept
    """Training was stopped by Ctrl-C; the message says how to go on."""


class EpochTable(Callback):
    """One row of metrics an epoch, in `metrics.csv`; a resumed run goes on below."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the epoch's row."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        row = pd.DataFrame([{"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **metrics}])
        known = pd.read_csv(self.path) if self.path.exists() else row.iloc[:0]
        earlier = known[known["epoch"] < row["epoch"][0]]
        with writing(self.path) as path:
            (pd.concat([earlier, row]) if len(earlier) else row).to_csv(path, index=False)


def checkpoints(folder: Path, watched: bool) -> ModelCheckpoint:
    """Lightning's callback that keeps the last checkpoint, and the best where a validation bound is watched."""
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor="validation/total" if watched else None,
        mode="max",
        save_top_k=1 if watched else 0,
        save_last=True,
        enable_version_counter=False,
    )


class InterruptKeeper(Callback):
    """After Ctrl-C, ends training at the end of a step, with a checkpoint of that very step; a second one ends it at once.

    Alone, a process ends at the step at hand; several agree on a step every few steps, whichever of them was asked.

    Args:
        checkpoint: path of the checkpoint, or None to keep nothing.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.asked = False

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Keep the state and stop, if asked to."""
        if trainer.is_last_batch:  # an epoch's end is validated and kept first
            return
        if (trainer.world_size == 1 or trainer.global_step % STEPS_BETWEEN_LOOKS == 0) and self.agreed(trainer):
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop, if asked to at the end of the epoch before."""
        if self.agreed(trainer):
            raise Interrupted(f"stopped after epoch {trainer.current_epoch} of {trainer.max_epochs}")

    def agreed(self, trainer: lightning.Trainer) -> bool:
        """Whether any of the processes was asked to stop."""
        return trainer.strategy.reduce_boolean_decision(self.asked, all=False)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, Ctrl-C asks this to stop. Python hears of it in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
