"""Pictures for loggers as training goes: reconstructions, interventions and traversals of the same few images."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ccvae.data.dataset import Dataset
from ccvae.drawing.image_grid import Row, grid, to_pixels
from ccvae.labels import Binary, Label
from ccvae.model.ccvae import CCVAE
from ccvae.training.loggers import log_picture

__all__ = ["LoggedPictures"]

IMAGES = 8
"""Images of the validation split, or of the training split without one."""
MOST_LABELS = 8
"""Labels that pictures show."""
TRAVERSED = 2
STEPS = 7
TILE = 64
"""Pixels of an image's side in a picture, where it is smaller."""


class LoggedPictures(Callback):
    """Logs pictures every few epochs, and after the last one.

    What they cost is logged as `pictures/seconds`. Pictures use no random numbers of the training, so the trained weights are
    the same with and without them.

    Args:
        model: the model that is trained.
        data: its data, images.
        every: epochs between pictures.
    """

    def __init__(self, model: CCVAE, data: Dataset, every: int) -> None:
        self.model, self.every = model, every
        rows = data.splits["validation"] if len(data.splits["validation"]) else data.splits["train"]
        self.images = data.tensor(rows[:IMAGES])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the pictures, if it is their turn."""
        epoch = trainer.current_epoch + 1
        if not trainer.is_global_zero or (epoch % self.every and epoch != trainer.max_epochs):
            return
        started = time.monotonic()
        pictures = self.pictures()
        for logger in trainer.loggers:
            for name, pixels in pictures.items():
                log_picture(logger, name, pixels, trainer.global_step, epoch)
            logger.log_metrics({"pictures/seconds": time.monotonic() - started}, step=trainer.global_step)

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures by name, uint8 `(height, width, 3)`."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng():
                return self.drawn()
        finally:
            self.model.train(training)

    def drawn(self) -> dict[str, np.ndarray]:
        """The pictures; the model is in evaluation mode."""
        model, x = self.model, self.images
        labels = list(model.space)[:MOST_LABELS]
        first = [Row(list(to_pixels(x)), "original")]
        found = {"reconstructions": [*first, Row(list(to_pixels(model.reconstruct(x))), "reconstruction")]}
        found["interventions"] = first + [
            Row(list(to_pixels(model.intervene(x, {label.name: value}))), f"{label.name} = {value}")
            for label, value in ((label, shown_value(label)) for label in labels)
        ]
        for label in labels[:TRAVERSED]:
            walks = to_pixels(model.traverse(x[:4], label.name, steps=STEPS))
            found[f"traversal of {label.name}"] = [Row(list(walk)) for walk in walks]
        return {name: np.asarray(grid(rows, TILE).convert("RGB")) for name, rows in found.items()}


def shown_value(label: Label) -> Any:
    """The value that an intervention sets: present, the last class, or the upper end of a number."""
    return 1 if isinstance(label, Binary) else label.decode(label.ends[1])
