"""From labels and inputs to a `Dataset`: what all readers end with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ccvae.data.dataset import Dataset
from ccvae.data.label_arrays import LabelArrays
from ccvae.model.inputs.columns import InputColumns
from ccvae.model.inputs.decoding import Framing

__all__ = ["ReadInputs", "assemble"]

ReadInputs = Callable[[], tuple[np.ndarray, Sequence[str]]]
"""Reads inputs, which may take long; gives them with notes for people."""


def assemble(
    inputs: np.ndarray | ReadInputs,
    labels: LabelArrays,
    ids: Sequence[str] | np.ndarray,
    splits: Mapping[str, np.ndarray],
    *,
    name: str,
    source: str,
    fit_priors: bool = True,
    labelled: int | float | None = None,
    seed: int = 0,
    groups: np.ndarray | None = None,
    columns: InputColumns | None = None,
    framing: Framing | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Dataset:
    """A `Dataset`: labels are hidden, priors fitted, and inputs read last, when all else is known to be right.

    Args:
        inputs: images or vectors (see `Dataset`), or a function that reads them.
        labels: the labels.
        ids: names of the rows.
        splits: rows of every split.
        name: what reports call the data.
        source: what messages call the table of labels.
        fit_priors: fit priors to the training rows; False where the labels' priors are known.
        labelled: number (int) or fraction (float) of training rows that keep their labels (see `Dataset.hide`).
        seed: random seed of which labels are hidden.
        groups: `(rows,)` groups that splits keep whole.
        columns: how a table's columns became vectors.
        framing: how image files are brought to one size.
        notes: what else the reader found.
        warnings: what else should be looked at.

    Raises:
        ValueError: a label is constant, or never observed, in the training rows; or the data contradict themselves.
    """
    train = splits["train"]
    if labelled is not None:
        labels = labels.hide(train, labelled, None, seed)
    if fit_priors:
        try:
            labels = labels.with_priors(train)
        except ValueError as error:
            if labelled is not None:
                kept = int((~np.isnan(labels.array[train]).all(axis=1)).sum())
                raise ValueError(f"with {kept} labelled rows (seed {seed}): {error}; keep more") from None
            raise ValueError(
                f"{source}, in the {len(train)} rows to train on: {error}; or choose another seed or split"
            ) from None
    found: Sequence[str] = ()
    if callable(inputs):
        inputs, found = inputs()
    return Dataset(
        inputs,
        labels.array,
        labels.space,
        np.asarray(ids, dtype=str),
        splits,
        name,
        groups=groups,
        soft=labels.soft,
        columns=columns,
        framing=framing,
        notes=(*labels.notes, *notes, *found),
        warnings=(*labels.warnings, *warnings),
    )
