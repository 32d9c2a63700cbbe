"""Edited images against rendered ground truth: the image rendered again with the label changed, or with another image's part.

Only for data whose renderer is available, such as the avatars.
"""

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
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import GenerativeModel, Sample

__all__ = [
    "METRICS",
    "TABLES",
    "Distances",
    "Pairs",
    "distances",
    "interventions_against_truth",
    "pooled",
    "transfer_pairs",
    "transfers_against_truth",
]

METRICS = (
    Metric("counterfactuals.interventions.mean.nearest.inside.relative", "edit, inside",
           "pixel distance from the nearest true image in the region that should change, divided by that of not editing; "
           "0 is the truth", "lower", "Truth"),
    Metric("counterfactuals.interventions.mean.nearest.inside.possible", "… at best",
           "the same for the model's reconstruction of the true image: what its sharpness allows", "lower", "Truth"),
    Metric("counterfactuals.interventions.mean.nearest.features.relative", "edit, in features",
           "the same ratio for whole images in the oracle's features", "lower", "Truth"),
    Metric("counterfactuals.interventions.mean.nearest.pixels.to_floor", "edit over reconstruction",
           "pixel distance of the whole image from the truth, divided by that of its reconstruction; 1 is best", "lower",
           "Truth"),
    Metric("counterfactuals.interventions.mean.ready.outside.moved", "change outside",
           "mean change of a channel (0 to 1) where nothing should change", "lower", "Truth", 4),
    Metric("counterfactuals.transfers.mean.inside.relative", "transfer, inside",
           "pixel distance from the true transfer in the region that should change, divided by that of not editing",
           "lower", "Truth"),
    Metric("counterfactuals.transfers.mean.features.relative", "transfer, in features",
           "the same ratio for whole images in the oracle's features", "lower", "Truth"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Edits beside the truth, by label",
        "Interventions compared with the nearest true image: distance divided by that of not editing (0 is the truth, 1 no "
        "better than not editing), in the region that should change, at best (the model's reconstruction of the true image), "
        "and in the oracle's features. Change outside: mean change of a channel where nothing should change, beside the "
        "reconstruction error there. Region: fraction of pixels that should change.",
        "counterfactuals.interventions.labels",
        {
            "inside": "nearest.inside.relative",
            "inside, at best": "nearest.inside.possible",
            "features": "nearest.features.relative",
            "features, at best": "nearest.features.possible",
            "change outside": "ready.outside.moved",
            "reconstruction error outside": "ready.outside.reconstruction",
            "region": "ready.region",
        },
        uses_oracle=True,
    ),
    LabelTable(
        "Transfers beside the truth, by label",
        "The same for transfers.",
        "counterfactuals.transfers.labels",
        {
            "inside": "inside.relative",
            "inside, at best": "inside.possible",
            "features": "features.relative",
            "features, at best": "features.possible",
            "change outside": "outside.moved",
            "region": "region",
        },
        uses_oracle=True,
    ),
)

VISIBLE = 8 / 255
"""Smallest change of a color channel (0 to 1) for which a pixel belongs to the region that should change."""
DRAWS = 200
TARGETS_TRIED = 32
"""Targets that are tried for a source before it is left out."""
COMPARED = ("edited", "unedited", "floor")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images for transfers of one label.

    Args:
        sources: rows that show the label.
        targets: rows that do not, as many.
        variants: variant that each source shows.
    """

    sources: np.ndarray
    targets: np.ndarray
    variants: np.ndarray


def transfer_pairs(sample: Sample, label: str, count: int, seed: int = 0) -> Pairs:
    """At most `count` random pairs for transfers of a label, whose targets can show the variants of their sources.

    Where two labels share a part, some pairs have no true image that shows the source's variant: straight hair cannot take over
    the variant of wavy hair. A source is therefore paired with the next target that can show its variant; sources without one
    are left out.
    """
    truth, column = sample.data.truth, sample.space.index(label)
    assert truth is not None
    shown = truth.variants[sample.rows, column]
    generator = np.random.default_rng([seed, column])
    sources, targets = generator.permutation(sample.rows[shown >= 0]), generator.permutation(sample.rows[shown < 0])
    chosen: list[tuple[int, int]] = []
    waiting: list[int] = targets.tolist()
    for source in sources.tolist():
        if len(chosen) == count:
            break
        recipe, name = truth.recipes[source], truth.variant_names[label][truth.variants[source, column]]
        for place, target in enumerate(waiting[:TARGETS_TRIED]):
            if truth.with_part_of(truth.recipes[target], recipe, label).variants[label] == name:
                chosen.append((source, waiting.pop(place)))
                break
    pairs = np.array(chosen, dtype=int).reshape(-1, 2)
    return Pairs(pairs[:, 0], pairs[:, 1], truth.variants[pairs[:, 0], column])


def interventions_against_truth(model: GenerativeModel, oracle: Oracle, sample: Sample) -> dict[str, dict[str, Distances]]:
    """Every label of every row flipped, compared with the true image.

    A label that becomes present can show in several ways, so the edited image is compared with two true images: the variant
    that the row's recipe has ready ("ready"), and the variant closest to the edited image ("nearest").

    Returns:
        By label, "ready" and "nearest".
    """
    truth = sample.data.truth
    assert truth is not None
    x, y = sample.x, sample.y
    unedited = model.reconstruct(x)
    found = {}
    for column, label in enumerate(sample.space):
        requested = 1 - y[:, column].round()
        after = edited(model, x, label, requested)
        ready, nearest = [], []
        for row, value, image in zip(sample.rows.tolist(), requested.tolist(), after, strict=True):
            images = true_images(truth, truth.recipes[row], label.name, round(value))
            ready.append(images[0])
            nearest.append(images[int((images - image).abs().flatten(1).mean(1).argmin())])
        found[label.name] = {
            name: distances(oracle, x, unedited, after, true, model.reconstruct(true))
            for name, true in (("ready", torch.stack(ready)), ("nearest", torch.stack(nearest)))
        }
    return found


def transfers_against_truth(
    model: GenerativeModel, oracle: Oracle, sample: Sample, pairs: Mapping[str, Pairs]
) -> dict[str, Distances]:
    """Every label's characteristic transferred from sources to targets, compared with the true images; by label."""
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
        found[name] = distances(oracle, targets, model.reconstruct(targets), after, true, model.reconstruct(true))
    return found


