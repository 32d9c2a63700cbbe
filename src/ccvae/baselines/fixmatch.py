"""FixMatch (Sohn et al., 2020): a classifier of labelled rows that must agree with itself on changed unlabelled images.

What the network is sure of in an image as training gives it (mirrored or not) is a label of the same image changed strongly:
moved, recoloured and with a hole. A cell, not a row, is labelled, so any pattern of missing labels is covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ccvae.distributed.shard import Shard
from ccvae.model.classification import LogLikelihood, log_likelihood_of_labels
from ccvae.model.inference import evaluating
from ccvae.model.label_blocks.discrete import DiscreteBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.training.augmentation import Augmentation

__all__ = ["FixMatch", "with_hole"]


@dataclass(frozen=True)
class FixMatch:
    """Log q(y|x) of observed labels, plus that of the network's own confident labels for changed images: an objective.

    See `ccvae.model.objective.Objective`. Continuous labels learn from observed cells only, for they have no confidence.

    Args:
        threshold: probability from which a prediction counts as a label.
        weight: weight of the second term.
        strong: how images are changed for the second term.
        hole: side of a grey square in them, as a fraction of the image's; 0 makes none.

    Example:
        >>> from ccvae.baselines.fixmatch import FixMatch
        >>> from ccvae.training.augmentation import Augmentation
        >>> objective = FixMatch(strong=Augmentation(shift=2, color=0.3))
        >>> objective.threshold
        0.95
    """

    threshold: float = 0.95
    weight: float = 1.0
    strong: Augmentation = field(default_factory=lambda: Augmentation(shift=2, color=0.3))
    hole: float = 0.3

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("hole", self.hole)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}: expected a number from 0 to below 1, found {value}")
        if self.weight < 0:
            raise ValueError(f"weight: expected 0 or more, found {self.weight}")

    def __call__(
        self, model: LatentModel, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
    ) -> LogLikelihood:
        """Both terms of each label, `(batch, labels)` nats."""
        observed = log_likelihood_of_labels(model, x, y)
        if not self.weight:
            return observed
        guesses = self.confident(model, x, y)
        if guesses.isnan().all():
            return observed
        changed = with_hole(self.strong(x, generator, shard), self.hole, generator, shard)
        with keeping_statistics(cast(nn.Module, model.encoder)):
            guessed = log_likelihood_of_labels(model, changed, guesses)
        return LogLikelihood(observed.log_q_y + self.weight * guessed.log_q_y)

    @torch.no_grad()
    def confident(self, model: LatentModel, x: Tensor, y: Tensor) -> Tensor:
        """What the model is sure of where labels are missing: `(batch, labels)`, NaN elsewhere."""
        with evaluating(cast(nn.Module, model.encoder)):
            posterior = model.read(x, "labels")
        guesses = torch.full_like(y, torch.nan)
        for block in model.label_blocks():
            if isinstance(block, DiscreteBlocks):
                found = block.predict(posterior.loc[:, block.latents], posterior.scale[:, block.latents]).max(-1)
                sure = (found.values >= self.threshold) & y[:, block.columns].isnan()
                guesses[:, block.columns] = torch.where(sure, found.indices.to(y.dtype), torch.nan)
        return guesses


@contextmanager
def keeping_statistics(network: nn.Module) -> Iterator[None]:
    """Context in which batch normalisation normalises by the batch, but keeps its averages: changed images are not in them."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def with_hole(x: Tensor, side: float, generator: torch.Generator | None = None, shard: Shard | None = None) -> Tensor:
    """Images `(batch, channels, height, width)` with a grey square at a random place; vectors stay as they are.

    Args:
        x: images in [0, 1].
        side: of the square, as a fraction of the image's height and width. The square may reach over the edge.
        generator: source of random numbers, drawn for the whole batch.
        shard: which rows of the batch these are.
    """
    if not side or x.ndim != 4:
        return x
    shard = shard or Shard(len(x))
    centre = x.new_empty(shard.total, 2).uniform_(generator=generator)[shard.rows]
    inside = []
    for axis, size in enumerate(x.shape[2:]):
        places = (torch.arange(size, device=x.device) + 0.5) / size
        inside.append((places - centre[:, axis, None]).abs() < side / 2)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(hole, 0.5, x)
