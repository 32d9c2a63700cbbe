"""What the figures of a run show: which rows of the data, which labels, and which donors for a transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous, Label, LabelSpace
from ccvae.labels.cells import Value
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import traverse

__all__ = ["Choices", "choose", "donors", "ends", "range_of", "recipients"]

POOL = 400
"""Rows among which to choose, taken at random."""
MOST_LABELS = 24
PROBES = 6
"""Rows on which labels are tried."""
PLAIN = 30
"""Rows that count as ordinary."""
STRONGEST = 0.05
"""Shard of an input's numbers, those that change most, by which a change is measured: small things in a picture count too."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What the figures of a run show.

    Args:
        split: the split that rows are taken from: test, or where that is empty validation, or train.
        pool: rows among which the others were chosen.
        latents: their posterior means `(rows, latent_dim)`.
        rows: rows in which labels take all their values, as far as they can; any first few of them are varied.
        plain: position in the pool of a row whose labels are ordinary, and on which they show well.
        labels: labels to show, in their order; all of them, or those that change inputs most.
        pair: two labels that change inputs much, and at different places; None if there is only one.
        varied: labels, those first whose holders differ most in how it shows, for the size of what it changes.
    """

    split: str
    pool: np.ndarray
    latents: Tensor
    rows: np.ndarray
    plain: int
    labels: list[str]
    pair: tuple[str, str] | None
    varied: list[str]

    @property
    def plain_row(self) -> int:
        """The plain row, among all of the data."""
        return int(self.pool[self.plain])


def choose(model: CCVAE, data: Dataset, seed: int = 0, count: int = 20) -> Choices:
    """Choose what to show.

    Args:
        model: the model.
        data: its data.
        seed: decides the rows among which to choose.
        count: rows to choose, if there are as many.
    """
    split = next(name for name in reversed(SPLITS) if len(data.splits[name]))
    pool = np.random.default_rng(seed).permutation(data.splits[split])[:POOL]
    probes = ordinary(data.space, data.labels[pool])[:PROBES]
    changes = torch.stack([effect(model, data.tensor(pool[probes]), name) for name in model.space.names])
    maps = changes.mean(1)
    shown = sorted(strength(maps).argsort(descending=True)[:MOST_LABELS].tolist())
    labels = [model.space.names[column] for column in shown]
    # where a label shows well is relative to how well it shows elsewhere, so that all labels have the same say
    well = strength(changes)[shown]
    plain = probes[int((well / well.mean(1, keepdim=True).clamp_min(1e-12)).sum(0).argmax())]
    latents = model.encode(data.tensor(pool)).loc
    # relative to how much a label changes at all, so that small things count as much as large ones
    variety = {
        name: variety_of(model, name, latents, data.labels[pool], probes) / max(float(strength(maps[column])), 1e-12)
        for name, column in zip(labels, shown, strict=True)
    }
    return Choices(
        split=split,
        pool=pool,
        latents=latents,
        rows=pool[covering(values_shown(data.space, data.labels[pool]), count)],
        plain=int(plain),
        labels=labels,
        pair=far_apart(maps, model.space.names) if len(maps) > 1 else None,
        varied=sorted(labels, key=lambda name: -variety[name]),
    )


def ends(label: Label) -> tuple[Value | float, Value | float]:
    """First and last value that a label is shown with; a continuous one's are two standard deviations from its mean."""
    return range_of(label) if isinstance(label, Continuous) else (label.values[0], label.values[-1])


def range_of(label: Continuous) -> tuple[float, float]:
    """Two standard deviations below the mean, and above."""
    return (label.mean - 2 * label.scale, label.mean + 2 * label.scale)


def donors(model: CCVAE, name: str, latents: Tensor, known: np.ndarray, count: int) -> np.ndarray:
    """Positions of rows that show a label in different ways: holders of a binary label and at last one that lacks it, one of
    each class, or from low to high.

    Args:
        model: the model.
        name: the label.
        latents: posterior means of the rows to choose among `(rows, latent_dim)`.
        known: their labels `(rows, labels)`.
        count: how many at most.
    """
    column = model.space.index(name)
    label, values = model.space.labels[column], known[:, column]
    if isinstance(label, Categorical):
        classes, places = np.unique(values, return_index=True)
        return np.asarray(places[~np.isnan(classes)][:count])
    if isinstance(label, Continuous):
        return spread(values, count)
    holders, others = np.flatnonzero(values > 0.5), np.flatnonzero(values <= 0.5)
    if not len(holders):
        return others[:1]
    block = latents[holders, model.block_slices[column]]
    along = torch.linalg.svd(block - block.mean(0), full_matrices=False).Vh[0]
    return np.concatenate([holders[spread((block @ along).cpu().numpy(), count - 1)], others[:1]])


