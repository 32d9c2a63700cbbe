"""What a check of data found, before it is written as text, JSON or a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from ccvae.data.dataset import MOST_LABELS, Dataset, first_images

__all__ = ["Correlation", "Findings", "LabelSummary"]


@dataclass(frozen=True)
class LabelSummary:
    """What is observed of one label.

    Args:
        name: the label's name.
        kind: "binary", "categorical" or "continuous".
        observed: number of rows of each split in which it is observed.
        missing: fraction of all rows in which it is missing.
        counts: number of training rows with each value; a soft label counts as its probability. Empty if continuous.
        numbers: least, mean, standard deviation and greatest of the training rows; None unless continuous, or not observed.
    """

    name: str
    kind: str
    observed: Mapping[str, int]
    missing: float
    counts: Mapping[str, float]
    numbers: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Correlation:
    """How two labels, or values of labels, go together: Pearson's r over the rows that have both."""

    first: str
    second: str
    coefficient: float


@dataclass(frozen=True)
class Findings:
    """What a check found.

    Args:
        name: the data's name.
        rows: number of rows.
        input_shape: `(channels, height, width)` of images, `(features,)` of vectors.
        splits: number of rows of each split.
        labelled: number of rows of each split with at least one label.
        groups: number of groups; None if rows are independent.
        labels: one summary a label.
        correlations: the strongest first, of values of different labels.
        duplicates: ids of rows whose inputs are identical as the model sees them.
        problems: what should be fixed before training; the exit code of `ccvae data check` is 1 if there are any.
        warnings: what is worth a look.
        notes: what the reader found and decided.
        data: the data set, for the images of the page.
    """

    name: str
    rows: int
    input_shape: tuple[int, ...]
    splits: Mapping[str, int]
    labelled: Mapping[str, int]
    groups: int | None
    labels: tuple[LabelSummary, ...]
    correlations: tuple[Correlation, ...]
    duplicates: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    data: Dataset = field(repr=False, compare=False)

    def _repr_html_(self) -> str:
        """Summary for notebooks: what to fix and look at, the labels, and the first images."""
        from ccvae.drawing.html import render, table

        rows = {
            label.name: {"kind": label.kind, **label.observed, "missing": f"{label.missing:.1%}"}
            for label in self.labels[:MOST_LABELS]
        }
        sentences = (("Problem", self.problems), ("Look", self.warnings), ("Note", self.notes))
        found = [f"{title}: {sentence}" for title, each in sentences for sentence in each]
        return str(
            render(
                "drawing/templates/notebook.html",
                title=self.name,
                facts=f"{self.rows:,} rows, {self.inputs}" + ("" if self.problems else "; no problems found"),
                sentences=found,
                images=first_images(self.data),
                content=table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("label")),
                more=max(0, len(self.labels) - MOST_LABELS),
            )
        )

    @property
    def inputs(self) -> str:
        """Kind and size of the inputs, for people."""
        if len(self.input_shape) == 1:
            return f"vectors of {self.input_shape[0]} numbers"
        channels, height, width = self.input_shape
        return f"{'grey' if channels == 1 else 'colour'} images of {width}×{height}"
