"""What is in a data set: counts, labels, duplicates and leaks, before hours are spent on training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ccvae.data.checks.correlations import correlated
from ccvae.data.checks.findings import Findings, LabelSummary
from ccvae.data.checks.page import page_of_report
from ccvae.data.checks.text import text_of_report
from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous, Label
from ccvae.labels.cells import first_few

__all__ = ["LabelSummary", "Report", "check"]

FEW_EXAMPLES = 10
NEARLY_THE_SAME = 0.95
MOST_CORRELATIONS = 12
CHUNK = 4096


class Report(Findings):
    """What a check found, as text, JSON or a page (see `Findings` for its fields)."""

    def to_json(self) -> str:
        """JSON text of all but the pictures; what is not a number is null."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "data"}
        content["labels"] = [asdict(label) for label in self.labels]
        content["correlations"] = [asdict(correlation) for correlation in self.correlations]
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)

    def to_text(self) -> str:
        """Text for a terminal."""
        return text_of_report(self)

    def to_html(self) -> str:
        """A page that stands alone, with pictures."""
        return page_of_report(self)


def check(data: Dataset) -> Report:
    """Look a data set over.

    Args:
        data: what a reader gave.

    Returns:
        The report; its `problems` are empty if there is no reason not to train.
    """
    same, blank = identical_inputs(data)
    labels = tuple(summary(data, column, label) for column, label in enumerate(data.space))
    correlations, compared = correlated(data.labels, data.space)
    notes = list(data.notes)
    if compared < len(data):
        notes.append(f"correlations: all pairs of labels were compared over {compared:,} rows, the strongest over all rows")
    problems = [
        *problems_of_splits(data),
        *(problem for column, label in enumerate(labels) for problem in problems_of_label(data, column, label)),
        *problems_of_duplicates(data, same),
    ]
    warnings = [
        *data.warnings,
        *(warning for label in labels for warning in warnings_of_label(data, label)),
        *(
            f"{pair.first} and {pair.second} nearly say the same: their correlation is {pair.coefficient:.2f}"
            for pair in correlations
            if abs(pair.coefficient) >= NEARLY_THE_SAME
        ),
    ]
    if same:
        warnings.append(f"rows share their inputs with others ({sum(map(len, same))}): {first_few(groups_as_text(data, same))}")
    if len(blank):
        what = "images of one colour" if data.inputs.ndim == 4 else "vectors of one number"
        warnings.append(f"{what} ({len(blank)}): {first_few(data.ids[blank].tolist())}")
    labelled = ~np.isnan(data.labels).all(axis=1)
    return Report(
        name=data.name,
        rows=len(data),
        input_shape=data.input_shape,
        splits={split: len(data.splits[split]) for split in SPLITS},
        labelled={split: int(labelled[data.splits[split]].sum()) for split in SPLITS},
        groups=None if data.groups is None else len(np.unique(data.groups)),
        labels=labels,
        correlations=correlations[:MOST_CORRELATIONS],
        duplicates=tuple(tuple(data.ids[rows].tolist()) for rows in same),
        problems=tuple(problems),
        warnings=tuple(warnings),
        notes=tuple(notes),
        data=data,
    )


def summary(data: Dataset, column: int, label: Label) -> LabelSummary:
    """What is observed of one label."""
    entries = data.labels[:, column].astype(np.float64)
    trained = entries[data.splits["train"]]
    trained = trained[~np.isnan(trained)]
    counts: dict[str, float] = {}
    if isinstance(label, Binary):
        counts = {str(label.values[0]): float((1 - trained).sum()), str(label.values[1]): float(trained.sum())}
    elif isinstance(label, Categorical):
        found = np.bincount(trained.astype(int), minlength=len(label.values))
        if label.name in data.soft:
            found = np.nansum(data.soft[label.name][data.splits["train"]], axis=0, dtype=np.float64)
        counts = {str(value): float(count) for value, count in zip(label.values, found, strict=True)}
    numbers = None
    if isinstance(label, Continuous) and len(trained):
        numbers = (float(trained.min()), float(trained.mean()), float(trained.std()), float(trained.max()))
    return LabelSummary(
        name=label.name,
        kind=label.kind,
        observed={split: int((~np.isnan(entries[data.splits[split]])).sum()) for split in SPLITS},
        missing=float(np.isnan(entries).mean()),
        counts=counts,
        numbers=numbers,
    )


