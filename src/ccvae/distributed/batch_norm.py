"""Batch normalisation over the rows of all processes, so that several processes train as one would.

torch has it for GPUs only (`torch.nn.SyncBatchNorm`); the layer here is for CPUs. Each process has its shard of every batch
(`ccvae.distributed.shard`), and Lightning's DDP averages the gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = ["BatchNormSync", "CPUSyncBatchNorm"]

native_batch_norm_backward = torch.ops.aten.native_batch_norm_backward


class SyncNormalization(torch.autograd.Function):
    """Normalisation by mean and variance over the rows of all processes; one exchange forward, one backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised rows; and mean, variance and number of values per feature over the rows of all processes."""
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
        """Gradient with mean and variance fixed, minus the part that flows through them."""
        x, weight, mean, variance, count = ctx.saved_tensors
        # epsilon, and which of the three gradients to compute
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


class CPUSyncBatchNorm(BatchNorm):
    """Batch normalisation by mean and variance over the rows of all processes, on CPUs.

    Args:
        norm: the layer whose sizes and settings it takes.
    """

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.training = norm.training

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # any shape is accepted

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(batch, features, …)`."""
        if not self.training:
            return super().forward(input)
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        normalised, mean, variance, count = SyncNormalization.apply(wide, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        return normalised.to(input.dtype)  # type: ignore[no-any-return]


class BatchNormSync(LayerSync):
    """Lightning plugin for training on several processes: torch's synchronised layers on GPUs, ours on CPUs."""

    def __init__(self) -> None:
        self.replaced: list[tuple[nn.Module, str, BatchNorm]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the model's layers by synchronised ones."""
        on_cpu = isinstance(model, LightningModule) and model.device.type == "cpu"
        found = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
            if isinstance(child, BatchNorm) and not isinstance(child, nn.SyncBatchNorm | CPUSyncBatchNorm)
        ]
        for parent, name, child in found:
            shared = CPUSyncBatchNorm(child) if on_cpu else nn.SyncBatchNorm.convert_sync_batchnorm(child)
            # the same dictionaries, so that moving or changing one layer's tensors does so for the other
            shared._parameters, shared._buffers = child._parameters, child._buffers
            parent.add_module(name, shared)
        self.replaced = found
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the original layers back."""
        for parent, name, child in self.replaced:
            child.train(getattr(parent, name).training)
            parent.add_module(name, child)
        self.replaced = []
        return model
