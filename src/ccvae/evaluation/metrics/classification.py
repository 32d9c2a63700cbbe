"""Classification by q(y|x), label by label: accuracy, ranking and calibration.

Brier score: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review, 1950. Expected
calibration error and temperatures: Guo et al., "On calibration of modern neural networks", ICML 2017. Everything else as in
torchmetrics.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import functional

from ccvae.evaluation.bootstrap import bootstrap
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.labels import Binary, Continuous, Label, LabelSpace

__all__ = ["METRICS", "TABLES", "classification", "columns_of", "known", "reliability", "scores"]

BINS = 10
"""Number of equally wide bins of reliability diagrams and of the calibration error."""
DRAWS = 100

METRICS = (
    Metric("classification.mean.accuracy", "accuracy",
           "fraction of labels predicted correctly, averaged over labels", "higher", "Classification"),
    Metric("classification.mean.majority", "majority",
           "accuracy of always predicting each label's most frequent value", "beaten", "Classification"),
    Metric("classification.mean.balanced_accuracy", "balanced accuracy",
           "mean of the accuracies of a label's values; chance is 1 / (number of values)", "higher", "Classification"),
    Metric("classification.mean.auroc", "AUROC",
           "probability that a row with the value is ranked above one without it; 0.5 is chance", "higher", "Classification"),
    Metric("classification.mean.average_precision", "average precision",
           "area under the precision–recall curve; chance is the value's frequency", "higher", "Classification"),
    Metric("classification.mean.f1", "F1", "harmonic mean of precision and recall", "higher", "Classification"),
    Metric("classification.mean.brier", "Brier score", "mean squared error of the probabilities", "lower", "Classification"),
    Metric("classification.mean.calibration_error", "calibration error",
           "mean distance between predicted probabilities and observed frequencies", "lower", "Classification"),
    Metric("classification.calibrated.mean.calibration_error", "calibration error, tempered",
           "the same, with one temperature per label fitted on the validation split", "lower", "Classification"),
    Metric("classification.mean.absolute_error", "error of numbers",
           "mean absolute error of continuous labels in their own units, averaged over labels", "lower", "Classification"),
    Metric("classification.mean.r2", "R² of numbers",
           "fraction of the variance of continuous labels that is explained", "higher", "Classification"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Classification by label",
        "Higher is better, except for majority (a baseline to exceed), Brier score, calibration error, errors and NLL.",
        "classification.labels",
    ),
)


def classification(probabilities: pd.DataFrame, y: np.ndarray, space: LabelSpace, draws: int = DRAWS) -> dict[str, Any]:
    """Metrics of every label, and their means over the labels that have them.

    Args:
        probabilities: output of `predict_proba`, one row per input.
        y: true labels `(rows, labels)`, NaN where unknown; a soft binary label is rounded.
        space: the labels.
        draws: bootstrap resamples for the intervals.

    Returns:
        "mean": estimates by metric; "labels": estimates by label and metric; "reliability": see `reliability`.
    """
    predicted = {label.name: columns_of(label, probabilities) for label in space}

    def statistics(rows: np.ndarray) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for column, label in enumerate(space):
            p, truth = known(label, predicted[label.name], y[:, column], rows)
            found |= {(label.name, metric): value for metric, value in scores(label, p, truth).items()}
        for metric in dict.fromkeys(metric for _, metric in found):
            values = [value for (_, each), value in found.items() if each == metric]
            found["", metric] = float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
        return found

    estimates = bootstrap(statistics, len(y), draws)
    by_label: dict[str, dict[str, Any]] = {name: {} for name in ("", *space.names)}
    for (name, metric), estimate in estimates.items():
        by_label[name][metric] = estimate
    return {
        "mean": by_label.pop(""),
        "labels": by_label,
        "reliability": {label.name: reliability(label, probabilities, y[:, column]) for column, label in enumerate(space)},
    }


def columns_of(label: Label, probabilities: pd.DataFrame) -> np.ndarray:
    """A label's columns of the output of `predict_proba`."""
    return probabilities[list(label.output_columns)].to_numpy()