def identical_inputs(data: Dataset) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows whose inputs are the same, by the group; and rows whose inputs are one number throughout."""
    first_of: dict[bytes, int] = {}
    rows_of: dict[int, list[int]] = {}
    blank = []
    for start in range(0, len(data), CHUNK):
        part = np.ascontiguousarray(data.inputs[start : start + CHUNK]).reshape(min(CHUNK, len(data) - start), -1)
        for row, values in enumerate(part, start):
            first = first_of.setdefault(hashlib.blake2b(values.data, digest_size=16).digest(), row)
            if first != row:
                rows_of.setdefault(first, [first]).append(row)
        if part.shape[1] > 1:
            blank.append(start + np.flatnonzero(part.min(axis=1) == part.max(axis=1)))
    return [np.array(rows) for _, rows in sorted(rows_of.items())], np.concatenate([np.array([], dtype=int), *blank])


def problems_of_splits(data: Dataset) -> list[str]:
    """Splits that nothing can be learned from."""
    return [] if len(data.splits["train"]) else ["there is no row to train on"]


def problems_of_label(data: Dataset, column: int, label: LabelSummary) -> list[str]:
    """What keeps a label from being learned."""
    if not label.observed["train"]:
        return [f"label {label.name!r} is observed in no training row"]
    if label.numbers is not None:
        return [f"label {label.name!r} is constant in training"] if label.numbers[0] == label.numbers[3] else []
    absent = [value for value, count in label.counts.items() if count == 0]
    if len(label.counts) - len(absent) < 2:
        return [f"label {label.name!r} is constant in training"]
    seen = values_of(data, column, slice(None)) & {*absent} if absent else set()
    if seen:
        others = [split for split in SPLITS[1:] if values_of(data, column, data.splits[split]) & seen]
        return [
            f"label {label.name!r}: {first_few(sorted(seen))} in {' and '.join(others) or 'other rows'}, but never in training"
        ]
    return []


def values_of(data: Dataset, column: int, rows: np.ndarray | slice) -> set[str]:
    """Values that a label has in some rows, as text."""
    entries = np.unique(data.labels[rows, column])
    return {str(data.space.labels[column].decode(entry)) for entry in entries[~np.isnan(entries)].tolist()}


def problems_of_duplicates(data: Dataset, same: Sequence[np.ndarray]) -> list[str]:
    """Identical images in several splits, and identical images with labels that contradict each other.

    Of vectors, which may well coincide, neither is a problem.
    """
    if data.inputs.ndim == 2:
        return []
    split_of = splits_by_row(data)
    leaks = [rows for rows in same if len({split_of[row] for row in rows.tolist()} - {""}) > 1]
    contradictions = []
    for rows in same:
        entries = data.labels[rows]
        known = entries[:, ~np.isnan(entries).all(axis=0)]
        if known.size and (np.nanmax(known, axis=0) != np.nanmin(known, axis=0)).any():
            contradictions.append(rows)
    problems = []
    if leaks:
        problems.append(f"identical images are in several splits ({len(leaks)}): {first_few(groups_as_text(data, leaks))}")
    if contradictions:
        problems.append(
            f"identical images have labels that contradict each other ({len(contradictions)}): "
            f"{first_few(groups_as_text(data, contradictions))}"
        )
    return problems


def warnings_of_label(data: Dataset, label: LabelSummary) -> list[str]:
    """What makes a label hard to learn or to judge."""
    few = [f"{value} ({count:g})" for value, count in label.counts.items() if 0 < count < FEW_EXAMPLES]
    found = [f"label {label.name!r} has few training rows of {first_few(few)}"] if few else []
    unseen = [split for split in SPLITS[1:] if len(data.splits[split]) and not label.observed[split]]
    return found + (
        [f"label {label.name!r} cannot be judged in {' and '.join(unseen)}, where it is never observed"] if unseen else []
    )


def splits_by_row(data: Dataset) -> list[str]:
    """The split of every row, empty for a row in none."""
    return [str(split) for split in data.split_table()["split"]]


def groups_as_text(data: Dataset, groups: Sequence[np.ndarray]) -> list[str]:
    """Groups of rows with their splits, for people."""
    split_of = splits_by_row(data)
    return [
        " = ".join(f"{data.ids[row]} ({split_of[row] or 'no split'})" for row in rows[:3].tolist())
        + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
        for rows in groups[:6]
    ] + [""] * max(len(groups) - 6, 0)
