"""Pictures of a model against the pictures that would have been true: drawn again with the label, or with another's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Truth
from ccvae.evaluation.bootstrap import bootstrap
from ccvae.evaluation.metrics.interventions import edited
from ccvae.evaluation.oracle.predictions import Judge
from ccvae.evaluation.samples import Painter, Sample

__all__ = [
    "Distances",
    "Pairs",
    "distances",
    "interventions_against_truth",
    "pooled",
    "transfer_pairs",
    "transfers_against_truth",
]

VISIBLE = 8 / 255
"""Difference of a colour channel from which a pixel counts as inside the region that should change."""
DRAWS = 200
PAINTED = ("edited", "unedited", "floor")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sources whose characteristic of a label moves onto targets.

    Args:
        sources: rows that show the label.
        targets: rows that do not, as many.
        variants: which variant each source shows.
    """

    sources: np.ndarray
    targets: np.ndarray
    variants: np.ndarray


def transfer_pairs(sample: Sample, label: str, count: int, seed: int = 0) -> Pairs:
    """Pairs for a label, each variant as often as the data have it."""
    truth, column = sample.data.truth, sample.space.index(label)
    assert truth is not None
    shown = truth.variants[sample.rows, column]
    generator = np.random.default_rng([seed, column])
    sources, targets = generator.permutation(sample.rows[shown >= 0]), generator.permutation(sample.rows[shown < 0])
    pairs = min(count, len(sources), len(targets))
    return Pairs(sources[:pairs], targets[:pairs], truth.variants[sources[:pairs], column])


def interventions_against_truth(model: Painter, judge: Judge, sample: Sample) -> dict[str, dict[str, Distances]]:
    """Every label of every row flipped, beside the true picture of that.

    Of a label that is to hold, the true picture is not one: it may hold in several ways. The model's picture is compared with
    the one that the face has ready ("ready"), and with whichever of the label's variants it is closest to ("nearest").

    Returns:
        By label, "ready" and "nearest".
    """
    truth = sample.data.truth
    assert truth is not None
    x, y = sample.x, sample.y
    unedited = model.reconstruct(x)
    found = {}
    for column, label in enumerate(sample.space):
        asked = 1 - y[:, column].round()
        after = edited(model, x, label, asked)
        ready, nearest = [], []
        for row, value, picture in zip(sample.rows.tolist(), asked.tolist(), after, strict=True):
            pictures = true_pictures(truth, truth.recipes[row], label.name, round(value))
            ready.append(pictures[0])
            nearest.append(pictures[int((pictures - picture).abs().flatten(1).mean(1).argmin())])
        found[label.name] = {
            name: distances(judge, x, unedited, after, true, model.reconstruct(true))
            for name, true in (("ready", torch.stack(ready)), ("nearest", torch.stack(nearest)))
        }
    return found


def transfers_against_truth(model: Painter, judge: Judge, sample: Sample, pairs: Mapping[str, Pairs]) -> dict[str, Distances]:
    """Every label's characteristic moved from sources to targets, beside the true picture of that, by label."""
    truth = sample.data.truth
    assert truth is not None
    found = {}
    for name, chosen in pairs.items():
        if not len(chosen.sources):
            continue
        targets = sample.data.tensor(chosen.targets)
        after = model.transfer(sample.data.tensor(chosen.sources), targets, [name])
        true = as_tensor(
            [
                truth.transfer(source, target, name)
                for source, target in zip(chosen.sources.tolist(), chosen.targets.tolist(), strict=True)
            ]
        )
        found[name] = distances(judge, targets, model.reconstruct(targets), after, true, model.reconstruct(true))
    return found


def true_pictures(truth: Truth, recipe: Any, label: str, value: int) -> Tensor:
    """True pictures of a label set: the one that the recipe has ready, then of all other variants that can show it."""
    recipes = [truth.with_label(recipe, label, value)]
    if value:
        for variant in truth.variant_names[label]:
            try:
                recipes.append(truth.with_label(recipe, label, value, variant))
            except ValueError:  # another label of the same part rules this variant out
                continue
    return as_tensor([truth.render(each) for each in recipes])