def known(label: Label, p: np.ndarray, y: np.ndarray, rows: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Predictions `(count, columns)` and true values `(count,)` of the chosen rows in which the label is known."""
    p, y = p[rows], y[rows]
    observed = ~np.isnan(y)
    return p[observed], np.round(y[observed]) if isinstance(label, Binary) else y[observed]


def scores(label: Label, p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All metrics of one label; NaN where a metric is undefined for these rows."""
    if isinstance(label, Continuous):
        return continuous_scores(p[:, 0], p[:, 1], truth, label)
    if not len(truth):
        names = ("accuracy", "majority", "balanced_accuracy", "auroc", "average_precision", "f1", "brier", "calibration_error")
        return dict.fromkeys(names, np.nan)
    predicted, target = torch.tensor(p, dtype=torch.float32), torch.tensor(truth).long()
    return binary_scores(predicted[:, 1].contiguous(), target) if isinstance(label, Binary) else class_scores(predicted, target)


def binary_scores(p: Tensor, target: Tensor) -> dict[str, float]:
    """Metrics of a binary label."""
    both = bool(target.any() and not target.all())
    options: dict[str, Any] = {"validate_args": False}
    recall, specificity = (
        functional.classification.binary_recall(p, target, **options),
        functional.classification.binary_specificity(p, target, **options),
    )
    present = float(target.float().mean())
    return {
        "accuracy": float(functional.classification.binary_accuracy(p, target, **options)),
        "majority": max(present, 1 - present),
        "balanced_accuracy": float(recall + specificity) / 2 if both else np.nan,
        "auroc": float(functional.classification.binary_auroc(p, target, **options)) if both else np.nan,
        "average_precision": float(functional.classification.binary_average_precision(p, target, **options))
        if both
        else np.nan,
        "f1": float(functional.classification.binary_f1_score(p, target, **options)) if target.any() else np.nan,
        "brier": float((p - target).square().mean()),
        "calibration_error": float(functional.classification.binary_calibration_error(p, target, BINS, **options)),
    }


def class_scores(p: Tensor, target: Tensor) -> dict[str, float]:
    """Metrics of a categorical label; AUROC, average precision and F1 are means over classes, one against the rest."""
    classes = p.shape[1]
    options: dict[str, Any] = {"num_classes": classes, "validate_args": False}
    counts = torch.bincount(target, minlength=classes)
    present = counts > 0
    several = int(present.sum()) > 1

    def over_present(metric: Any) -> float:
        return float(metric(p, target, average="none", **options)[present].mean())

    with warnings.catch_warnings():
        # about classes without any row; they are left out of the means
        warnings.filterwarnings("ignore", message="No positive samples")
        warnings.filterwarnings("ignore", message=".*precision and recall.*")
        return {
            "accuracy": float((p.argmax(1) == target).float().mean()),
            "majority": float(counts.max() / counts.sum()),
            "balanced_accuracy": over_present(functional.classification.multiclass_recall) if several else np.nan,
            "auroc": over_present(functional.classification.multiclass_auroc) if several else np.nan,
            "average_precision": over_present(functional.classification.multiclass_average_precision) if several else np.nan,
            "f1": over_present(functional.classification.multiclass_f1_score),
            "brier": float((p - torch.nn.functional.one_hot(target, classes)).square().sum(1).mean()),
            "calibration_error": float(
                functional.classification.multiclass_calibration_error(p, target, n_bins=BINS, **options)
            ),
        }


def continuous_scores(mean: np.ndarray, deviation: np.ndarray, truth: np.ndarray, label: Continuous) -> dict[str, float]:
    """Metrics of a continuous label; errors are in its own units."""
    if len(truth) < 2:
        return dict.fromkeys(("absolute_error", "prior_error", "r2", "coverage_90", "nll"), np.nan)
    error = truth - mean
    spread = ((truth - truth.mean()) ** 2).mean()
    return {
        "absolute_error": float(np.abs(error).mean()),
        "prior_error": float(np.abs(truth - label.mean).mean()),
        "r2": float(1 - (error**2).mean() / spread) if spread else np.nan,
        "coverage_90": float((np.abs(error) <= 1.6449 * deviation).mean()),
        "nll": float((error**2 / deviation**2 / 2 + np.log(deviation * np.sqrt(2 * np.pi))).mean()),
    }


def reliability(label: Label, probabilities: pd.DataFrame, y: np.ndarray) -> dict[str, list[float]]:
    """Data of a label's reliability diagram: predicted probabilities in bins, and observed frequencies.

    For a binary label, the probability that it is present. For a categorical label, the probability of the predicted class.
    For a continuous label, quantile levels of the prediction against the fraction of true values below them.

    Returns:
        "predicted", "observed" and "rows" of every bin that is not empty.
    """
    p, truth = known(label, columns_of(label, probabilities), y)
    if isinstance(label, Continuous):
        below = torch.special.ndtr(torch.tensor((truth - p[:, 0]) / p[:, 1])).numpy()
        levels = np.linspace(0, 1, BINS + 1)[1:-1]
        observed = [float((below <= level).mean()) if len(below) else np.nan for level in levels]
        return {"predicted": levels.tolist(), "observed": observed, "rows": [len(truth)] * len(levels)}
    confidence, came_true = (p[:, 1], truth) if isinstance(label, Binary) else (p.max(1), p.argmax(1) == truth)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = [bin_ for bin_ in range(BINS) if (place == bin_).any()]
    return {
        "predicted": [float(confidence[place == bin_].mean()) for bin_ in used],
        "observed": [float(came_true[place == bin_].mean()) for bin_ in used],
        "rows": [int((place == bin_).sum()) for bin_ in used],
    }
