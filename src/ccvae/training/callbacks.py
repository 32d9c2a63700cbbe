"""Lightning callbacks: the table of metrics, checkpoints, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar
from tqdm import tqdm

from ccvae.storage.atomic import writing
from ccvae.storage.files import is_there
from ccvae.storage.run_folder import read_table
from ccvae.training.checkpoint_files import BEST, LAST

__all__ = [
    "STEPS_BETWEEN_CHECKS",
    "Checkpoints",
    "EpochProgressBar",
    "Interrupted",
    "MetricsTable",
    "ProgressBar",
    "StopOnInterrupt",
]

STEPS_BETWEEN_CHECKS = 10
"""Steps between checks that wait for an accelerator or other processes: progress, a finite loss, Ctrl-C."""


class Interrupted(Exception):  # noqa: N818 — not an error: everything trained so far is kept
    """Ctrl-C or SIGTERM stopped training; the message says how to continue.

    Args:
        message: the message.
        progress: how far the model is trained, such as "8 of 120 steps"; None if its training has not started.
    """

    def __init__(self, message: str, progress: str | None = None) -> None:
        super().__init__(message)
        self.progress = progress


class MetricsTable(Callback):
    """Writes one row of metrics per epoch to `metrics.csv`; a resumed run continues the table.

    Args:
        path: the CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Refuse a damaged table before any work."""
        if trainer.is_global_zero:
            self.known()

    def known(self) -> pd.DataFrame | None:
        """The rows that are written already; None if there is no file."""
        if not is_there(self.path):
            return None
        try:
            found = read_table(self.path.parent, self.path.name, ("epoch", "step"))
            if len(found) and not all(pd.api.types.is_numeric_dtype(found[column]) for column in ("epoch", "step")):
                raise ValueError(f"{self.path}: expected numbers as epoch and step")
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"{error}; delete it") from None
        return found

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the row of an epoch; later rows, of a run that was interrupted, are dropped."""
        # in all processes, since reading them exchanges values
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        if not trainer.is_global_zero:
            return
        row = pd.DataFrame([{"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **metrics}])
        known = self.known()
        known = row.iloc[:0] if known is None else known
        earlier = known[known["epoch"] < row["epoch"][0]]
        with writing(self.path) as path:
            (pd.concat([earlier, row]) if len(earlier) else row).to_csv(path, index=False)


class Checkpoints(Checkpoint):
    """Writes a checkpoint after each epoch, and keeps the one with the best validation objective, if there is one.

    Unlike that of Lightning's `ModelCheckpoint`, its state has no paths: no checkpoint decides what is written or removed.

    Args:
        folder: folder of the checkpoints.
        validated: whether there is a validation objective.
    """

    def __init__(self, folder: Path, validated: bool) -> None:
        self.folder, self.validated = folder, validated
        self.best_score: float | None = None

    @property
    def last(self) -> Path:
        """Path of the last checkpoint."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """Path of the best checkpoint."""
        return self.folder / BEST

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the checkpoints of an epoch."""
        if self.validated:
            score = float(trainer.callback_metrics["validation/total"])
            if self.best_score is None or score > self.best_score:
                self.best_score = score
                trainer.save_checkpoint(self.best)
        trainer.save_checkpoint(self.last)

    def state_dict(self) -> dict[str, Any]:
        """The best validation objective so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from there."""
        self.best_score = state_dict["best_score"]


class StopOnInterrupt(Callback):
    """After Ctrl-C or SIGTERM, saves a checkpoint at the end of the current step and stops; a second Ctrl-C stops at once.

    A single process stops after the current step. Several processes all stop after the same step, whichever of them got the
    signal.

    Args:
        checkpoint: path of the checkpoint; None saves nothing.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.requested = False

    def on_train_start(self, *_: Any) -> None:
        """Replace the handler of SIGTERM that Lightning has just set: it waits for other processes, which may wait for this."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.request)

    def request(self, number: int, _: Any) -> None:
        """Note a signal; the second Ctrl-C raises `KeyboardInterrupt`."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Save a checkpoint and stop, if requested."""
        if trainer.is_last_batch:  # validation and the epoch's checkpoint come first
            return
        if (trainer.world_size == 1 or trainer.global_step % STEPS_BETWEEN_CHECKS == 0) and self.requested_anywhere(trainer):
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop, if requested at the end of the previous epoch."""
        if self.requested_anywhere(trainer):
            raise Interrupted(f"stopped after epoch {trainer.current_epoch} of {trainer.max_epochs}")

    def requested_anywhere(self, trainer: lightning.Trainer) -> bool:
        """Whether any of the processes was interrupted."""
        return trainer.strategy.reduce_boolean_decision(self.requested, all=False)

    @contextmanager
    def handling_interrupts(self) -> Iterator[None]:
        """Within, Ctrl-C and SIGTERM request a stop. Python delivers signals to the main thread only; others are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        before = {number: signal.signal(number, self.request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class EpochProgressBar(TQDMProgressBar):
    """Lightning's progress bar of an epoch, with the name of the stage before it.

    Args:
        title: name of the stage; empty shows the epoch and how many there are.
    """

    def __init__(self, title: str) -> None:
        super().__init__(refresh_rate=STEPS_BETWEEN_CHECKS, leave=False)
        self.title = title

    def on_train_epoch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Name stage and epoch."""
        super().on_train_epoch_start(trainer, *args)
        epoch = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(", ".join(filter(None, (self.title, epoch))))

    def get_metrics(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, Any]:
        """What is shown beside the bar, without the version number of a logger's run."""
        shown = super().get_metrics(trainer, module)
        shown.pop("v_num", None)
        return dict(shown)


class ProgressBar(Callback):
    """One progress bar for all steps of a training, removed at its end.

    Args:
        title: text beside the bar.
        steps: number of steps.
    """

    def __init__(self, title: str, steps: int) -> None:
        self.bar = tqdm(total=steps, desc=title, leave=False)

    def on_train_batch_end(self, *_: Any) -> None:
        """Advance."""
        self.bar.update()

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Remove the bar."""
        self.bar.close()
