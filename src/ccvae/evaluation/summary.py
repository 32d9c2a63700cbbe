"""The few numbers of an evaluation to look at first: what each means, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MEASURES", "Measure", "find", "summary"]


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


MEASURES = (
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
    Measure(
        "generation.mean.agreement",
        "generation agrees",
        "share of labels asked that the oracle sees in generated pictures",
        "higher",
        "Generation",
    ),
    Measure(
        "generation.mean.joint",
        "generation agrees jointly",
        "share of generated pictures in which it sees all labels as asked",
        "higher",
        "Generation",
    ),
    Measure(
        "generation.mean.coverage",
        "variants covered",
        "share of a label's variants that generated pictures show, given presence",
        "higher",
        "Generation",
    ),
    Measure(
        "interventions.flip.mean.success",
        "intervention succeeds",
        "share of flipped labels whose new value the oracle sees",
        "higher",
        "Interventions",
    ),
    Measure(
        "interventions.flip.mean.side_effect",
        "side effect",
        "how far the oracle's probabilities of the other labels moved, on average",
        "lower",
        "Interventions",
    ),
    Measure(
        "interventions.traversal.mean.monotonicity",
        "traversals monotone",
        "share of walks that arrive and on which the oracle never sees a step back",
        "higher",
        "Interventions",
    ),
    Measure(
        "counterfactuals.interventions.mean.nearest.inside.relative",
        "edit, inside",
        "distance in pixels from the nearest true picture, where it should change, over that of not editing; 0 is the truth",
        "lower",
        "Truth",
    ),
    Measure(
        "counterfactuals.interventions.mean.nearest.inside.possible",
        "… at best",
        "the same of the model's reconstruction of the true picture: what its sharpness allows",
        "lower",
        "Truth",
    ),
    Measure(
        "counterfactuals.interventions.mean.nearest.features.relative",
        "edit, in features",
        "the same ratio of the whole picture's distances in the oracle's features",
        "lower",
        "Truth",
    ),
    Measure(
        "counterfactuals.interventions.mean.nearest.pixels.to_floor",
        "edit over reconstruction",
        "distance of the whole picture in pixels from the truth, over that of its reconstruction; 1 is best",
        "lower",
        "Truth",
    ),
    Measure(
        "counterfactuals.interventions.mean.ready.outside.moved",
        "change outside",
        "mean change of a channel (0 to 1) where nothing should change",
        "lower",
        "Truth",
        4,
    ),
    Measure(
        "counterfactuals.transfers.mean.inside.relative",
        "transfer, inside",
        "distance in pixels from the true transfer, where it should change, over that of not editing",
        "lower",
        "Truth",
    ),
    Measure(
        "counterfactuals.transfers.mean.features.relative",
        "transfer, in features",
        "the same ratio of the whole picture's distances in the oracle's features",
        "lower",
        "Truth",
    ),
    Measure(
        "characteristics.reading.mean.own",
        "variant in its block",
        "share of variants (which glasses) that a probe reads from the label's own block",
        "higher",
        "Characteristics",
    ),
    Measure(
        "characteristics.reading.mean.times_chance",
        "… times chance",
        "the same, over always saying the most frequent variant",
        "higher",
        "Characteristics",
        2,
    ),
    Measure(
        "characteristics.reading.mean.style",
        "variant in the style",
        "the same, from the style latents",
        "lower",
        "Characteristics",
    ),
    Measure(
        "characteristics.reading.mean.others",
        "variant in other blocks",
        "the same, from all other labels' blocks",
        "lower",
        "Characteristics",
    ),
    Measure(
        "characteristics.transfers.mean.recognised",
        "transfer recognised",
        "share of transfers in which the oracle sees the source's variant on the target",
        "higher",
        "Characteristics",
    ),
    Measure(
        "leakage.mean.style",
        "label in the style",
        "AUROC of a probe that reads labels from the style; 0.5 is nothing",
        "lower",
        "Leakage",
    ),
    Measure(
        "leakage.mean.others",
        "label in other blocks",
        "the same, from all other labels' blocks; compare with the next",
        "lower",
        "Leakage",
    ),
    Measure(
        "leakage.mean.labels",
        "label in other labels",
        "the same, from the true values of the other labels",
        "as it is",
        "Leakage",
    ),
    Measure(
        "consistency.mean.consistency",
        "self-consistency",
        "share of q(y|z) that agree with y, for z drawn from p(z|y)",
        "higher",
        "Leakage",
    ),
    Measure(
        "realism.generated.frechet",
        "Fréchet distance",
        "between generated pictures and data, in the oracle's features",
        "lower",
        "Realism",
        2,
    ),
    Measure(
        "realism.floor.frechet",
        "… of other rows",
        "the same between two halves of the data: the floor",
        "as it is",
        "Realism",
        2,
    ),
    Measure(
        "realism.reconstructed.frechet",
        "… of reconstructions",
        "the same between reconstructions and data: what lacking sharpness costs",
        "lower",
        "Realism",
        2,
    ),
    Measure(
        "realism.generated.kernel",
        "kernel distance",
        "squared maximum mean discrepancy, in the same features",
        "lower",
        "Realism",
        4,
    ),
    Measure(
        "oracle.mean.accuracy",
        "oracle's accuracy",
        "share of labels that the oracle itself reads rightly: all that it says is to be taken with this",
        "higher",
        "Oracle",
    ),
    Measure(
        "oracle.mean.reconstructed", "… on reconstructions", "the same, on the model's reconstructions", "higher", "Oracle"
    ),
    Measure(
        "oracle.mean.variant_accuracy",
        "oracle's variants",
        "share of variants that the oracle reads rightly",
        "higher",
        "Oracle",
    ),
)
"""All measures that a summary may hold, in order."""


def find(results: Mapping[str, Any], path: str) -> Any:
    """What is at a path of the results, None where there is nothing."""
    found: Any = results
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def summary(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measures that the results have: each its path, title, meaning and better way, with value, low and high."""
    rows = []
    for measure in MEASURES:
        found = find(results, measure.path)
        numbers = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
        if numbers.get("value") is not None:
            rows.append({**asdict(measure), **{name: numbers.get(name) for name in ("value", "low", "high")}})
    return rows
