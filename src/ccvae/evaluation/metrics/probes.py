"""Probes: small neural networks that measure what can be read from parts of the latent vector; all are trained in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

__all__ = ["Probe", "fit_probes"]

HIDDEN = 32
STEPS = 400
BATCH = 256
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, eq=False)
class Probe:
    """What a probe predicts, and from which inputs.

    Args:
        columns: input columns that it sees.
        target: class of every training row `(rows,)`; rows with -1 are ignored.
        classes: number of classes.
    """

    columns: np.ndarray
    target: np.ndarray
    classes: int


def fit_probes(probes: list[Probe], train: np.ndarray, test: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Fit probes with one hidden layer each on one set of rows and predict another.

    Args:
        probes: what to predict.
        train: inputs `(rows, columns)` of the targets.
        test: inputs to predict for `(rows, columns)`.
        seed: seed of weights and batches.

    Returns:
        Probabilities `(test rows, classes)` of each probe.
    """
    if not probes:
        return []
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    inputs, evaluated = (torch.tensor((rows - mean) / deviation, dtype=torch.float32) for rows in (train, test))
    masks = torch.zeros(len(probes), inputs.shape[1])
    for mask, probe in zip(masks, probes, strict=True):
        mask[probe.columns] = 1
    targets = torch.tensor(np.stack([probe.target for probe in probes]), dtype=torch.long)
    most = max(probe.classes for probe in probes)
    impossible = torch.stack([torch.arange(most) >= probe.classes for probe in probes])
    generator = torch.Generator().manual_seed(seed)
    networks = ProbeNetworks(masks, most, generator)
    optimizer = torch.optim.AdamW(networks.parameters, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    with torch.enable_grad():
        for _ in range(STEPS):
            rows = torch.randint(len(inputs), (min(BATCH, len(inputs)),), generator=generator)
            logits = networks(inputs[rows]).masked_fill(impossible[:, None], -1e9)
            expected = targets[:, rows]
            losses = cross_entropy(logits.flatten(0, 1), expected.flatten(), ignore_index=-1, reduction="none").reshape(
                expected.shape
            )
            loss = (losses.sum(1) / (expected >= 0).sum(1).clamp_min(1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        answers = (
            torch.cat([networks(part) for part in evaluated.split(1024)], 1).masked_fill(impossible[:, None], -1e9).softmax(-1)
        )
    return [answer[:, : probe.classes].numpy() for answer, probe in zip(answers, probes, strict=True)]


class ProbeNetworks:
    """Networks with one hidden layer, one per probe; each sees only its own columns.

    Args:
        masks: `(probes, columns)`, 1 for the columns that each sees.
        classes: number of outputs of each.
        generator: random generator of the initial weights.
    """

    def __init__(self, masks: Tensor, classes: int, generator: torch.Generator) -> None:
        count, columns = masks.shape
        self.masks = masks
        scale = masks.sum(1).clamp_min(1).rsqrt()[:, None, None]
        first = torch.randn(count, columns, HIDDEN, generator=generator) * scale * masks[..., None]
        last = torch.randn(count, HIDDEN, classes, generator=generator) / HIDDEN**0.5
        shifts = torch.randn(count, 1, HIDDEN, generator=generator)
        self.parameters = [first, shifts, last, torch.zeros(count, 1, classes)]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits `(probes, rows, classes)` of inputs `(rows, columns)`."""
        first, shifts, last, bias = self.parameters
        hidden = relu(inputs @ (first * self.masks[..., None]) + shifts)
        logits: Tensor = hidden @ last + bias
        return logits
