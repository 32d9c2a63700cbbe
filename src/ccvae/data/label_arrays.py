"""Labels of all rows as arrays, before inputs are attached: hiding some of them, fitting priors, joining rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ccvae.data.soft_labels import fitted_priors
from ccvae.data.stratification import rows_per_value, stratified_rows
from ccvae.labels import Categorical, LabelSpace

__all__ = ["LabelArrays"]


@dataclass(frozen=True, eq=False)
class LabelArrays:
    """Labels of all rows.

    Args:
        array: float32 `(rows, labels)`, NaN where not observed (see `ccvae.labels`).
        space: the labels.
        soft: probabilities by name of a categorical label, float32 `(rows, values)`, NaN where not observed.
        notes: what was found and decided, in sentences for people.
        warnings: what should be looked at, such as a class that looks like a code for missing.
    """

    array: np.ndarray
    space: LabelSpace
    soft: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def hide(self, train: np.ndarray, labelled: int | float | None, labelled_per_class: int | None, seed: int) -> LabelArrays:
        """Hide the labels of all training rows but a stratified few (see `Dataset.hide`); priors are not fitted.

        Raises:
            ValueError: more rows are to stay labelled than there are, or none.
        """
        if (labelled is None) == (labelled_per_class is None):
            raise ValueError("give either labelled or labelled_per_class")
        known = train[~np.isnan(self.array[train]).all(axis=1)]
        if labelled_per_class is not None:
            if labelled_per_class < 1:
                raise ValueError(f"labelled_per_class: expected 1 or more, found {labelled_per_class}")
            kept = known[rows_per_value(self.array[known], self.space, labelled_per_class, seed)]
        else:
            count = round(labelled * len(known)) if isinstance(labelled, float) else int(labelled or 0)
            if not 0 < count <= len(known):
                raise ValueError(f"labelled: {labelled} asks for {count} labelled training rows; there are {len(known)}")
            kept = known[stratified_rows(self.array[known], self.space, count, seed)]
        array, soft = np.array(self.array), {name: np.array(shares) for name, shares in self.soft.items()}
        for values in (array, *soft.values()):
            values[np.setdiff1d(train, kept)] = np.nan
        return replace(self, array=array, soft=soft)

    def with_priors(self, rows: np.ndarray) -> LabelArrays:
        """The same labels with priors fitted to some rows.

        Raises:
            ValueError: a label has no observed entry in these rows, or all of them are the same.
        """
        soft = {name: shares[rows] for name, shares in self.soft.items()}
        return replace(self, space=fitted_priors(self.space, self.array[rows], soft))

    def with_unlabelled(self, count: int) -> LabelArrays:
        """The same labels, followed by rows without any."""
        array, *soft = (
            np.concatenate([part, np.full((count, part.shape[1]), np.nan, dtype=np.float32)])
            for part in (self.array, *self.soft.values())
        )
        return replace(self, array=array, soft=dict(zip(self.soft, soft, strict=True)))

    def joined(self, owner: np.ndarray) -> LabelArrays:
        """One row for each owner: the mean of a binary label, the shares of a categorical one's values, the mean of a number.

        Args:
            owner: `(rows,)`, the row of the result that each row belongs to; all numbers from 0 to the last occur.
        """
        count = int(owner.max()) + 1
        if count == len(owner):
            return self
        array = np.full((count, len(self.space)), np.nan, dtype=np.float32)
        soft = dict(self.soft)
        for column, label in enumerate(self.space):
            entries = self.array[:, column].astype(np.float64)
            seen = ~np.isnan(entries)
            totals = np.bincount(owner[seen], minlength=count)
            if isinstance(label, Categorical):
                each = np.full((len(entries), len(label.values)), np.nan)
                each[seen] = np.eye(len(label.values))[entries[seen].astype(int)]
                given = self.soft.get(label.name)
                each = each if given is None else np.where(np.isnan(given), each, given)
                sums = np.stack([np.bincount(owner[seen], part[seen], count) for part in each.T], axis=1)
                with np.errstate(invalid="ignore", divide="ignore"):
                    shares = (sums / totals[:, None]).astype(np.float32)
                if given is not None or ((shares > 0) & (shares < 1)).any():
                    soft[label.name] = shares
                array[totals > 0, column] = shares[totals > 0].argmax(axis=1)
            else:
                sums = np.bincount(owner[seen], entries[seen], count)
                array[totals > 0, column] = sums[totals > 0] / totals[totals > 0]
        return replace(self, array=array, soft=soft)
