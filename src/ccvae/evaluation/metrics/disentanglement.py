"""Disentanglement: what probes read from a label's own block, from other blocks and from the style.

In the manner of Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled
representations", ICML 2019, with small neural networks as probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_auroc

from ccvae.evaluation.bootstrap import Estimate, bootstrap, share_estimate
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.metrics.probes import Probe, fit_probes
from ccvae.evaluation.samples import Sample
from ccvae.labels import Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE

__all__ = [
    "METRICS",
    "TABLES",
    "Classes",
    "class_reading",
    "color_reading",
    "latent_means",
    "leakage",
    "variant_reading",
]

QUARTERS = 4
"""Number of classes into which a continuous label is cut for probes."""

METRICS = (
    Metric("characteristics.reading.mean.own", "variant in its block",
           "accuracy of a probe that reads the variant (which glasses) from the label's own block", "higher",
           "Characteristics"),
    Metric("characteristics.reading.mean.times_chance", "… times chance",
           "the same divided by the accuracy of always predicting the most frequent variant", "higher", "Characteristics", 2),
    Metric("characteristics.reading.mean.style", "variant in the style",
           "accuracy of a probe that reads the variant from the style", "lower", "Characteristics"),
    Metric("characteristics.reading.mean.others", "variant in other blocks",
           "accuracy of a probe that reads the variant from all other labels' blocks", "lower", "Characteristics"),
    Metric("characteristics.colors.mean.own", "color in its block",
           "accuracy of a probe that reads the color of what shows the label (a hat's) from the label's own block", "higher",
           "Characteristics"),
    Metric("characteristics.colors.mean.times_chance", "… times chance, color",
           "the same divided by the accuracy of always predicting the most frequent color", "higher", "Characteristics", 2),
    Metric("characteristics.colors.mean.style", "color in the style",
           "accuracy of a probe that reads the color from the style", "lower", "Characteristics"),
    Metric("leakage.mean.style", "label in the style",
           "AUROC of a probe that reads the label from the style; 0.5 is chance", "lower", "Leakage"),
    Metric("leakage.mean.others", "label in other blocks",
           "the same from all other labels' blocks; compare with the next number", "lower", "Leakage"),
    Metric("leakage.mean.labels", "label in other labels",
           "the same from the true values of the other labels", "as it is", "Leakage"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Characteristics by label",
        "Accuracy of probes that read the variant from the label's own block, from other blocks and from the style; chance: "
        "always predicting the most frequent variant.",
        "characteristics.reading.labels",
    ),
    LabelTable(
        "Colors by label",
        "The same for the color of what shows the label, where that color belongs to it (a hat's, but not the hair's).",
        "characteristics.colors.labels",
    ),
    LabelTable(
        "Leakage by label",
        "AUROC of probes that read a label from its own block, from the other blocks, from the style (0.5 is chance), and from "
        "the true values of the other labels.",
        "leakage.labels",
    ),
)


def latent_means(model: CCVAE, sample: Sample) -> np.ndarray:
    """Posterior means `(rows, latent_dim)`."""
    means: np.ndarray = model.encode(sample.x).loc.cpu().numpy()
    return means


def sources(model: CCVAE, column: int) -> dict[str, np.ndarray]:
    """Columns of the latent vector: a label's "own" block, "others" (all other blocks), and the "style"."""
    every, own = np.arange(model.config.latent_dim), model.block_slices[column]
    blocks, style = every[: model.style.start], every[model.style]
    return {"own": every[own], "others": np.setdiff1d(blocks, every[own]), "style": style}


@dataclass(frozen=True, eq=False)
class Classes:
    """What probes read about a label, given that it is present.

    Args:
        count: number of classes.
        train: class of every training row `(rows,)`, -1 where the label is absent or its class unknown.
        test: class of every test row `(rows,)`, -1 in the same cases.
    """

    count: int
    train: np.ndarray
    test: np.ndarray


