"""Pictures of a model against the pictures that would have been true: drawn again with the label, or with another's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Truth
from ccvae.evaluation.intervals import bootstrap
from ccvae.evaluation.interventions import edited
from ccvae.evaluation.oracle import Judge
from ccvae.evaluation.samples import Painter, Sample

__all__ = ["Pairs", "compare", "interventions_against_truth", "transfer_pairs", "transfers_against_truth"]

VISIBLE = 8 / 255
"""Difference of a colour channel from which a pixel counts as inside the region that should change."""
DRAWS = 200


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


def interventions_against_truth(model: Painter, judge: Judge, sample: Sample) -> dict[str, dict[str, Any]]:
    """Every label of every row flipped, beside the true picture of that.

    Of a label that is to hold, the true picture is not one: it may hold in several ways. The model's picture is compared with
    the one that the face has ready ("ready"), and with whichever of the label's variants it is closest to ("nearest").

    Returns:
        By label: see `compare`; "ready" for all flips, "nearest" likewise where the truth has variants.
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
            name: compare(judge, x, unedited, after, true, model.reconstruct(true))
            for name, true in (("ready", torch.stack(ready)), ("nearest", torch.stack(nearest)))
        }
    return found


def transfers_against_truth(
    model: Painter, judge: Judge, sample: Sample, pairs: Mapping[str, Pairs]
) -> dict[str, dict[str, Any]]:
    """Every label's characteristic moved from sources to targets, beside the true picture of that: by label, see `compare`."""
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
                truth.render(truth.with_part_of(truth.recipes[target], truth.recipes[source], name))
                for source, target in zip(chosen.sources.tolist(), chosen.targets.tolist(), strict=True)
            ]
        )
        found[name] = compare(judge, targets, model.reconstruct(targets), after, true, model.reconstruct(true))
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


def compare(judge: Judge, x: Tensor, unedited: Tensor, edited: Tensor, true: Tensor, floor: Tensor) -> dict[str, Any]:
    """Distances of edited pictures from true ones.

    Args:
        judge: whose features are compared.
        x: the pictures themselves.
        unedited: their reconstructions, nothing edited.
        edited: the model's edited pictures.
        true: what they should be.
        floor: the model's reconstructions of those: about as close to the truth as its pictures can come.

    Returns:
        For "pixels" (mean absolute difference) and "features" (Euclidean distance): "edited", "unedited" and "floor", their
        mean distances from the truth, and "progress", how much of the way from "unedited" to "floor" the edit went: 1 all
        of it, 0 none, below 0 away from the truth; NaN where there is no way to go.
        "inside": the same progress in pixels, of the region that should change. "outside": "moved", mean absolute difference
        of edited and unedited pictures in all other pixels, and "reconstruction", that of x and its reconstruction there.
        "region": mean share of pixels inside.
    """
    inside = ((true - x).abs().amax(1, keepdim=True) > VISIBLE).expand_as(x).float()
    outside = 1 - inside
    looks = {name: judge.look(pictures).features for name, pictures in
             (("edited", edited), ("unedited", unedited), ("floor", floor), ("true", true))}  # fmt: skip
    painted = {"edited": edited, "unedited": unedited, "floor": floor}
    columns: dict[str, np.ndarray] = {}
    for name, pictures in painted.items():
        error = (pictures - true).abs()
        columns[f"pixels/{name}"] = numbers(error.flatten(1).mean(1))
        columns[f"inside/{name}"] = numbers((error * inside).flatten(1).sum(1))
        columns[f"features/{name}"] = np.linalg.norm(looks[name] - looks["true"], axis=1)
    columns["region/inside"] = numbers(inside.flatten(1).sum(1))
    columns["region/outside"] = numbers(outside.flatten(1).sum(1))
    columns["outside/moved"] = numbers(((edited - unedited).abs() * outside).flatten(1).sum(1))
    columns["outside/reconstruction"] = numbers(((unedited - x).abs() * outside).flatten(1).sum(1))
    names = list(columns)
    table = np.stack([columns[name] for name in names], 1)

    def statistics(rows: np.ndarray) -> dict[str, float]:
        sums = dict(zip(names, table[rows].mean(0).tolist(), strict=True))
        size = x[0].numel()
        found = {name: value for name, value in sums.items() if name.split("/")[0] in ("pixels", "features")}
        for kind in ("pixels", "features", "inside"):
            found[f"{kind}/progress"] = progress(sums[f"{kind}/unedited"], sums[f"{kind}/edited"], sums[f"{kind}/floor"])
        for name in painted:
            found[f"inside/{name}"] = ratio(sums[f"inside/{name}"], sums["region/inside"])
        for name in ("moved", "reconstruction"):
            found[f"outside/{name}"] = ratio(sums[f"outside/{name}"], sums["region/outside"])
        return {**found, "region": sums["region/inside"] / size}

    nested: dict[str, Any] = {}
    for name, estimate in bootstrap(statistics, len(x), DRAWS).items():
        kind, _, part = name.partition("/")
        if part:
            nested.setdefault(kind, {})[part] = estimate
        else:
            nested[kind] = estimate
    return nested


def progress(unedited: float, edited: float, floor: float) -> float:
    """How much of the way from the unedited distance to the floor an edit went."""
    return ratio(unedited - edited, unedited - floor) if unedited > floor else float("nan")


def ratio(above: float, below: float) -> float:
    """A quotient, NaN where there is none."""
    return above / below if below else float("nan")


def numbers(values: Tensor) -> np.ndarray:
    """A tensor's numbers."""
    array: np.ndarray = values.double().cpu().numpy()
    return array
