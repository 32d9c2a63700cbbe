"""What every reader of data gives: inputs, labels with holes, ids and splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ccvae.data.images.memory_maps import rows_of
from ccvae.data.label_arrays import LabelArrays
from ccvae.data.soft_labels import check_soft
from ccvae.data.splits import SPLITS, check_splits
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few
from ccvae.model.inputs.columns import InputColumns
from ccvae.model.inputs.decoding import Framing
from ccvae.model.inputs.format import InputFormat

__all__ = ["MOST_LABELS", "Dataset", "Truth", "first_images"]


SHOWN, MOST_LABELS = 8, 40
"""Images and labels in a notebook's summary."""
TRIED = 5
"""Rows on which it is tried whether a variant's color is seen."""


class Truth(Protocol):
    """Ground truth of data that a program drew: the recipe of every picture, and how to draw others."""

    recipes: Any
    variants: np.ndarray
    variant_names: Mapping[str, tuple[str, ...]]
    color_names: Mapping[str, tuple[str, ...]]

    def render(self, recipe: Any) -> np.ndarray:
        """Picture of a recipe: uint8 `(height, width, channels)`."""
        ...

    def with_label(self, recipe: Any, label: str, value: int, variant: str | None = None) -> Any:
        """Recipe of the same picture with a binary label set (and shown by a variant): the truth of an intervention."""
        ...

    def with_part_of(self, recipe: Any, source_recipe: Any, label: str) -> Any:
        """Recipe of a picture with what shows a label in another: the truth of a transfer."""
        ...

    def with_color(self, recipe: Any, label: str, color: str) -> Any:
        """Recipe of the same picture with the part that shows a label in another of its own colors."""
        ...

    def color_of(self, recipe: Any, label: str) -> str:
        """Color of the part that shows a label, if that color belongs to the part; "" if the label is absent."""
        ...

    def colors(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """By label with colors of its own, indices in `color_names` `(rows,)`; -1 where the label is absent, or shows in a
        variant that is drawn without this color.
        """
        recipes = [self.recipes[row] for row in rows.tolist()]
        found = {}
        for label, names in self.color_names.items():
            present = [position for position, recipe in enumerate(recipes) if self.color_of(recipe, label)]
            found[label] = np.full(len(recipes), -1)
            for variant in self.variant_names[label]:
                showing = [position for position in present if recipes[position].variants[label] == variant]
                if any(self.shows_color(recipes[position], label) for position in showing[:TRIED]):
                    found[label][showing] = [names.index(self.color_of(recipes[position], label)) for position in showing]
        return found

    def shows_color(self, recipe: Any, label: str) -> bool:
        """Whether the picture depends on the color of the part that shows a label."""
        first, second, *_ = self.color_names[label]
        pictures = [self.render(self.with_color(recipe, label, color)) for color in (first, second)]
        return bool((pictures[0] != pictures[1]).any())

    def intervention(self, row: int, label: str, value: int) -> np.ndarray:
        """True picture of a row with a binary label set: uint8 `(height, width, channels)`."""
        return self.render(self.with_label(self.recipes[row], label, value))

    def transfer(self, source: int, target: int, label: str) -> np.ndarray:
        """True picture of a target row with what shows a label in a source row: uint8 `(height, width, channels)`."""
        return self.render(self.with_part_of(self.recipes[target], self.recipes[source], label))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images or vectors with labels, any of which may be missing.

    Args:
        inputs: uint8 `(rows, height, width, channels)` for images (it may be a memory map), float32 `(rows, features)` for
            vectors.
        labels: float32 `(rows, labels)`, NaN where not observed (see `ccvae.labels`).
        space: the labels, with their priors fitted on the training split's observed labels.
        ids: `(rows,)` texts that name the rows; all different.
        splits: sorted, disjoint row numbers of "train", "validation" and "test"; a row may be in none of them.
        name: what reports call this data.
        truth: ground truth, if a program drew the data.
        groups: `(rows,)` texts, such as patients; each group is in one split only. None if rows are independent.
        soft: float32 `(rows, values)` probabilities by name of a categorical label, where annotators disagree, or NaN; `labels`
            has the most probable value. Training samples a value from them each time it sees a row.
        columns: how a table's columns became vectors, for new rows of it (see `ccvae.data.table`); None for other inputs.
        mirrored: whether an image mirrored left to right has the same labels: true of faces, not of digits, text or organs.
        framing: how image files were brought to one size, for new ones; None for other inputs.
        origin: how the data were read (see `ccvae.data.origin`); None for data made in memory.
        notes: what the reader found and decided, in sentences for people.
        warnings: what should be looked at before training, such as a class that looks like a code for missing.

    Raises:
        ValueError: shapes or types disagree, ids repeat, splits overlap or share a group, or labels have values that are not
            in their space.
    """

    inputs: np.ndarray
    labels: np.ndarray
    space: LabelSpace
    ids: np.ndarray
    splits: Mapping[str, np.ndarray]
    name: str = "data"
    truth: Truth | None = None
    groups: np.ndarray | None = None
    soft: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: InputColumns | None = None
    mirrored: bool = False
    framing: Framing | None = None
    origin: Any = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = len(self.inputs)
        check_inputs(self.inputs)
        if len(self.labels) != rows or len(self.ids) != rows or (self.groups is not None and len(self.groups) != rows):
            found = f"{rows} inputs, {len(self.labels)} rows of labels, {len(self.ids)} ids"
            raise ValueError(f"{found}{'' if self.groups is None else f', {len(self.groups)} groups'}: the counts must agree")
        self.space.check(self.labels)
        check_soft(self.soft, self.space, rows)
        names, counts = np.unique(self.ids, return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"ids must differ; repeated: {first_few([str(name) for name in names[counts > 1]])}")
        check_splits(self.splits, rows, self.groups)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input as the model sees it: `(channels, height, width)` or `(features,)`."""
        if self.inputs.ndim == 2:
            return (self.inputs.shape[1],)
        _, height, width, channels = self.inputs.shape
        return (channels, height, width)

    @property
    def input_format(self) -> InputFormat:
        """How new rows of a table, or new images, become inputs like these."""
        return InputFormat(self.columns, self.framing)

    def tensor(self, rows: np.ndarray | slice | list[int] | str = slice(None)) -> Tensor:
        """Inputs as floats, images `(rows, channels, height, width)` in [0, 1].

        Args:
            rows: row numbers, a slice, or the name of a split.
        """
        if isinstance(rows, str):
            rows = self.splits[rows]
        chosen = rows_of(self.inputs, rows)
        if chosen.ndim == 2:
            return torch.tensor(chosen, dtype=torch.float32)
        # one pass over the pixels; permute keeps channels last in memory, which the convolutions prefer
        return torch.from_numpy(np.divide(chosen, np.float32(255), dtype=np.float32)).permute(0, 3, 1, 2)

    def split_table(self) -> pd.DataFrame:
        """Which row is in which split: columns "id", "split" (empty for a row in none), "labelled" (whether it has any label
        that is not hidden) and, if there are groups, "group".
        """
        names = np.full(len(self), "", dtype=object)
        for split, members in self.splits.items():
            names[members] = split
        columns = {"id": self.ids, "split": names, "labelled": ~np.isnan(self.labels).all(axis=1)}
        return pd.DataFrame(columns | ({} if self.groups is None else {"group": self.groups}))

    def split_as(self, table: pd.DataFrame, source: str = "splits") -> Dataset:
        """This data with the splits that a table names; rows that it does not name are in none.

        Args:
            table: texts in columns "id" and "split", as `split_table` gives them.
            source: what error messages call the table.

        Raises:
            ValueError: it names rows that there are not.
        """
        rows = pd.Index(self.ids).get_indexer(pd.Index(table["id"]))
        gone = table["id"][rows < 0].astype(str).tolist()
        if gone:
            raise ValueError(f"{source} names {len(gone)} rows that {self.name} does not have (any more): {first_few(gone)}")
        return replace(self, splits={split: np.sort(rows[table["split"] == split]) for split in SPLITS})

    def _repr_html_(self) -> str:
        """Summary for notebooks: splits, labels, and the first images."""
        from ccvae.drawing.html import render, table

        labels = pd.DataFrame(
            {
                "kind": [label.kind for label in self.space],
                **{
                    f"labelled in {split}": (~np.isnan(self.labels[rows])).sum(0)
                    for split, rows in self.splits.items()
                    if len(rows)
                },
            },
            index=pd.Index(self.space.names, name="label"),
        )
        sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in self.splits.items())
        facts = f"{len(self):,} rows ({sizes}), inputs {' × '.join(map(str, self.inputs.shape[1:]))}"
        return str(
            render(
                "drawing/templates/notebook.html",
                title=self.name,
                facts=facts,
                images=first_images(self),
                sentences=self.warnings,
                content=table(labels.head(MOST_LABELS)),
                more=max(0, len(labels) - MOST_LABELS),
            )
        )

    def hide(self, labelled: int | float | None = None, seed: int = 0, *, labelled_per_class: int | None = None) -> Dataset:
        """This data with the labels of all training rows hidden but those of a few, chosen by a seed.

        The few are stratified: every value of every label keeps its share, and at least one row (see
        `ccvae.data.stratification`). Priors are fitted to them. Other splits keep their labels.

        Args:
            labelled: number (int) or fraction (float in (0, 1)) of the labelled training rows that keep their labels.
            seed: random seed of the choice.
            labelled_per_class: instead, the number of rows of every value of a binary or categorical label; with several
                labels, at least that number.

        Raises:
            ValueError: more rows are to stay labelled than there are, or none; or a label is left without two values.
        """
        train = self.splits["train"]
        labels = LabelArrays(self.labels, self.space, self.soft).hide(train, labelled, labelled_per_class, seed)
        try:
            labels = labels.with_priors(train)
        except ValueError as error:
            kept = int((~np.isnan(labels.array[train]).all(axis=1)).sum())
            raise ValueError(f"with {kept} labelled rows (seed {seed}): {error}; keep more") from None
        return replace(self, labels=labels.array, soft=labels.soft, space=labels.space)


def first_images(data: Dataset) -> list[Any]:
    """The first images of a data set for notebooks, none where inputs are vectors."""
    from ccvae.drawing.html import inline_image

    return [inline_image(pixels, 64) for pixels in data.inputs[:SHOWN]] if data.inputs.ndim == 4 else []


def check_inputs(inputs: np.ndarray) -> None:
    """Raise `ValueError` unless inputs are uint8 images or finite float32 vectors."""
    if inputs.ndim == 4 and inputs.dtype == np.uint8:
        if inputs.shape[3] not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels, last in their shape, not {inputs.shape[3]}")
    elif inputs.ndim == 2 and inputs.dtype == np.float32:
        wrong = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
        if len(wrong):
            raise ValueError(f"inputs must be finite numbers; rows with others: {first_few([str(row) for row in wrong])}")
    else:
        raise ValueError(
            "inputs must be uint8 (rows, height, width, channels) or float32 (rows, features), "
            f"not {inputs.dtype} {inputs.shape}"
        )
