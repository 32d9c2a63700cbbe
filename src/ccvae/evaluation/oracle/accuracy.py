"""Accuracy of the oracle itself, on inputs and on the model's reconstructions of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccvae.evaluation.bootstrap import average, mean_estimates, share_estimate
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.oracle import known_labels
from ccvae.evaluation.oracle.predictions import Oracle, Predictions, matches
from ccvae.evaluation.samples import Sample

__all__ = ["METRICS", "TABLES", "oracle_accuracy"]

METRICS = (
    Metric("oracle.mean.accuracy", "oracle's accuracy",
           "fraction of labels that the oracle itself predicts correctly; limits all numbers that depend on it",
           "higher", "Oracle"),
    Metric("oracle.mean.reconstructed", "… on reconstructions", "the same on the model's reconstructions", "higher", "Oracle"),
    Metric("oracle.mean.variant_accuracy", "oracle's variants",
           "fraction of variants that the oracle predicts correctly", "higher", "Oracle"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "The oracle by label",
        "Fraction of rows in which the oracle is correct, on inputs and on the model's reconstructions of them.",
        "oracle.labels",
    ),
    LabelTable("The oracle by variants", "The same for variants, where the label is present.", "oracle.variants"),
)


def oracle_accuracy(model: Any, oracle: Oracle, sample: Sample) -> dict[str, Any]:
    """How often the oracle is correct.

    Args:
        model: the model under evaluation; its reconstructions are used if it has any.
        oracle: the oracle.
        sample: rows that the oracle was not trained on.

    Returns:
        "labels" and "variants", by label: "accuracy" on inputs and "reconstructed" on the model's reconstructions. "mean" of
        each. "unknown_training_labels": fraction of the oracle's training labels that are unknown.
    """
    data, x, y = sample.data, sample.x, sample.y
    predictions = {"accuracy": oracle.predict(x)}
    if callable(getattr(model, "reconstruct", None)):
        predictions["reconstructed"] = oracle.predict(model.reconstruct(x))
    labels: dict[str, dict[str, Any]] = {name: {} for name in data.space.names}
    for name, predicted in predictions.items():
        for label, estimate in zip(labels.values(), mean_estimates(correct(sample, y, predicted)), strict=True):
            label[name] = estimate
    variants = {}
    if data.truth is not None:
        true_variants = data.truth.variants[sample.rows]
        for label_name in predictions["accuracy"].variants:
            true = true_variants[:, data.space.index(label_name)]
            present = true >= 0
            variants[label_name] = {
                name: share_estimate(predicted.variant(label_name)[present] == true[present])
                for name, predicted in predictions.items()
            }
    means = {name: average([label[name] for label in labels.values()]) for name in predictions}
    means |= {f"variant_{name}": average([each[name] for each in variants.values()]) for name in predictions if variants}
    unknown = np.isnan(known_labels(data, data.splits["train"])).mean()
    return {"mean": means, "labels": labels, "variants": variants, "unknown_training_labels": float(unknown)}


def correct(sample: Sample, y: np.ndarray, predictions: Predictions) -> np.ndarray:
    """Whether predictions are correct `(rows, labels)`, NaN where the label is unknown."""
    columns = [
        np.where(np.isnan(y[:, column]), np.nan, matches(label, predictions, y[:, column]))
        for column, label in enumerate(sample.space)
    ]
    return np.stack(columns, 1)
