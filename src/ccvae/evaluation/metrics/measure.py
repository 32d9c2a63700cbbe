"""What a measure of an evaluation is; and the measures of what a model says of inputs: classification and likelihood."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INPUT_MEASURES", "Measure"]


@dataclass(frozen=True)
class Measure:
    """A number of an evaluation.

    Args:
        path: where it is in the results, names with dots between.
        title: what it is called.
        meaning: what it says, in one sentence.
        better: "higher", "lower", or what it should be near to.
        group: what it is about.
        digits: after the decimal point.
    """

    path: str
    title: str
    meaning: str
    better: str
    group: str
    digits: int = 3


INPUT_MEASURES = (
    Measure(
        "classification.mean.accuracy",
        "accuracy",
        "share of labels predicted rightly, averaged over labels",
        "higher",
        "Classification",
    ),
    Measure(
        "classification.mean.majority",
        "majority",
        "the same, had one always said each label's most frequent value",
        "beaten",
        "Classification",
    ),
    Measure(
        "classification.mean.balanced_accuracy",
        "balanced accuracy",
        "accuracy with every value of a label counting alike; 1/values is chance",
        "higher",
        "Classification",
    ),
    Measure(
        "classification.mean.auroc",
        "AUROC",
        "chance that a row with the value is ranked above one without; 0.5 is chance",
        "higher",
        "Classification",
    ),
    Measure(
        "classification.mean.average_precision",
        "average precision",
        "area under the precision–recall curve; chance is the value's frequency",
        "higher",
        "Classification",
    ),
    Measure("classification.mean.f1", "F1", "harmonic mean of precision and recall", "higher", "Classification"),
    Measure("classification.mean.brier", "Brier score", "mean squared error of the probabilities", "lower", "Classification"),
    Measure(
        "classification.mean.calibration_error",
        "calibration error",
        "how far probabilities are from how often they come true, on average",
        "lower",
        "Classification",
    ),
    Measure(
        "classification.calibrated.mean.calibration_error",
        "calibration error, tempered",
        "the same, with a temperature for every label fitted on the validation split",
        "lower",
        "Classification",
    ),
    Measure(
        "classification.mean.absolute_error",
        "error of numbers",
        "mean absolute error of continuous labels, averaged, in their own units",
        "lower",
        "Classification",
    ),
    Measure(
        "classification.mean.r2",
        "R² of numbers",
        "share of the variance of continuous labels that is explained",
        "higher",
        "Classification",
    ),
    Measure(
        "likelihood.bound.labelled.total",
        "bound with labels",
        "lower bound on log p(x, y), nats a row; compare on the same data and likelihood only",
        "higher",
        "Likelihood",
        1,
    ),
    Measure(
        "likelihood.bound.unlabelled.total",
        "bound without labels",
        "lower bound on log p(x), nats a row",
        "higher",
        "Likelihood",
        1,
    ),
    Measure(
        "likelihood.evidence.log_evidence",
        "log p(x)",
        "importance-weighted, on fewer rows; from below, and loose where few samples carry it",
        "higher",
        "Likelihood",
        1,
    ),
    Measure(
        "likelihood.evidence.bound_on_these_rows",
        "… bound on these rows",
        "lower bound on log p(x), on the rows of log p(x)",
        "higher",
        "Likelihood",
        1,
    ),
    Measure(
        "likelihood.reconstruction.absolute_error",
        "reconstruction error",
        "mean absolute difference of inputs and their reconstructions",
        "lower",
        "Likelihood",
        4,
    ),
    Measure(
        "likelihood.reconstruction.ssim",
        "SSIM",
        "structural similarity of inputs and their reconstructions; 1 is equality",
        "higher",
        "Likelihood",
    ),
)
"""Measures of what a model says of inputs, in order."""
