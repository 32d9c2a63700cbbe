"""Rows of all processes in every process, differentiably."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed

from ccvae.distributed.shard import Shard

__all__ = ["all_rows"]


class AllRows(torch.autograd.Function):
    """Every process's rows, as many as the largest shard has; their gradients are summed over the processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """From `(rows, …)` to `(processes, rows, …)`."""
        found = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, rows.contiguous())
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The gradient of this process's rows."""
        gradient = gradients[0].contiguous()
        distributed.all_reduce(gradient)
        return gradient[distributed.get_rank()]


def all_rows(own: Tensor, shard: Shard) -> Tensor:
    """The rows of the whole batch, in order, from each process's shard of them.

    A process's loss over them has gradients in the rows of all processes. Lightning's DDP averages gradients, so a loss of own
    rows must be their mean, or a sum times the number of processes divided by that of rows.

    Args:
        own: this process's rows, `(rows, features)`.
        shard: which rows they are.
    """
    if shard.world_size == 1:
        return own
    largest = -(-shard.total // shard.world_size)
    padded = torch.cat([own, own.new_zeros(largest - len(own), *own.shape[1:])])
    found = cast(Tensor, AllRows.apply(padded))  # type: ignore[no-untyped-call]
    return found.transpose(0, 1).flatten(0, 1)[: shard.total]