def class_reading(
    model: CCVAE, train: Sample, test: Sample, classes: Mapping[str, Classes], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """How well probes read classes of a label's appearance, on rows in which the label is present.

    Args:
        model: the model.
        train: rows to fit probes on.
        test: rows to evaluate them on.
        classes: by label, the classes of the rows.
        seed: seed of the probes.

    Returns:
        By label: "own", "others" and "style", accuracy of probes that see the label's own block, all other blocks, and the
        style; "chance", frequency of the most frequent class; "times_chance", "own" divided by it.
    """
    probed = [
        (name, source, columns)
        for name, each in classes.items()
        for source, columns in sources(model, model.space.index(name)).items()
        if each.count > 1 and len(columns)
    ]
    probes = [Probe(columns, classes[name].train, classes[name].count) for name, _, columns in probed]
    answers = fit_probes(probes, latent_means(model, train), latent_means(model, test), seed)
    found: dict[str, dict[str, Any]] = {}
    for (name, source, _), answer in zip(probed, answers, strict=True):
        target = classes[name].test
        known = target >= 0
        if not known.any():
            continue
        found.setdefault(name, {})[source] = share_estimate(answer[known].argmax(1) == target[known])
        found[name]["chance"] = float(np.bincount(target[known]).max() / known.sum())
    for numbers in found.values():
        own, chance = numbers["own"], numbers["chance"]
        numbers["times_chance"] = Estimate(own.value / chance, own.low / chance, own.high / chance, own.rows)
    return found


def variant_reading(model: CCVAE, train: Sample, test: Sample) -> dict[str, dict[str, Any]]:
    """How well probes read which variant shows a label: see `class_reading`, by label that has variants."""
    truth = train.data.truth
    assert truth is not None
    classes = {
        name: Classes(len(truth.variant_names[name]), *(truth.variants[each.rows, column] for each in (train, test)))
        for column, name in enumerate(train.space.names)
    }
    return class_reading(model, train, test, classes)


def color_reading(model: CCVAE, train: Sample, test: Sample) -> dict[str, dict[str, Any]]:
    """How well probes read the color of what shows a label: see `class_reading`, by label with colors of its own."""
    truth = train.data.truth
    assert truth is not None
    of_train, of_test = truth.colors(train.rows), truth.colors(test.rows)
    classes = {name: Classes(len(names), of_train[name], of_test[name]) for name, names in truth.color_names.items()}
    return class_reading(model, train, test, classes)


def leakage(model: CCVAE, train: Sample, test: Sample) -> dict[str, dict[str, Any]]:
    """How well probes read labels from latents that should not store them.

    Returns:
        By label, area under the ROC curve of probes (0.5 is chance, 1 perfect) that see the "own" block, "others" or the
        "style"; and "labels", of a probe that sees the true values of the other labels: what "others" may know because labels
        are correlated.
    """
    known_train, known_test = train.y, test.y
    space = train.space
    size = model.config.latent_dim
    inputs = [np.concatenate([latent_means(model, each), filled(each.y, space)], 1) for each in (train, test)]
    targets = [classes(space, y, known_train) for y in (known_train, known_test)]
    probed = [
        (column, source, columns)
        for column in range(len(space))
        for source, columns in {
            **sources(model, column),
            "labels": size + np.setdiff1d(np.arange(len(space)), [column]),
        }.items()
        if len(columns) and len(np.unique(targets[1][targets[1][:, column] >= 0, column])) > 1
    ]
    probes = [
        Probe(columns, targets[0][:, column], QUARTERS if isinstance(label, Continuous) else len(label.values))
        for column, _, columns in probed
        for label in [space.labels[column]]
    ]
    found: dict[str, dict[str, Any]] = {}
    for (column, source, _), answer in zip(probed, fit_probes(probes, inputs[0], inputs[1]), strict=True):
        target = targets[1][:, column]
        found.setdefault(space.names[column], {})[source] = area_estimate(answer[target >= 0], target[target >= 0])
    return found


def filled(y: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Labels as inputs of a probe; unknown ones are replaced by their mean."""
    means = np.array([np.nanmean(column) if not np.isnan(column).all() else 0.0 for column in y.T])
    return np.where(np.isnan(y), means, y)


def classes(space: LabelSpace, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Labels as classes `(rows, labels)`, -1 where unknown; continuous ones by quartile of the training values."""
    found = np.full(y.shape, -1)
    for column, label in enumerate(space):
        observed = ~np.isnan(y[:, column])
        if isinstance(label, Continuous):
            edges = np.nanquantile(train[:, column], np.linspace(0, 1, QUARTERS + 1)[1:-1])
            found[observed, column] = np.searchsorted(edges, y[observed, column])
        else:
            found[observed, column] = y[observed, column].round().astype(int)
    return found


def area_estimate(answer: np.ndarray, target: np.ndarray) -> Estimate:
    """Mean over classes that occur of the area under the ROC curve, one against the rest, with its interval."""
    p, truth = torch.tensor(answer), torch.tensor(target, dtype=torch.long)

    def area(rows: np.ndarray) -> dict[str, float]:
        chosen = truth[rows]
        present = torch.bincount(chosen, minlength=p.shape[1]) > 0
        if int(present.sum()) < 2:
            return {"area": float("nan")}
        each = multiclass_auroc(p[rows][:, present], relabelled(chosen, present), int(present.sum()), None, validate_args=False)
        return {"area": float(each.mean())}

    return bootstrap(area, len(truth), 40)["area"]


def relabelled(target: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Classes renumbered among those that occur."""
    places: torch.Tensor = present.cumsum(0) - 1
    return places[target]
