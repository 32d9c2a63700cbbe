"""Running networks outside training: in evaluation mode, in single precision at least, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["GrowingRows", "evaluating", "full"]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Context in which a module is in evaluation mode; afterwards, every submodule has its previous mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def full(output: Tensor) -> Tensor:
    """A network's output in single precision at least: only networks compute in lower precision."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


class GrowingRows:
    """Rows added a few at a time to one tensor.

    A list of small tensors would be scattered among the larger ones that are freed between them, and the allocator could give
    none of that memory back.
    """

    def __init__(self) -> None:
        self.buffer: Tensor | None = None
        self.count = 0

    def add(self, part: Tensor) -> None:
        """Add rows `(rows, …)`."""
        needed = self.count + len(part)
        if self.buffer is None or needed > len(self.buffer):
            larger = part.new_empty(max(needed, 2 * self.count), *part.shape[1:])
            if self.buffer is not None:
                larger[: self.count] = self.rows
            self.buffer = larger
        self.buffer[self.count : needed] = part
        self.count = needed

    @property
    def rows(self) -> Tensor:
        """All rows so far."""
        if self.buffer is None:
            raise ValueError("inputs: there are none")
        return self.buffer[: self.count]