def as_tensor(pixels: Sequence[np.ndarray]) -> Tensor:
    """Drawn pictures as inputs are."""
    return torch.from_numpy(np.divide(np.stack(pixels), np.float32(255), dtype=np.float32)).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of edited pictures from true ones, and of what they are to be compared with.

    Args:
        columns: by name, a number of every row; see `distances`.
        size: numbers in a picture.
    """

    columns: Mapping[str, np.ndarray]
    size: int

    def results(self) -> dict[str, Any]:
        """Estimates.

        For "pixels" (mean absolute difference), "inside" (the same of the region that should change) and "features"
        (Euclidean distance of the oracle's): "edited", "unedited" and "floor", mean distances from the truth of the edited
        picture, of the unedited one, and of the model's reconstruction of the true picture, about as close as its pictures can
        come; "relative", edited over unedited: 0 is the truth, 1 no better than not editing; "possible", floor over unedited;
        and "to_floor", edited over floor. "outside": "moved", mean absolute difference of edited and unedited pictures
        where nothing should change, and "reconstruction", that of input and reconstruction there. "region": share of pixels
        that should change.
        """
        names = list(self.columns)
        table = np.stack([self.columns[name] for name in names], 1)

        def statistics(rows: np.ndarray) -> dict[str, float]:
            mean = dict(zip(names, table[rows].mean(0).tolist(), strict=True))
            found = {"region": mean["region/inside"] / self.size}
            for kind, area in (("pixels", 1.0), ("inside", mean["region/inside"]), ("features", 1.0)):
                edited, unedited, floor = (mean[f"{kind}/{name}"] for name in PAINTED)
                found |= {f"{kind}/{name}": ratio(mean[f"{kind}/{name}"], area) for name in PAINTED}
                found[f"{kind}/relative"] = ratio(edited, unedited)
                found[f"{kind}/possible"] = ratio(floor, unedited)
                found[f"{kind}/to_floor"] = ratio(edited, floor)
            for name in ("moved", "reconstruction"):
                found[f"outside/{name}"] = ratio(mean[f"outside/{name}"], mean["region/outside"])
            return found

        nested: dict[str, Any] = {}
        for name, estimate in bootstrap(statistics, len(table), DRAWS).items():
            kind, _, part = name.partition("/")
            if part:
                nested.setdefault(kind, {})[part] = estimate
            else:
                nested[kind] = estimate
        return nested


def pooled(each: Sequence[Distances]) -> Distances:
    """Means over labels, row by row, of as many rows as each label has."""
    rows = min(len(next(iter(one.columns.values()))) for one in each)
    return Distances({name: np.mean([one.columns[name][:rows] for one in each], 0) for name in each[0].columns}, each[0].size)


def distances(judge: Judge, x: Tensor, unedited: Tensor, edited: Tensor, true: Tensor, floor: Tensor) -> Distances:
    """Distances of edited pictures from true ones. The model's pictures may be on a device of its own.

    Args:
        judge: whose features are compared.
        x: the pictures themselves.
        unedited: their reconstructions, nothing edited.
        edited: the model's edited pictures.
        true: what they should be.
        floor: the model's reconstructions of those.
    """
    inside = ((true - x).abs().amax(1, keepdim=True) > VISIBLE).expand_as(x).float()
    seen = judge.look(true).features
    columns: dict[str, np.ndarray] = {}
    edited, unedited, floor = (pictures.to(x) for pictures in (edited, unedited, floor))
    for name, pictures in zip(PAINTED, (edited, unedited, floor), strict=True):
        error = (pictures - true).abs()
        columns[f"pixels/{name}"] = numbers(error.flatten(1).mean(1))
        columns[f"inside/{name}"] = numbers((error * inside).flatten(1).sum(1))
        columns[f"features/{name}"] = np.linalg.norm(judge.look(pictures).features - seen, axis=1).astype(float)
    columns["region/inside"] = numbers(inside.flatten(1).sum(1))
    columns["region/outside"] = numbers((1 - inside).flatten(1).sum(1))
    columns["outside/moved"] = numbers(((edited - unedited).abs() * (1 - inside)).flatten(1).sum(1))
    columns["outside/reconstruction"] = numbers(((unedited - x).abs() * (1 - inside)).flatten(1).sum(1))
    return Distances(columns, x[0].numel())


def ratio(above: float, below: float) -> float:
    """A quotient, NaN where there is none."""
    return above / below if below else float("nan")


def numbers(values: Tensor) -> np.ndarray:
    """A tensor's numbers."""
    array: np.ndarray = values.double().cpu().numpy()
    return array
