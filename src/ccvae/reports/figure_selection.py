"""Which rows, labels and transfer pairs the figures of a run show."""

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

__all__ = ["FigureSelection", "end_values", "select", "sources_of", "targets_of", "value_range"]

POOL = 400
"""Random rows among which the shown ones are selected."""
MOST_LABELS = 24
PROBES = 6
"""Rows on which the effect of each label is measured."""
TYPICAL = 30
"""Number of rows that count as typical."""
STRONGEST = 0.05
"""Fraction of an input's numbers, those that change most, that measures a change; so small parts of an image count too."""


@dataclass(frozen=True, eq=False)
class FigureSelection:
    """What the figures of a run show.

    Args:
        split: the split that rows are taken from: the first of test, validation and train that has rows.
        pool: rows among which the others were chosen.
        latents: posterior means of the pool `(rows, latent_dim)`.
        rows: rows that together show as many values of labels as possible; any first few of them are diverse.
        typical: position in the pool of a row with typical labels, on which labels show well.
        labels: labels to show, in their order: all, or those with the largest effect.
        pair: two labels with large effects at different places; None if there is only one label.
        most_variable: labels in order of how much their appearance varies between rows, relative to the size of their effect.
    """

    split: str
    pool: np.ndarray
    latents: Tensor
    rows: np.ndarray
    typical: int
    labels: list[str]
    pair: tuple[str, str] | None
    most_variable: list[str]

    @property
    def typical_row(self) -> int:
        """The typical row's number in the data."""
        return int(self.pool[self.typical])


def select(model: CCVAE, data: Dataset, seed: int = 0, count: int = 20) -> FigureSelection:
    """Select what to show.

    Args:
        model: the model.
        data: its data.
        seed: seed of the pool.
        count: number of rows to select, if there are as many.
    """
    split = next(name for name in reversed(SPLITS) if len(data.splits[name]))
    pool = np.random.default_rng(seed).permutation(data.splits[split])[:POOL]
    probes = by_typicality(data.space, data.labels[pool])[:PROBES]
    changes = torch.stack([effect(model, data.tensor(pool[probes]), name) for name in model.space.names])
    maps = changes.mean(1)
    shown = sorted(strength(maps).argsort(descending=True)[:MOST_LABELS].tolist())
    labels = [model.space.names[column] for column in shown]
    # each label is compared with itself on other rows, so that all labels have the same weight
    effects = strength(changes)[shown]
    typical = probes[int((effects / effects.mean(1, keepdim=True).clamp_min(1e-12)).sum(0).argmax())]
    latents = model.encode(data.tensor(pool)).loc
    # relative to the label's overall effect, so that small parts of an image count as much as large ones
    variety = {
        name: variety_of(model, name, latents, data.labels[pool], probes) / max(float(strength(maps[column])), 1e-12)
        for name, column in zip(labels, shown, strict=True)
    }
    return FigureSelection(
        split=split,
        pool=pool,
        latents=latents,
        rows=pool[covering(value_indicators(data.space, data.labels[pool]), count)],
        typical=int(typical),
        labels=labels,
        pair=distant_pair(maps, model.space.names) if len(maps) > 1 else None,
        most_variable=sorted(labels, key=lambda name: -variety[name]),
    )


def end_values(label: Label) -> tuple[Value | float, Value | float]:
    """First and last value of a label in figures; for a continuous label, two scales below and above the mean."""
    return value_range(label) if isinstance(label, Continuous) else (label.values[0], label.values[-1])


def value_range(label: Continuous) -> tuple[float, float]:
    """Two scales below the mean, and two above."""
    return (label.mean - 2 * label.scale, label.mean + 2 * label.scale)


def sources_of(model: CCVAE, name: str, latents: Tensor, known: np.ndarray, count: int) -> np.ndarray:
    """Positions of rows that show a label in different ways, as sources of transfers.

    For a binary label, rows in which it is present, and at last one in which it is absent; for a categorical label, one row of
    each class; for a continuous label, from low to high.

    Args:
        model: the model.
        name: the label.
        latents: posterior means of the rows to choose among `(rows, latent_dim)`.
        known: their labels `(rows, labels)`.
        count: maximum number.
    """
    column = model.space.index(name)
    label, values = model.space.labels[column], known[:, column]
    if isinstance(label, Categorical):
        classes, places = np.unique(values, return_index=True)
        return np.asarray(places[~np.isnan(classes)][:count])
    if isinstance(label, Continuous):
        return evenly_ranked(values, count)
    holders, others = np.flatnonzero(values > 0.5), np.flatnonzero(values <= 0.5)
    if not len(holders):
        return others[:1]
    block = latents[holders, model.block_slices[column]]
    along = torch.linalg.svd(block - block.mean(0), full_matrices=False).Vh[0]
    return np.concatenate([holders[evenly_ranked((block @ along).cpu().numpy(), count - 1)], others[:1]])


