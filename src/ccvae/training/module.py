"""The Lightning module of every training: a loss, its metrics, and seeds that make a resumed run equal an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, final

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn

from ccvae.data.loaders.batches import SplitBatches
from ccvae.distributed.shard import Shard
from ccvae.training.callbacks import STEPS_BETWEEN_CHECKS
from ccvae.training.losses import Loss, Step

__all__ = ["TrainingBatches", "TrainingModule"]


class TrainingBatches(Protocol):
    """Batches of one epoch after another: pairs of inputs and labels."""

    position: int
    shard: Shard

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


@final
class TrainingModule(lightning.LightningModule):
    """Training and validation steps of a loss.

    Several processes train as one process with the whole batch would: the loss is the mean over all rows, noise is drawn for
    the whole batch, and metrics are sums over all rows, divided at the end of an epoch.

    Args:
        model: what is trained.
        loss: what is minimised.
        batches: training batches.
        optimizer: builds the optimizer and the schedule of its learning rates, stepped after each batch.
        steps: number of training steps.
        seed: seed of the noise of every step.
        validation: batches that are measured after each epoch.
        seed_steps: whether to seed torch's global generator before every step, so that training can be resumed exactly.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: TrainingBatches,
        optimizer: Callable[[], tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]],
        steps: int,
        seed: int = 0,
        validation: SplitBatches | None = None,
        seed_steps: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.steps = model, loss, steps
        self.batches, self.validation = batches, validation
        self.optimizer = optimizer
        self.seed, self.seed_steps = seed, seed_steps
        self.generator: torch.Generator | None = None
        self.sums: dict[str, Tensor] = {}
        self.clean_checkpoint: Callable[[dict[str, Any]], None] | None = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of this process's rows."""
        shard = self.batches.shard
        if self.seed_steps:  # a seed for each step, so that a resumed run draws what an uninterrupted one would
            torch.manual_seed(mixed_seed(self.seed, self.global_step, shard.rank))
        loss, sums = self.loss.training_loss(self.model, *batch, self.step(self.global_step, shard))
        self.accumulate("train", sums)
        checked = self.global_step % STEPS_BETWEEN_CHECKS == 0
        if checked or (shard.world_size == 1 and self.device.type == "cpu"):
            self.check_finite(loss, sums)
        if checked:
            metrics = {name: value for name, value in self.loss.metrics(sums).items() if name != "total"}
            self.log_dict(metrics, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Log an epoch's means after its last step."""
        if self.trainer.is_last_batch:
            self.log_means("train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accumulate the sums of a validation batch."""
        assert self.validation is not None
        step = self.step(batch_idx, self.validation.shard(batch_idx))
        self.accumulate("validation", self.loss.validation_sums(self.model, *batch, step))

    def on_validation_epoch_end(self) -> None:
        """Log the means."""
        self.log_means("validation")

    def step(self, number: int, shard: Shard) -> Step:
        """A step with its noise, which is the same in all processes."""
        if self.generator is None:
            self.generator = torch.Generator(self.device)
        return Step(number, self.steps, self.generator.manual_seed((self.seed << 32) + number), shard)

    def accumulate(self, stage: str, sums: Tensor) -> None:
        """Add to the sums of training or validation."""
        self.sums[stage] = self.sums[stage] + sums if stage in self.sums else sums

    def log_means(self, stage: str) -> None:
        """Log metrics over all rows of all processes since the last call."""
        metrics = self.loss.metrics(self.trainer.strategy.reduce(self.sums.pop(stage), reduce_op="sum"))
        for name, value in metrics.items():
            shown = stage == "validation" and name == "accuracy"
            self.log(f"{stage}/{name}", value, prog_bar=shown, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def check_finite(self, loss: Tensor, sums: Tensor) -> None:
        """Raise `ValueError`, in all processes, if the loss of any is not finite; the message names the step and the terms."""
        total = self.trainer.strategy.reduce(torch.cat([sums, loss.detach()[None]]), reduce_op="sum")
        if torch.isfinite(total[-1]):
            return
        metrics = self.loss.metrics(total[:-1])
        wrong = [name for name, value in metrics.items() if not np.isfinite(value) and name != "total"]
        checkpoint = getattr(self.trainer.checkpoint_callback, "last", None)
        kept = checkpoint if checkpoint is not None and checkpoint.exists() else "none yet"
        raise ValueError(
            f"step {self.global_step} (epoch {self.current_epoch}): {not_finite(wrong)}; "
            f"the last good checkpoint is {kept}. Lower learning_rate, or set gradient_clip (to 100, say)"
        )

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule, in Lightning's form."""
        optimizer, schedule = self.optimizer()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the batch after the checkpoint's."""
        if self.clean_checkpoint is not None:
            self.clean_checkpoint(checkpoint)
        self.batches.position = checkpoint["global_step"]


def not_finite(terms: Sequence[str]) -> str:
    """Say which terms are not finite; if none is, it is their weighted sum.

    >>> not_finite(["reconstruction", "style"])
    'reconstruction and style are not finite'
    """
    return f"{' and '.join(terms) or 'the weighted sum'} {'are' if len(terms) > 1 else 'is'} not finite"


def mixed_seed(*numbers: int) -> int:
    """A seed that differs whenever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
