"""Probes: small networks, many trained side by side, that tell what can be read from parts of the latent vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

__all__ = ["Question", "read"]

HIDDEN = 32
STEPS = 400
BATCH = 256
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, eq=False)
class Question:
    """What a probe is to read, and from where.

    Args:
        columns: of the inputs, that it sees.
        target: class of every training row `(rows,)`, -1 where there is none: such rows are not learned from.
        classes: how many classes.
    """

    columns: np.ndarray
    target: np.ndarray
    classes: int


def read(questions: list[Question], train: np.ndarray, test: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Answers of probes: one hidden layer each, trained on one set of rows and asked of another.

    Args:
        questions: what to read.
        train: inputs `(rows, columns)` that the targets belong to.
        test: inputs to answer for.
        seed: of weights and batches.

    Returns:
        Probabilities `(test rows, classes)` for each question.
    """
    if not questions:
        return []
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    inputs, asked = (torch.tensor((rows - mean) / deviation, dtype=torch.float32) for rows in (train, test))
    masks = torch.zeros(len(questions), inputs.shape[1])
    for mask, question in zip(masks, questions, strict=True):
        mask[question.columns] = 1
    targets = torch.tensor(np.stack([question.target for question in questions]), dtype=torch.long)
    most = max(question.classes for question in questions)
    impossible = torch.stack([torch.arange(most) >= question.classes for question in questions])
    generator = torch.Generator().manual_seed(seed)
    probes = Probes(masks, most, generator)
    optimizer = torch.optim.AdamW(probes.parameters, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    with torch.enable_grad():
        for _ in range(STEPS):
            rows = torch.randint(len(inputs), (min(BATCH, len(inputs)),), generator=generator)
            logits = probes(inputs[rows]).masked_fill(impossible[:, None], -1e9)
            wanted = targets[:, rows]
            losses = cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-1, reduction="none").reshape(
                wanted.shape
            )
            loss = (losses.sum(1) / (wanted >= 0).sum(1).clamp_min(1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        answers = torch.cat([probes(part) for part in asked.split(1024)], 1).masked_fill(impossible[:, None], -1e9).softmax(-1)
    return [answer[:, : question.classes].numpy() for answer, question in zip(answers, questions, strict=True)]


class Probes:
    """Networks of one hidden layer, one a question, each of which sees its own columns only.

    Args:
        masks: `(questions, columns)`, 1 for what each sees.
        classes: outputs of each.
        generator: of the first weights.
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
        """Logits `(questions, rows, classes)` of inputs `(rows, columns)`."""
        first, shifts, last, bias = self.parameters
        hidden = relu(inputs @ (first * self.masks[..., None]) + shifts)
        logits: Tensor = hidden @ last + bias
        return logits