def recipients(space: LabelSpace, name: str, known: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """Positions of rows to transfer a label onto: ordinary ones that differ, of different classes, or most of them with the
    label's lower values.

    Args:
        space: the labels.
        name: the label.
        known: labels of the rows to choose among `(rows, labels)`.
        count: how many at most.
        first: position of a row that is taken before others.
    """
    column = space.index(name)
    label = space.labels[column]
    order = ordinary(space, known)
    order = np.concatenate([order[order == first], order[order != first]])
    values = known[order, column]
    if isinstance(label, Categorical):
        classes, places = np.unique(values, return_index=True)
        return np.asarray(order[np.sort(places[~np.isnan(classes)])[:count]])
    middle = label.mean if isinstance(label, Continuous) else 0.5
    low, high = order[values <= middle][:PLAIN], order[values > middle][:PLAIN]
    fewer = min((count - 1) // 2, len(high))
    chosen = [
        rows[covering(values_shown(space, known[rows]), few)]
        for rows, few in ((low, count - fewer), (high, fewer))
        if len(rows)
    ]
    return np.concatenate(chosen) if chosen else low


def values_shown(space: LabelSpace, known: np.ndarray) -> np.ndarray:
    """Which values of labels rows have: bool `(rows, values of all labels)`; of a number, below its mean or above."""
    shown = []
    for label, numbers in zip(space, known.T, strict=True):
        if isinstance(label, Categorical):
            shown += [numbers == position for position in range(len(label.values))]
        else:
            middle = 0.5 if isinstance(label, Binary) else label.mean
            shown += [numbers < middle, numbers >= middle]
    return np.stack(shown, 1)


def covering(shown: np.ndarray, count: int) -> list[int]:
    """Rows that show many values: each next one shows most of those that were shown least often."""
    chosen: list[int] = []
    times = np.zeros(shown.shape[1])
    for _ in range(min(count, len(shown))):
        gain = (shown * 4.0**-times).sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        times += shown[chosen[-1]]
    return chosen


def ordinary(space: LabelSpace, known: np.ndarray) -> np.ndarray:
    """Order of rows, those with the most probable labels first."""
    score = np.zeros(len(known))
    for label, numbers in zip(space, known.T, strict=True):
        if isinstance(label, Continuous):
            score += np.nan_to_num(-(((numbers - label.mean) / label.scale) ** 2) / 2)
        else:
            log_priors = np.log(label.priors)
            # an absent thing hides nothing, so where both values are as frequent, the first one is the plainer
            log_priors[0] += 0.5 if isinstance(label, Binary) else 0
            score += np.where(np.isnan(numbers), 0, log_priors[np.nan_to_num(numbers).round().astype(int)])
    return np.argsort(-score, kind="stable")


def effect(model: CCVAE, inputs: Tensor, name: str) -> Tensor:
    """How much each number of inputs changes between a label's ends, on average over channels: `(rows, numbers)`."""
    walk = traverse(model, inputs, name, steps=2)
    change = (walk[:, 1] - walk[:, 0]).abs()
    return (change.mean(1) if change.ndim == 4 else change).flatten(1)


def strength(changes: Tensor) -> Tensor:
    """Size of changes `(…, numbers)`: the mean of the largest of them."""
    most = max(1, round(STRONGEST * changes.shape[-1]))
    return changes.topk(most, -1).values.mean(-1)


def far_apart(maps: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """The two labels of which both change inputs much, and at different places."""
    directions = maps / maps.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    strengths = strength(maps)
    score = (strengths[:, None] * strengths).sqrt() * (1 - directions @ directions.T)
    first, second = divmod(int(score.triu(1).argmax()), len(names))
    return (names[first], names[second])


def variety_of(model: CCVAE, name: str, latents: Tensor, known: np.ndarray, targets: np.ndarray) -> float:
    """Size of the differences between a label's donors, once moved onto others, as far as they are the same on all of these."""
    sources = donors(model, name, latents, known, PROBES + 2)[:-1]
    if len(sources) < 2:
        return 0.0
    block = model.block_slices[model.space.index(name)]
    moved = latents[targets, None].repeat(1, len(sources), 1)
    moved[..., block] = latents[sources, block]
    pictures = model.decode(moved.flatten(0, 1)).reshape(len(targets), len(sources), -1)
    differences = pictures - pictures.mean(1, keepdim=True)
    alike, each = strength(differences.mean(0).std(0, correction=0)), strength(differences.std(1, correction=0)).mean()
    return float(alike**2 / each.clamp_min(1e-12))


def spread(numbers: np.ndarray, count: int) -> np.ndarray:
    """Positions of numbers, from low to high at even distances of rank; NaN are left out."""
    order = np.argsort(numbers, kind="stable")[: (~np.isnan(numbers)).sum()]
    places = (np.arange(count) + 0.5) / count * len(order)
    return order[np.unique(places.astype(int))] if len(order) else order
