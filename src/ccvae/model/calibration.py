"""Calibration of q(y|x) on held-out labelled rows, and the thresholds at which probabilities become decisions.

The exact q(y|x) is what the bound contains. Trained on few labels it is overconfident. A temperature for each label repairs
that without changing which value is the most probable (Guo et al., 2017, "On calibration of modern neural networks"): the log
probabilities of a discrete label are divided by it, the standard deviation of a continuous label is multiplied by it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from ccvae.labels import Binary, Continuous, Label, LabelSpace

__all__ = ["Calibration", "Threshold", "decide", "fit_calibration", "fit_temperatures", "tempered"]

Threshold = Literal["half", "prior", "balanced"]
THRESHOLDS = ("half", "prior", "balanced")
TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(10), 401))
SMALLEST = 1e-7
MOST_TEMPERATURE = 1e6
SPREAD = 0.5
"""Prior standard deviation of a label's log temperature around the common one, which labels with few rows share."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted on held-out labelled rows; saved with a run as `calibration.json`.

    Args:
        temperatures: by label name; 1 leaves q(y|x) as it is, above 1 the model was too sure.
        balanced: threshold of a binary label's calibrated probability with the best balanced accuracy.
        rows: how many labelled rows each label was calibrated on.

    Raises:
        ValueError: a temperature is not positive, or far from any that is fitted; a threshold is not between 0 and 1; or a
            number of rows is negative.
    """

    temperatures: Mapping[str, float]
    balanced: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, temperature in self.temperatures.items():
            check_temperature(name, temperature)
        for name, threshold in self.balanced.items():
            if not 0 < threshold < 1:
                raise ValueError(f"threshold of {name!r}: expected a number between 0 and 1, found {threshold}")
        for name, count in self.rows.items():
            if count < 0:
                raise ValueError(f"rows of {name!r}: expected a whole number of at least 0, found {count}")

    def to_json(self) -> str:
        """As JSON, for people too."""
        return json.dumps({name: dict(values) for name, values in asdict(self).items()}, indent=2)

    @classmethod
    def from_json(cls, text: str, source: str = "calibration.json") -> Calibration:
        """The calibration that `to_json` wrote; raises `ValueError` if the text is something else."""
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source} is not valid JSON: {error}") from None
        return cls.from_entries(read, source)

    @classmethod
    def from_entries(cls, read: Any, source: str = "calibration.json") -> Calibration:
        """The calibration of JSON that is parsed already; raises `ValueError` if it is something else."""
        try:
            if not isinstance(read, dict):
                raise ValueError(f"expected an object, found {type(read).__name__}")
            temperatures, balanced = (numbers_by_label(read, part, (int, float)) for part in ("temperatures", "balanced"))
            rows = {name: int(number) for name, number in numbers_by_label(read, "rows", (int,)).items()}
            return cls(temperatures, balanced, rows)
        except ValueError as error:
            raise ValueError(f"{source}: expected temperatures, balanced and rows by label: {error}") from None

    def check(self, space: LabelSpace, source: str = "calibration") -> None:
        """Raise `ValueError` if it names labels that a model does not have."""
        unknown = sorted({*self.temperatures, *self.balanced} - {*space.names})
        if unknown:
            raise ValueError(f"{source}: the model has no label {', '.join(unknown)}; it has {', '.join(space.names)}")


def numbers_by_label(read: Mapping[str, Any], part: str, kinds: tuple[type, ...]) -> dict[str, float]:
    """Numbers by label of an entry; raises `ValueError` naming what is no such number."""
    found = read.get(part)
    if not isinstance(found, dict):
        raise ValueError(f"{part}: expected numbers by label, found {'none' if found is None else type(found).__name__}")
    for name, value in found.items():
        if type(value) not in kinds or not abs(value) <= sys.float_info.max:
            what = "a number" if float in kinds else "a whole number"
            raise ValueError(f"{part} of {name!r}: expected {what}, found {str(value)[:40]!r}")
    return {name: float(value) for name, value in found.items()}


def check_temperature(name: str, temperature: float) -> None:
    """Raise `ValueError` unless a temperature is a number above 0 with which probabilities stay numbers in float32."""
    if not temperature > 0:
        raise ValueError(f"temperature of {name!r}: expected a number above 0, found {temperature}")
    if not 1 / MOST_TEMPERATURE <= temperature <= MOST_TEMPERATURE:
        least, most = f"{1 / MOST_TEMPERATURE:g}", f"{MOST_TEMPERATURE:g}"
        raise ValueError(f"temperature of {name!r}: expected a number from {least} to {most}, found {temperature}")


def fit_calibration(probabilities: pd.DataFrame, y: np.ndarray, space: LabelSpace) -> Calibration | None:
    """Temperatures and thresholds from held-out rows; None if no label has both values among them.

    Args:
        probabilities: what `predict_proba(calibrated=False)` gave.
        y: labels `(rows, labels)`, NaN where unknown.
        space: the labels.
    """
    rows = {label.name: int((~np.isnan(y[:, column])).sum()) for column, label in enumerate(space)}
    usable = [
        label
        for column, label in enumerate(space)
        if len(np.unique(known(label, columns_of(label, probabilities), y[:, column])[1])) > 1
    ]
    if not usable:
        return None
    temperatures = fit_temperatures(probabilities, y, space)
    calibrated = tempered(probabilities, temperatures, space)
    balanced = {
        label.name: balanced_threshold(*known(label, columns_of(label, calibrated), y[:, space.index(label.name)]), label.prior)
        for label in usable
        if isinstance(label, Binary)
    }
    return Calibration(temperatures, balanced, rows)


def columns_of(label: Label, probabilities: pd.DataFrame) -> np.ndarray:
    """A label's columns of what `predict_proba` gave."""
    return probabilities[list(label.output_columns)].to_numpy()