def targets_of(space: LabelSpace, name: str, known: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """Positions of typical but diverse rows to transfer a label onto, most of them with the label's lower values.

    Args:
        space: the labels.
        name: the label.
        known: labels of the rows to choose among `(rows, labels)`.
        count: maximum number.
        first: position of a row that is preferred.
    """
    column = space.index(name)
    label = space.labels[column]
    order = by_typicality(space, known)
    order = np.concatenate([order[order == first], order[order != first]])
    values = known[order, column]
    if isinstance(label, Categorical):
        classes, places = np.unique(values, return_index=True)
        return np.asarray(order[np.sort(places[~np.isnan(classes)])[:count]])
    middle = label.mean if isinstance(label, Continuous) else 0.5
    low, high = order[values <= middle][:TYPICAL], order[values > middle][:TYPICAL]
    fewer = min((count - 1) // 2, len(high))
    chosen = [
        rows[covering(value_indicators(space, known[rows]), few)]
        for rows, few in ((low, count - fewer), (high, fewer))
        if len(rows)
    ]
    return np.concatenate(chosen) if chosen else low


def value_indicators(space: LabelSpace, known: np.ndarray) -> np.ndarray:
    """Which values rows have: bool `(rows, values of all labels)`; a continuous label is below or above its mean."""
    shown = []
    for label, numbers in zip(space, known.T, strict=True):
        if isinstance(label, Categorical):
            shown += [numbers == position for position in range(len(label.values))]
        else:
            middle = 0.5 if isinstance(label, Binary) else label.mean
            shown += [numbers < middle, numbers >= middle]
    return np.stack(shown, 1)


def covering(shown: np.ndarray, count: int) -> list[int]:
    """Greedy choice of rows that show many values: each next row shows most of the values shown least often so far."""
    chosen: list[int] = []
    times = np.zeros(shown.shape[1])
    for _ in range(min(count, len(shown))):
        gain = (shown * 4.0**-times).sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        times += shown[chosen[-1]]
    return chosen


def by_typicality(space: LabelSpace, known: np.ndarray) -> np.ndarray:
    """Order of rows, most probable labels first."""
    score = np.zeros(len(known))
    for label, numbers in zip(space, known.T, strict=True):
        if isinstance(label, Continuous):
            score += np.nan_to_num(-(((numbers - label.mean) / label.scale) ** 2) / 2)
        else:
            log_priors = np.log(label.priors)
            # where both values are equally frequent, absence is the more typical one
            log_priors[0] += 0.5 if isinstance(label, Binary) else 0
            score += np.where(np.isnan(numbers), 0, log_priors[np.nan_to_num(numbers).round().astype(int)])
    return np.argsort(-score, kind="stable")


def effect(model: CCVAE, inputs: Tensor, name: str) -> Tensor:
    """Absolute change of inputs between a label's end values, averaged over channels: `(rows, numbers)`."""
    walk: Tensor = traverse(model, inputs, name, steps=2)
    change: Tensor = (walk[:, 1] - walk[:, 0]).abs()
    seen = change.mean(1) if change.ndim == 4 else change
    return seen.flatten(1)


def strength(changes: Tensor) -> Tensor:
    """Size of changes `(…, numbers)`: mean of the largest `STRONGEST` fraction."""
    most = max(1, round(STRONGEST * changes.shape[-1]))
    return changes.topk(most, -1).values.mean(-1)


def distant_pair(maps: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """The two labels with the largest effects at the most different places."""
    directions = maps / maps.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    strengths = strength(maps)
    score = (strengths[:, None] * strengths).sqrt() * (1 - directions @ directions.T)
    first, second = divmod(int(score.triu(1).argmax()), len(names))
    return (names[first], names[second])


def variety_of(model: CCVAE, name: str, latents: Tensor, known: np.ndarray, targets: np.ndarray) -> float:
    """How much a label's appearance differs between its sources after transfer, as far as the difference is the same on all
    targets.
    """
    sources = sources_of(model, name, latents, known, PROBES + 2)[:-1]
    if len(sources) < 2:
        return 0.0
    block = model.block_slices[model.space.index(name)]
    moved = latents[targets, None].repeat(1, len(sources), 1)
    moved[..., block] = latents[sources, block]
    images = model.decode(moved.flatten(0, 1)).reshape(len(targets), len(sources), -1)
    differences = images - images.mean(1, keepdim=True)
    common, each = strength(differences.mean(0).std(0, correction=0)), strength(differences.std(1, correction=0)).mean()
    return float(common**2 / each.clamp_min(1e-12))


def evenly_ranked(numbers: np.ndarray, count: int) -> np.ndarray:
    """Positions of numbers from low to high at equal distances of rank; NaN are left out."""
    order = np.argsort(numbers, kind="stable")[: (~np.isnan(numbers)).sum()]
    places = (np.arange(count) + 0.5) / count * len(order)
    return order[np.unique(places.astype(int))] if len(order) else order
