"""Categorical labels given as probabilities, such as of annotators who disagree: columns LABEL=VALUE of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ccvae.labels import Categorical, LabelSpace
from ccvae.labels.cells import Value, as_value, first_few, is_missing, number_of, position_of

__all__ = ["check_soft", "columns_of", "drawn_classes", "fitted_priors", "separated"]

LARGEST_ERROR = 0.01  # of a sum of probabilities, which are often written with two digits


def columns_of(label: str, columns: Iterable[str]) -> list[str]:
    """Columns that give a label's probabilities: `digit=0`, `digit=1`, … for a label `digit`."""
    return [column for column in columns if column.startswith(f"{label}=") and column != f"{label}="]


def separated(
    table: pd.DataFrame, space: LabelSpace | None, source: str
) -> tuple[pd.DataFrame, dict[str, Categorical], dict[str, np.ndarray]]:
    """A table of labels with one column for those given as probabilities: the most probable value.

    Args:
        table: columns of labels; two or more named `LABEL=VALUE` belong together.
        space: the labels as they are known already, or None.
        source: what error messages call the table.

    Returns:
        The table; and the labels that were given so, without priors, and their probabilities, float32 `(rows, values)`, NaN in
        rows where all are missing.

    Raises:
        ValueError: a row's probabilities are no numbers from 0 to 1 that sum to 1, or some are missing.
    """
    names = [str(column) for column in table.columns]
    parts = {label: columns_of(label, names) for label in dict.fromkeys(n.partition("=")[0] for n in names if "=" in n)}
    labels: dict[str, Categorical] = {}
    soft: dict[str, np.ndarray] = {}
    content = table
    for name, columns in parts.items():
        if not name or len(columns) < 2 or name in names:
            continue
        values = tuple(as_value(column.removeprefix(f"{name}=")) for column in columns)
        known = None if space is None else space[name]
        labels[name] = known if isinstance(known, Categorical) else Categorical(name, values)
        order = order_of(labels[name].values, values, name, source)
        soft[name] = probabilities(table[[columns[position] for position in order]], source)
        modes = [None if np.isnan(row[0]) else labels[name].values[int(row.argmax())] for row in soft[name]]
        content = content.assign(**{columns[0]: pd.Series(modes, index=table.index, dtype=object)})
        content = content.rename(columns={columns[0]: name}).drop(columns=columns[1:])
    return content, labels, soft


def order_of(wanted: tuple[Value, ...], found: tuple[Value, ...], name: str, source: str) -> list[int]:
    """Positions of the values that a label has among those that columns are named for; raises `ValueError` if they differ."""
    positions = [position_of(value, found) for value in wanted]
    order = [position for position in positions if position is not None]
    if len(order) != len(positions) or len(found) != len(order):
        raise ValueError(
            f"{source}: label {name!r} has the values {', '.join(map(str, wanted))}, but its columns are named for "
            f"{', '.join(map(str, found))}"
        )
    return order


def probabilities(table: pd.DataFrame, source: str) -> np.ndarray:
    """Columns of probabilities as float32, NaN in rows without any.

    Raises:
        ValueError: see `separated`.
    """
    rows, offenders = [], []
    for index, cells in zip(table.index, table.to_numpy(dtype=object).tolist(), strict=True):
        numbers = [np.nan if is_missing(cell) else number_of(cell) for cell in cells]
        row = np.array([np.inf if number is None else number for number in numbers], dtype=np.float64)
        whole = bool((row >= 0).all()) and abs(row.sum() - 1) <= LARGEST_ERROR
        if not whole and not np.isnan(row).all():
            offenders.append(f"{table.index.name or 'row'} {index}: {', '.join(map(str, cells[:12]))}")
        rows.append(row / row.sum() if whole else np.full(len(row), np.nan))
    if offenders:
        raise ValueError(
            f"{source}: columns {first_few([str(column) for column in table.columns])} are taken for the probabilities of one "
            f"label, all from 0 to 1 with the sum 1; {first_few(offenders)}. Name separate labels without '='"
        )
    return np.array(rows, dtype=np.float32).reshape(len(table), len(table.columns))


def check_soft(soft: Mapping[str, np.ndarray], space: LabelSpace, rows: int) -> None:
    """Raise `ValueError` unless arrays hold probabilities of categorical labels, or NaN, in every row."""
    for name, array in soft.items():
        label = space[name]
        if not isinstance(label, Categorical) or array.shape != (rows, len(label.values)):
            raise ValueError(f"probabilities of {name!r} must be those of a categorical label, (rows, values): {array.shape}")
        sums = array.sum(axis=1)
        wrong = np.flatnonzero(~np.isnan(sums) & ~((array >= 0).all(axis=1) & (np.abs(sums - 1) <= LARGEST_ERROR)))
        if len(wrong):
            raise ValueError(f"probabilities of {name!r} must sum to 1; wrong in {first_few([f'row {row}' for row in wrong])}")


def fitted_priors(space: LabelSpace, labels: np.ndarray, soft: Mapping[str, np.ndarray]) -> LabelSpace:
    """A space with priors fitted to rows of labels and, where there are some, probabilities (see `LabelSpace.with_priors`)."""
    fitted = []
    for label in space.with_priors(labels):
        if label.name in soft and isinstance(label, Categorical):
            counts = np.nansum(soft[label.name], axis=0, dtype=np.float64) + 1
            label = replace(label, prior=tuple(float(share) for share in counts / counts.sum()))
        fitted.append(label)
    return LabelSpace(tuple(fitted))


def drawn_classes(probabilities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A class for every row, drawn by its probabilities `(rows, classes)`; any in a row of NaN."""
    reached = probabilities.cumsum(axis=1)
    level = generator.random((len(probabilities), 1)) * reached[:, -1:]
    return np.asarray((level >= reached).sum(axis=1).clip(max=probabilities.shape[1] - 1))