def known(label: Label, p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions `(rows, columns)` and truth `(rows,)` where the label is known; a probability counts as its nearer value."""
    observed = ~np.isnan(y)
    return p[observed], np.round(y[observed]) if isinstance(label, Binary) else y[observed]


def fit_temperatures(probabilities: pd.DataFrame, y: np.ndarray, space: LabelSpace) -> dict[str, float]:
    """The most probable temperature of every label; 1 where nothing is known.

    A label with few rows takes a temperature near the others': log temperatures have a Normal prior around the one temperature
    that suits all labels together best.

    Args:
        probabilities: what `predict_proba(calibrated=False)` gave for held-out rows.
        y: their labels, NaN where unknown.
        space: the labels.
    """
    found = dict.fromkeys(space.names, 1.0)
    losses = {}
    for column, label in enumerate(space):
        p, truth = known(label, columns_of(label, probabilities), y[:, column])
        if isinstance(label, Continuous):
            if len(truth) > 1:
                found[label.name] = float(np.sqrt((((truth - p[:, 0]) / p[:, 1]) ** 2).mean()))
        elif len(np.unique(truth)) > 1:
            losses[label.name] = surprise(p, truth.astype(int))
    if losses:
        steps = np.log(TEMPERATURES)
        common = steps[int(np.argmin(sum(losses.values())))]
        prior = (steps - common) ** 2 / (2 * SPREAD**2)
        found |= {name: float(TEMPERATURES[int(np.argmin(loss + prior))]) for name, loss in losses.items()}
    return found


def surprise(p: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """−log q(y|x) of the truth, summed over rows, at each of `TEMPERATURES`: nats."""
    log_p = np.log(np.clip(p, SMALLEST, 1))
    chosen = truth[:, None]
    return np.array([-np.take_along_axis(log_normalized(log_p / t), chosen, 1).sum() for t in TEMPERATURES])


def balanced_threshold(p: np.ndarray, truth: np.ndarray, prior: float) -> float:
    """Threshold of a binary label's probability for balanced accuracy.

    Of calibrated probabilities the prior is the best one. It is left only for a threshold that does better by more than the
    standard error of the balanced accuracy, for the best of few rows is mostly luck.

    Args:
        p: probabilities `(rows, 2)`.
        truth: 0 or 1 `(rows,)`.
        prior: p(y = 1).
    """
    present, absent = np.sort(p[truth == 1, 1]), np.sort(p[truth == 0, 1])
    candidates = np.unique(np.concatenate([np.quantile(p[:, 1], np.linspace(0.02, 0.98, 49)), [prior]])).clip(1e-6, 1 - 1e-6)
    recall = 1 - np.searchsorted(present, candidates, side="left") / len(present)
    specificity = np.searchsorted(absent, candidates, side="left") / len(absent)
    measure = (recall + specificity) / 2
    best = int(np.argmax(measure))
    variance = recall * (1 - recall) / len(present) + specificity * (1 - specificity) / len(absent)
    near = measure >= measure[best] - np.sqrt(variance[best]) / 2
    distance = np.abs(logit(candidates) - logit(np.array(prior)))
    return float(candidates[near][int(np.argmin(distance[near]))])


def logit(p: np.ndarray) -> np.ndarray:
    """Log odds."""
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds


def tempered(probabilities: pd.DataFrame, temperatures: Mapping[str, float], space: LabelSpace) -> pd.DataFrame:
    """Probabilities with the temperature of each label applied; which value is the most probable does not change.

    Raises:
        ValueError: a temperature is for no label, or not positive.
    """
    for name, temperature in temperatures.items():
        space.index(name)
        check_temperature(name, temperature)
    table = probabilities.copy()
    for label in space:
        columns, temperature = list(label.output_columns), temperatures.get(label.name, 1.0)
        if isinstance(label, Continuous):
            table[columns[1]] = table[columns[1]] * temperature
        else:
            log_p = np.log(np.clip(table[columns].to_numpy(), SMALLEST, 1))
            table[columns] = np.exp(log_normalized(log_p / temperature)).astype(table[columns[0]].dtype)
    return table


def log_normalized(log_p: np.ndarray) -> np.ndarray:
    """Log probabilities that sum to one in every row."""
    log_p = log_p - log_p.max(1, keepdims=True)
    normalized: np.ndarray = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
    return normalized


def decide(
    probabilities: pd.DataFrame,
    space: LabelSpace,
    threshold: Threshold | float = "half",
    calibration: Calibration | None = None,
) -> pd.DataFrame:
    """A value of every label from its probabilities: one column a label.

    Args:
        probabilities: what `predict_proba` gave.
        space: the labels.
        threshold: "half", the most probable value. "prior", the value that the input makes more probable than it is in general
            (largest q(y|x) / p(y)): best for balanced accuracy if probabilities are calibrated. "balanced", the threshold of
            each binary label tuned on held-out rows for balanced accuracy, other labels as with "prior". Or the probability
            from which a binary label counts as present, in (0, 1); other labels then as with "half".
        calibration: where "balanced" is from.

    Raises:
        ValueError: the threshold is none of these, or nothing was calibrated.
    """
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not (number and 0 < float(threshold) < 1) and threshold not in THRESHOLDS:
        raise ValueError(f"threshold: expected {', '.join(THRESHOLDS)} or a number between 0 and 1, found {threshold!r}")
    if threshold == "balanced" and calibration is None:
        raise ValueError("threshold: 'balanced' needs held-out labelled rows, and the model was trained without; choose prior")
    table = {}
    for label in space:
        p = columns_of(label, probabilities)
        if isinstance(label, Continuous):
            table[label.name] = pd.Series(p[:, 0])
            continue
        tuned = calibration.balanced.get(label.name) if threshold == "balanced" and calibration is not None else None
        level = float(threshold) if number else tuned
        if isinstance(label, Binary) and level is not None:
            chosen = (p[:, 1] >= level).astype(int)
        else:
            chosen = (p if threshold == "half" or number else p / np.array(label.priors)).argmax(1)
        table[label.name] = pd.Series([label.values[position] for position in chosen], dtype=object)
    return pd.DataFrame(table).infer_objects().set_axis(probabilities.index)
