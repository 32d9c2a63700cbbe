"""Training of the oracle, through the loop that trains models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ccvae.data.dataset import Dataset
from ccvae.distributed.shard import Shard

if TYPE_CHECKING:
    from ccvae.training.losses import Step

__all__ = ["OracleConfig", "train_network"]

WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class OracleConfig:
    """Architecture and training of an oracle.

    Args:
        epochs: passes over the training rows.
        least_steps: minimum number of steps, even if that takes more passes.
        width: channels of the first convolution; for vectors, hidden units divided by eight.
        batch_size: rows per step, at most an eighth of all rows.
        learning_rate: peak learning rate (AdamW, one-cycle schedule).
        blur: fraction of training images that are blurred, so that blurred images are recognized by what they show.
        seed: seed of weights, batches and blur.
    """

    epochs: int = 12
    least_steps: int = 300
    width: int = 48
    batch_size: int = 128
    learning_rate: float = 4e-3
    blur: float = 0.6
    seed: int = 0


@final
class OracleBatches:
    """Endless shuffled batches, some of whose images are blurred. See `ccvae.training.module.TrainingBatches`.

    Args:
        data: the inputs.
        rows: rows to train on.
        targets: float32 `(rows of data, targets)`.
        size: rows per batch.
        blur: fraction of images that are blurred.
        seed: seed of order and blur.
    """

    def __init__(self, data: Dataset, rows: np.ndarray, targets: np.ndarray, size: int, blur: float, seed: int) -> None:
        self.data, self.rows, self.targets, self.size, self.blur = data, rows, targets, size, blur
        self.generator = torch.Generator().manual_seed(seed)
        self.position, self.shard = 0, Shard(size)

    def __len__(self) -> int:
        return len(self.rows) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.rows), generator=self.generator).numpy()
        for place in range(len(self)):
            chosen = np.sort(self.rows[order[place * self.size : (place + 1) * self.size]])
            x = self.data.tensor(chosen)
            if x.ndim == 4 and self.blur:
                x = blurred(x, self.blur, self.generator)
            yield x, torch.tensor(self.targets[chosen])


@final
class OracleLoss:
    """The network's own loss. See `ccvae.training.losses.Loss`.

    Args:
        labels: number of targets that are labels; the others are variants.
    """

    def __init__(self, labels: int) -> None:
        self.labels = labels

    def training_loss(self, model: Any, x: Tensor, y: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Loss of a batch, and its sum over rows for metrics."""
        loss: Tensor = model.loss(x, y[:, : self.labels], y[:, self.labels :].long())
        return loss, torch.stack([loss.new_tensor(float(len(x))), loss.detach() * len(x)])

    def validation_sums(self, model: Any, x: Tensor, y: Tensor, step: Step) -> Tensor:
        """As in training; the oracle is trained without validation."""
        return self.training_loss(model, x, y, step)[1]

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """The mean loss."""
        rows, total = sums.tolist()
        return {"total": total / rows}


def train_network(
    network: nn.Module,
    data: Dataset,
    labels: np.ndarray,
    variants: np.ndarray,
    config: OracleConfig,
    progress: bool,
    device: torch.device | str,
) -> None:
    """Train a network on a data set's training rows, in place.

    Args:
        network: has a method `loss(x, labels, variants)`.
        data: the inputs.
        labels: float32 `(rows, labels)`, NaN where unknown.
        variants: int `(rows, labels)`, -1 for none.
        config: how to train.
        progress: whether to show a progress bar.
        device: where to train.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    # Lightning takes seconds to import, and an oracle is trained once
    from lightning.fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

    from ccvae.config import TrainConfig
    from ccvae.training.callbacks import Interrupted, ProgressBar, StopOnInterrupt
    from ccvae.training.module import TrainingModule
    from ccvae.training.trainer import build_trainer, run

    rows, device = data.splits["train"], torch.device(device)
    size = max(2, min(config.batch_size, len(rows) // 8))
    batches = OracleBatches(data, rows, np.concatenate([labels, variants], 1, dtype=np.float32), size, config.blur, config.seed)
    steps = max(config.epochs * len(batches), config.least_steps)

    def optimizer() -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        adam = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}])
        return adam, torch.optim.lr_scheduler.OneCycleLR(adam, config.learning_rate, total_steps=steps)

    # dropout draws from torch's global generator, seeded once: oracles in caches were trained so
    module = TrainingModule(
        network.train(), OracleLoss(labels.shape[1]), batches, optimizer, steps, config.seed, seed_steps=False
    )
    interrupts = StopOnInterrupt(None)
    trainer = build_trainer(
        TrainConfig(accelerator="gpu" if device.type == "cuda" else device.type, precision="32-true"),
        devices=[device.index or 0] if device.type == "cuda" else 1,
        strategy="auto",
        plugins=[LightningEnvironment()],  # by this process alone, even if torchrun or srun started several
        max_epochs=-1,
        max_steps=steps,
        callbacks=[interrupts, *([ProgressBar("training the oracle (once for this data)", steps)] if progress else [])],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    try:
        run(trainer, module, interrupts)
    except Interrupted:
        raise KeyboardInterrupt("the training of the oracle was stopped; the next evaluation starts it again") from None


def blurred(x: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Images of which a fraction is mixed with its own 3×3 mean, with weights from 0 to 1."""
    mean = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    drawn = torch.rand(2, len(x), 1, 1, 1, generator=generator)
    return torch.lerp(x, mean, drawn[0] * (drawn[1] < fraction))
