"""Stratified choice of a few rows, and sampling weights that balance label values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccvae.labels import Continuous, LabelSpace

__all__ = ["balancing_weights", "memberships", "rows_per_value", "stratified_rows"]

BANDS = 5
"""Number of quantile bands into which a continuous label is divided."""


@dataclass(frozen=True)
class Stratum:
    """The rows that have a value of a label.

    Args:
        name: the label and the value, for messages.
        members: bool `(rows,)`.
        rarity: rows that it would have if all values of the label were equally frequent, divided by the rows that it has.
        continuous: whether the label is continuous.
    """

    name: str
    members: np.ndarray
    rarity: float
    continuous: bool


def strata_of(labels: np.ndarray, space: LabelSpace) -> list[Stratum]:
    """Rows by the values that occur, the rarest value first; a continuous label has its bands as values."""
    found = []
    for column, label in enumerate(space):
        entries = labels[:, column].astype(np.float64)
        if isinstance(label, Continuous):
            observed = ~np.isnan(entries)
            values = np.full(len(entries), np.nan)
            if observed.any():
                limits = np.quantile(entries[observed], np.arange(1, BANDS) / BANDS)
                values[observed] = np.searchsorted(limits, entries[observed])
            names = {float(band): f"{label.name!r} in band {band + 1} of {BANDS}" for band in range(BANDS)}
        else:
            values = np.floor(entries + 0.5)  # a probability counts as its nearer value
            names = {float(number): f"{label.name!r} = {value}" for number, value in enumerate(label.values)}
        seen, sizes = np.unique(values[~np.isnan(values)], return_counts=True)
        for value, size in zip(seen.tolist(), sizes.tolist(), strict=True):
            rarity = sizes.sum() / (len(seen) * size)
            found.append(Stratum(names[value], values == value, rarity, isinstance(label, Continuous)))
    return sorted(found, key=lambda stratum: int(stratum.members.sum()))


def memberships(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Which rows show which value of which label: bool `(rows, strata)`; a continuous label is cut into bands."""
    strata = [stratum.members for stratum in strata_of(labels, space)]
    return np.stack(strata, axis=1) if strata else np.zeros((len(labels), 0), dtype=bool)


def stratified_rows(labels: np.ndarray, space: LabelSpace, count: int, seed: int) -> np.ndarray:
    """A few rows in which every value of every label has about the same share as in all rows, and at least one row.

    Values take their share from the rows that are left, the rarest value first. With one label, shares are exact to a row.

    Args:
        labels: `(rows, labels)`, at least one of them observed in every row.
        space: the labels.
        count: number of rows to choose.
        seed: random seed.

    Returns:
        Sorted row numbers `(count,)`.
    """
    generator = np.random.default_rng(seed)
    left = np.ones(len(labels), dtype=bool)
    chosen = np.zeros(len(labels), dtype=bool)
    for stratum in strata_of(labels, space):
        candidates = np.flatnonzero(stratum.members & left)
        wanted = max(round(stratum.members.sum() * count / len(labels)), 1) - (stratum.members & chosen).sum()
        room = count - chosen.sum()
        least = room - (left.sum() - len(candidates))  # what the rows of other values cannot make up for
        number = min(max(wanted, least, 0), len(candidates), room)
        chosen[generator.choice(candidates, number, replace=False)] = True
        left[candidates] = False
    return np.flatnonzero(chosen)


def rows_per_value(labels: np.ndarray, space: LabelSpace, count: int, seed: int) -> np.ndarray:
    """A number of rows of every value of every binary and categorical label; with several labels, at least that number.

    Args:
        labels: `(rows, labels)`.
        space: the labels.
        count: number of rows of every value that occurs.
        seed: random seed.

    Returns:
        Sorted row numbers.

    Raises:
        ValueError: a value has fewer rows, or all labels are continuous.
    """
    strata = [stratum for stratum in strata_of(labels, space) if not stratum.continuous]
    if not strata:
        raise ValueError("labelled_per_class: there is no binary or categorical label; use labelled instead")
    if strata[0].members.sum() < count:
        found = f"{strata[0].name} has {strata[0].members.sum()} labelled training rows"
        raise ValueError(f"labelled_per_class: {count} rows of every value are asked for, but {found}; ask for fewer")
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for stratum in strata:
        missing = max(count - int((stratum.members & chosen).sum()), 0)
        chosen[generator.choice(np.flatnonzero(stratum.members & ~chosen), missing, replace=False)] = True
    return np.flatnonzero(chosen)


def balancing_weights(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Probabilities `(rows,)` of sampling rows such that rare values are as frequent as common ones.

    With one label this is exact: all its values are sampled equally often. With several, a row's probability is the mean of
    the probabilities that each of its binary and categorical labels would give it. Missing and continuous labels are ignored.

    Args:
        labels: `(rows, labels)`, NaN where missing.
        space: the labels.
    """
    asked, counts = np.zeros(len(labels)), np.zeros(len(labels))
    for stratum in strata_of(labels, space):
        if not stratum.continuous:
            asked[stratum.members] += stratum.rarity
            counts[stratum.members] += 1
    weights = np.divide(asked, counts, out=np.ones(len(labels)), where=counts > 0)  # each label asks for 1 on the average
    return np.asarray(weights / weights.sum())