def true_images(truth: Truth, recipe: Any, label: str, value: int) -> Tensor:
    """True images with a label set: with the variant that the recipe has ready, then with every other possible variant."""
    recipes = [truth.with_label(recipe, label, value)]
    if value:
        for variant in truth.variant_names[label]:
            try:
                recipes.append(truth.with_label(recipe, label, value, variant))
            except ValueError:  # impossible together with another label of the same part
                continue
    return as_tensor([truth.render(each) for each in recipes])


def as_tensor(pixels: Sequence[np.ndarray]) -> Tensor:
    """Rendered images as model inputs."""
    return torch.from_numpy(np.divide(np.stack(pixels), np.float32(255), dtype=np.float32)).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of edited images from true ones, with reference distances.

    Args:
        columns: by name, a number per row; see `distances`.
        size: numbers in one image.
    """

    columns: Mapping[str, np.ndarray]
    size: int

    def results(self) -> dict[str, Any]:
        """Estimates with intervals.

        For "pixels" (mean absolute difference), "inside" (the same in the region that should change) and "features" (Euclidean
        distance of the oracle's features): "edited", "unedited" and "floor" are mean distances from the true image of the
        edited image, the unedited one, and the model's reconstruction of the true image; "relative" is edited / unedited (0 is
        the truth, 1 no better than not editing), "possible" is floor / unedited, and "to_floor" edited / floor. "outside":
        "moved", mean absolute difference between edited and unedited image where nothing should change, and "reconstruction",
        between input and reconstruction there. "region": fraction of pixels that should change.
        """
        names = list(self.columns)
        table = np.stack([self.columns[name] for name in names], 1)

        def statistics(rows: np.ndarray) -> dict[str, float]:
            mean = dict(zip(names, table[rows].mean(0).tolist(), strict=True))
            found = {"region": mean["region/inside"] / self.size}
            for kind, area in (("pixels", 1.0), ("inside", mean["region/inside"]), ("features", 1.0)):
                edited, unedited, floor = (mean[f"{kind}/{name}"] for name in COMPARED)
                found |= {f"{kind}/{name}": ratio(mean[f"{kind}/{name}"], area) for name in COMPARED}
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
    """Means over labels, row by row, of as many rows as every label has."""
    rows = min(len(next(iter(one.columns.values()))) for one in each)
    return Distances({name: np.mean([one.columns[name][:rows] for one in each], 0) for name in each[0].columns}, each[0].size)


def distances(oracle: Oracle, x: Tensor, unedited: Tensor, edited: Tensor, true: Tensor, floor: Tensor) -> Distances:
    """Distances of edited images from true ones. The model's images may be on another device.

    Args:
        oracle: its features are compared.
        x: the original images.
        unedited: their reconstructions.
        edited: the model's edited images.
        true: the true edited images.
        floor: the model's reconstructions of the true images.
    """
    inside = ((true - x).abs().amax(1, keepdim=True) > VISIBLE).expand_as(x).float()
    seen = oracle.predict(true).features
    columns: dict[str, np.ndarray] = {}
    edited, unedited, floor = (images.to(x) for images in (edited, unedited, floor))
    for name, images in zip(COMPARED, (edited, unedited, floor), strict=True):
        error = (images - true).abs()
        columns[f"pixels/{name}"] = numbers(error.flatten(1).mean(1))
        columns[f"inside/{name}"] = numbers((error * inside).flatten(1).sum(1))
        columns[f"features/{name}"] = np.linalg.norm(oracle.predict(images).features - seen, axis=1).astype(float)
    columns["region/inside"] = numbers(inside.flatten(1).sum(1))
    columns["region/outside"] = numbers((1 - inside).flatten(1).sum(1))
    columns["outside/moved"] = numbers(((edited - unedited).abs() * (1 - inside)).flatten(1).sum(1))
    columns["outside/reconstruction"] = numbers(((unedited - x).abs() * (1 - inside)).flatten(1).sum(1))
    return Distances(columns, x[0].numel())


def ratio(above: float, below: float) -> float:
    """Quotient, NaN if the divisor is 0."""
    return above / below if below else float("nan")


def numbers(values: Tensor) -> np.ndarray:
    """Tensor as a float64 array."""
    array: np.ndarray = values.double().cpu().numpy()
    return array
