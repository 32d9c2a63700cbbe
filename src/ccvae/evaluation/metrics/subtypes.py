"""Capture without ground truth: does a label's block store which subtype of the label an image shows? Needs labels only.

The protocol of Louiset et al., "SepVAE: a contrastive VAE to separate pathological patterns from healthy ones" (2023), who read
glasses and hats from latents that were trained on their union. Several binary labels are merged into one, "accessory" for
glasses or hat; a model is trained on the merged label, and never sees the subtypes. It captures how the merged label shows if
probes read the subtype from the label's own block, and not from the style or from other blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ccvae.config import EvaluationConfig
from ccvae.data.dataset import Dataset
from ccvae.evaluation.metrics.disentanglement import Classes, class_reading
from ccvae.evaluation.samples import sample_of
from ccvae.labels import Binary, LabelSpace
from ccvae.model.ccvae import CCVAE

__all__ = ["merge_labels", "subtype_capture", "subtypes_of"]

FEWEST = 2


def merge_labels(data: Dataset, merged: Mapping[str, Sequence[str]]) -> Dataset:
    """A data set in which binary labels are replaced by their union.

    The merged label is present if any of its labels is present, absent if all of them are, and unknown otherwise. Merged labels
    come last; the others keep their order.

    Args:
        data: the data set.
        merged: names of at least two binary labels by the name of the merged one.

    Returns:
        The data set to train on; `data` has the subtypes, for `subtype_capture`.

    Raises:
        ValueError: a label is not there, not binary or merged twice, a name is taken, or a merged label has one value only.

    Example:
        >>> from ccvae.data import avatars
        >>> data = avatars(60, size=16, processes=1)
        >>> coarse = merge_labels(data, {"Accessory": ["Eyeglasses", "Wearing_Hat"]})
        >>> coarse.space.names[-1], len(coarse.space)
        ('Accessory', 15)
    """
    check_merged(data.space, merged)
    taken = {name for names in merged.values() for name in names}
    kept = [column for column, name in enumerate(data.space.names) if name not in taken]
    columns = [data.labels[:, column] for column in kept]
    for names in merged.values():
        parts = data.labels[:, [data.space.index(name) for name in names]]
        present, unknown = (parts >= 0.5).any(1), np.isnan(parts).any(1)
        columns.append(np.where(present, 1.0, np.where(unknown, np.nan, 0.0)))
    labels = np.stack(columns, 1).astype(np.float32)
    space = LabelSpace((*(data.space.labels[column] for column in kept), *map(Binary, merged)))
    space = space.with_priors(labels[data.splits["train"]])
    soft = {name: shares for name, shares in data.soft.items() if name not in taken}
    note = "; ".join(f"{name} merges {', '.join(names)}" for name, names in merged.items())
    return replace(data, labels=labels, space=space, soft=soft, truth=None, notes=(*data.notes, f"{note}."))


def subtypes_of(data: Dataset, names: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """Which of some binary labels is present, in rows in which exactly one of them is and all are known; -1 in others
    `(rows,)`.
    """
    parts = data.labels[rows][:, [data.space.index(name) for name in names]]
    present = parts >= 0.5
    single = (present.sum(1) == 1) & ~np.isnan(parts).any(1)
    found: np.ndarray = np.where(single, present.argmax(1), -1)
    return found


def subtype_capture(
    model: CCVAE,
    data: Dataset,
    merged: Mapping[str, Sequence[str]],
    split: str = "test",
    config: EvaluationConfig | None = None,
) -> dict[str, dict[str, Any]]:
    """How well probes read subtypes of merged labels from a model that was trained without them.

    Args:
        model: trained on `merge_labels(data, merged)`.
        data: the data set with the subtypes.
        merged: names of binary labels by the name of the merged one.
        split: the split to measure on; probes are fitted on training rows.
        config: numbers of rows, and the seed.

    Returns:
        By merged label: "own", "others" and "style", accuracy of probes that see the label's own block, all other blocks and
        the style; "chance", frequency of the most frequent subtype; "times_chance", "own" divided by it. A label is captured
        if "own" is high and the others are near "chance".

    Raises:
        ValueError: the model does not have a merged label, the labels cannot be merged, or no row shows a single subtype.
    """
    check_merged(data.space, merged)
    missing = [name for name in merged if name not in model.space.names]
    if missing:
        raise ValueError(f"the model has no label {missing[0]!r}; train it on merge_labels(data, merged)")
    config = config or EvaluationConfig()
    test = sample_of(data, split, config.rows, config.seed)
    train = sample_of(data, "train", config.probe_rows, config.seed + 1)
    classes = {}
    for name, names in merged.items():
        classes[name] = Classes(len(names), *(subtypes_of(data, names, each.rows) for each in (train, test)))
        for rows, where in ((classes[name].train, "train"), (classes[name].test, split)):
            if len(np.unique(rows[rows >= 0])) < FEWEST:
                raise ValueError(f"{name}: {where} has no rows of at least two of {', '.join(names)} alone; merge other labels")
    return class_reading(model, train, test, classes, config.seed)


def check_merged(space: LabelSpace, merged: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError` unless labels can be merged."""
    taken: set[str] = set()
    for name, names in merged.items():
        if isinstance(names, str) or len(names) < FEWEST:
            raise ValueError(f"{name}: expected the names of at least two binary labels, found {names!r}")
        for each in names:
            if each not in space.names:
                raise ValueError(f"{name}: there is no label {each!r}; the labels are {', '.join(space.names)}")
            if not isinstance(space[each], Binary):
                raise ValueError(f"{name}: {each} is {space[each].kind}; only binary labels can be merged")
            if each in taken:
                raise ValueError(f"{name}: {each} is merged twice")
            taken.add(each)
    for name in merged:
        if name in set(space.names) - taken:
            raise ValueError(f"{name}: there is a label of this name already; choose another")
