"""Training by several processes, as if by one: the same batch normalisation, and an end for all when one of them ends.

Each process has its share of every batch (`ccvae.distributed.shard`). Lightning's DDP averages their gradients.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from ccvae.config import TrainConfig

__all__ = ["SharedBatchNorm", "SharedNormalisation", "ending_together", "leave", "trainer_of"]

native_batch_norm_backward = torch.ops.aten.native_batch_norm_backward
LONGEST_WAIT = timedelta(minutes=10)
"""How long a process waits for others before it gives up: longer than reading data or writing a checkpoint may take them."""
SECONDS_BETWEEN_LOOKS = 1.0
FIRST_PROCESS = "CCVAE_FIRST_PROCESS"
"""Environment variable with the id of the process that Lightning started others from."""
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "remote process exited")
"""What gloo and NCCL say when another process is gone."""


def trainer_of(config: TrainConfig, **settings: Any) -> Trainer:
    """Lightning's trainer for a configuration.

    Args:
        config: how to train.
        settings: further arguments of the trainer; those that follow from the configuration too replace what does.

    Raises:
        ValueError: this machine has no such accelerator or number of devices, or they do not go with the strategy.
    """
    configured = {
        "accelerator": config.accelerator,
        "devices": config.devices,
        "num_nodes": config.num_nodes,
        "strategy": strategy_of(config),
        "precision": config.precision,
        "plugins": [SharedNormalisation()],
        "max_epochs": config.epochs,
        "gradient_clip_val": config.gradient_clip or None,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    try:
        return Trainer(**configured | settings)
    except MisconfigurationException as error:
        raise ValueError(
            f"accelerator {config.accelerator}, devices {config.devices}, strategy {config.strategy}: {error}"
        ) from None


def strategy_of(config: TrainConfig) -> str | DDPStrategy:
    """Lightning's strategy of a configuration."""
    if config.strategy != "ddp":
        return config.strategy
    return DDPStrategy(timeout=LONGEST_WAIT, gradient_as_bucket_view=True)


class NormalisedTogether(torch.autograd.Function):
    """Rows normalised by mean and variance of all processes' rows; one exchange forward, one backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised rows; and mean, variance and number (of values a feature) of all processes' rows."""
        own_mean, own_variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        own = torch.cat([own_mean.new_tensor([x.numel() / x.shape[1]]), own_mean, own_variance])
        gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, own)
        counts, means, variances = torch.stack(gathered).split([1, x.shape[1], x.shape[1]], 1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean) ** 2)).sum(0) / count
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance, count)
        return batch_norm(x, mean, variance, weight, bias, eps=epsilon), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """As if mean and variance were fixed, less what goes through them."""
        x, weight, mean, variance, count = ctx.saved_tensors
        # epsilon, and which of the three gradients are wanted
        arguments = (None, None, False, ctx.epsilon, [True, True, True])
        to_x, to_weight, to_bias = native_batch_norm_backward(gradients[0], x, weight, mean, variance, *arguments)
        total = torch.stack([to_weight, to_bias])
        distributed.all_reduce(total)
        inverse = (variance + ctx.epsilon).rsqrt()
        slope, offset = total * inverse * (1 if weight is None else weight) / count
        slope = slope * inverse
        shape = [1, -1, *[1] * (x.ndim - 2)]
        to_x = to_x - torch.addcmul((offset - slope * mean).view(shape), x, slope.view(shape))
        return to_x, *((None, None) if weight is None else (to_weight, to_bias)), None


class SharedBatchNorm(BatchNorm):
    """Batch normalisation by mean and variance of all processes' rows, on processors; torch has it for GPUs only.

    Args:
        norm: what it stands for.
    """

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.training = norm.training

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # any shape will do

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(batch, features, …)`."""
        if not self.training:
            return super().forward(input)
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        normalised, mean, variance, count = NormalisedTogether.apply(wide, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        return normalised.to(input.dtype)  # type: ignore[no-any-return]


class SharedNormalisation(LayerSync):
    """While several processes train a model, its batch normalisation is by all their rows: torch's own on GPUs, else ours."""

    def __init__(self) -> None:
        self.replaced: list[tuple[nn.Module, str, BatchNorm]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Put shared layers in the place of the model's."""
        on_processor = isinstance(model, LightningModule) and model.device.type == "cpu"
        found = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
            if isinstance(child, BatchNorm) and not isinstance(child, nn.SyncBatchNorm | SharedBatchNorm)
        ]
        for parent, name, child in found:
            shared = SharedBatchNorm(child) if on_processor else nn.SyncBatchNorm.convert_sync_batchnorm(child)
            # the same dictionaries, so that what moves or changes one's tensors does so with the other's
            shared._parameters, shared._buffers = child._parameters, child._buffers
            parent.add_module(name, shared)
        self.replaced = found
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the model's own layers back."""
        for parent, name, child in self.replaced:
            child.train(getattr(parent, name).training)
            parent.add_module(name, child)
        self.replaced = []
        return model


@contextmanager
def ending_together() -> Iterator[None]:
    """Within, this process ends when the one that started it for Lightning does, and says so when another is lost.

    Where it is the other way round, Lightning, torchrun or SLURM see it and end all.

    Raises:
        ConnectionError: another process is lost.
    """
    done = threading.Event()
    first = os.environ.get(FIRST_PROCESS)
    if first is not None and int(first) != os.getpid() and os.environ.get("LOCAL_RANK", "0") != "0":
        threading.Thread(target=end_after, args=[int(first), done], daemon=True).start()
    elif first is None:
        os.environ[FIRST_PROCESS] = str(os.getpid())
    try:
        yield
    except RuntimeError as error:
        said = next((words for words in LOST if words in str(error)), None)
        if said is None:
            raise
        raise ConnectionError(
            f"another process of this training has ended, or cannot be reached any more ({said}); all end. What is in the run "
            "folder is whole: find out why it ended, then go on with resume"
        ) from error
    finally:
        done.set()
        if os.environ.get(FIRST_PROCESS) == str(os.getpid()):
            del os.environ[FIRST_PROCESS]


def end_after(first: int, done: threading.Event) -> None:
    """End this process soon after its parent has ended, for a GPU's collective operations might never notice."""
    while os.getppid() == first:
        if done.wait(SECONDS_BETWEEN_LOOKS):
            return
    sys.stderr.write("ccvae: the first process of this training has ended, so this one ends too; go on with resume\n")
    sys.stderr.flush()
    os._exit(1)


def leave() -> None:
    """End this process, where it was one of several that trained: all it had to do is done.

    Winding down as usual, torch's threads now and then abort a process ("terminate called without an active exception"), and
    Lightning or torchrun would then end the others too, whatever they do.
    """
    if distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
