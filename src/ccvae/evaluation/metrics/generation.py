"""Conditional generation: whether generated images show the requested labels, and how diverse they are."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Truth
from ccvae.evaluation.bootstrap import grand_mean, mean_estimates
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.predictions import Oracle, Predictions, matches
from ccvae.evaluation.samples import GenerativeModel, Sample

__all__ = ["METRICS", "TABLES", "conditional_generation"]

METRICS = (
    Metric("generation.mean.agreement", "generation agrees",
           "fraction of requested labels that the oracle predicts for generated images", "higher", "Generation"),
    Metric("generation.mean.joint", "generation agrees jointly",
           "fraction of generated images for which the oracle predicts all requested labels", "higher", "Generation"),
    Metric("generation.mean.coverage", "variants covered",
           "fraction of a label's variants that generated images show, given that it is present", "higher", "Generation"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Generation by label",
        "Agreement: fraction of generated images for which the oracle predicts the requested value.",
        "generation.labels",
        uses_oracle=True,
    ),
    LabelTable(
        "Variants in generated images",
        "Among images that show the label. Coverage: fraction of the data's variants that appear; entropy: entropy of the "
        "variants divided by that in the data, 1 at best; certainty: mean probability of the most probable variant, and the "
        "same on data.",
        "generation.variants",
        uses_oracle=True,
    ),
)

RARE = 0.25
"""A variant counts as covered if the model shows it at least this fraction as often as the data do."""


def conditional_generation(
    model: GenerativeModel, oracle: Oracle, sample: Sample, conditions: int = 64, repeats: int = 8, seed: int = 0
) -> dict[str, Any]:
    """Images generated for label combinations of the data, several per combination, and what an oracle predicts for them.

    Args:
        model: the model.
        oracle: predicts labels of images.
        sample: rows whose labels are requested; rows with unknown labels are used last.
        conditions: number of label combinations.
        repeats: images per combination.
        seed: seed of the images, and of the real images that diversity is compared with.

    Returns:
        "labels", by label: "agreement" with the request. "mean": its mean; and "joint", the fraction of images that show all
        labels as requested. "variants", by label that has them: see `variety`. "diversity": mean distance between images with
        the same labels in the oracle's features, and the same for real images (rendered with the same labels where possible,
        else any). "pictures": number of images.
    """
    requested = chosen_conditions(sample, conditions)
    images = torch.cat([generated(model, row, repeats, seed + number * repeats) for number, row in enumerate(requested)])
    predictions = oracle.predict(images)
    requested_values = np.repeat(requested, repeats, 0)
    hits = np.stack(
        [
            np.where(np.isnan(requested_values[:, column]), np.nan, matches(label, predictions, requested_values[:, column]))
            for column, label in enumerate(sample.space)
        ],
        1,
    )
    # conditions are the independent draws, so they are what is resampled
    by_condition = hits.reshape(len(requested), repeats, -1)
    agreement = by_condition.mean(1)
    joint = (np.nan_to_num(by_condition, nan=1) == 1).all(2).mean(1)
    real = oracle.predict(real_images(sample, requested, repeats, seed))
    return {
        "labels": dict(zip(sample.space.names, ({"agreement": each} for each in mean_estimates(agreement)), strict=True)),
        "mean": {
            "agreement": grand_mean(agreement),
            "joint": mean_estimates(joint[:, None])[0],
        },
        "variants": variety(sample, oracle, predictions, requested_values),
        "diversity": {
            "generated": mean_estimates(distances(predictions, repeats)[:, None])[0],
            "real": mean_estimates(distances(real, repeats)[:, None])[0],
            "real_has_same_labels": sample.data.truth is not None,
        },
        "pictures": len(images),
    }


def chosen_conditions(sample: Sample, count: int) -> np.ndarray:
    """Label combinations to request `(conditions, labels)`: of rows in which most labels are known."""
    y = sample.y
    return y[np.argsort(np.isnan(y).sum(1), kind="stable")[:count]]


def generated(model: GenerativeModel, row: np.ndarray, count: int, seed: int) -> Tensor:
    """Images for the known labels of one row."""
    given = {
        label.name: label.decode(number)
        for label, number in zip(model.space, row.tolist(), strict=True)
        if not np.isnan(number)
    }
    return model.generate(count, given, seed)


def real_images(sample: Sample, requested: np.ndarray, repeats: int, seed: int) -> Tensor:
    """Real images, as many as were generated: rendered with the requested labels where possible, else any rows of the
    sample.
    """
    truth = sample.data.truth
    rows = np.random.default_rng(seed).choice(sample.rows, len(requested) * repeats)
    if truth is None:
        return sample.data.tensor(rows)
    recipes = [
        with_labels(truth, truth.recipes[int(row)], sample.space.names, requested[number // repeats])
        for number, row in enumerate(rows)
    ]
    pixels = np.stack([truth.render(recipe) for recipe in recipes])
    return torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32)).permute(0, 3, 1, 2)


def with_labels(truth: Truth, recipe: Any, names: tuple[str, ...], values: np.ndarray) -> Any:
    """A recipe with all labels set."""
    for name, value in zip(names, values.tolist(), strict=True):
        recipe = truth.with_label(recipe, name, round(value))
    return recipe


def distances(predictions: Predictions, repeats: int) -> np.ndarray:
    """Mean distance in features between the images of each condition `(conditions,)`."""
    features = predictions.features.reshape(-1, repeats, predictions.features.shape[1])
    pairs = [np.linalg.norm(features[:, one] - features[:, other], axis=-1) for one, other in combinations(range(repeats), 2)]
    return np.mean(pairs, 0) if pairs else np.full(len(features), np.nan)


def variety(
    sample: Sample, oracle: Oracle, predictions: Predictions, requested_values: np.ndarray
) -> dict[str, dict[str, float]]:
    """How many variants of a label generated images show, by label that has variants.

    Measured on images for which the label was requested and is predicted: "coverage", fraction of the data's variants that
    appear at least `RARE` times as often as in the data; "entropy" of the variants divided by that in the data, about 1 at
    most; "certainty", mean probability of the most probable variant, and "real_certainty" on data: lower for a model that
    blends variants; "pictures", number of images.
    """
    if sample.data.truth is None:
        return {}
    real = oracle.predict(sample.x)
    y = sample.y
    found = {}
    for name, probabilities in predictions.variants.items():
        column = sample.space.index(name)
        shown = (requested_values[:, column] == 1) & (predictions.value(name) == 1)
        present = y[:, column] == 1
        if not shown.any() or not present.any():
            found[name] = {"coverage": 0.0 if present.any() else np.nan, "entropy": np.nan, "certainty": np.nan,
                           "real_certainty": np.nan, "pictures": int(shown.sum())}  # fmt: skip
            continue
        ours, theirs = probabilities[shown], real.variants[name][present]
        counts = [np.bincount(each.argmax(1), minlength=each.shape[1]) / len(each) for each in (ours, theirs)]
        found[name] = {
            "coverage": float((counts[0] >= RARE * counts[1])[counts[1] > 0].mean()),
            "entropy": entropy(counts[0]) / entropy(counts[1]) if entropy(counts[1]) else np.nan,
            "certainty": float(ours.max(1).mean()),
            "real_certainty": float(theirs.max(1).mean()),
            "pictures": int(shown.sum()),
        }
    return found


def entropy(shares: np.ndarray) -> float:
    """Entropy in nats of fractions that sum to one."""
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
