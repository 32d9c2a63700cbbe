"""From inputs and a table of labels to a `Dataset`: what all readers end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ccvae.data.dataset import SPLITS, Dataset, split_rows
from ccvae.data.soft_labels import columns_of, fitted_priors, separated
from ccvae.data.tables.columns import InputColumns
from ccvae.labels import Categorical, Label, LabelSpace
from ccvae.labels.cells import first_few, is_missing, text_of

__all__ = ["assemble", "chosen_columns", "groups_from", "splits_from"]

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def assemble(
    inputs: np.ndarray | None,
    table: pd.DataFrame,
    ids: Sequence[str] | np.ndarray,
    splits: Mapping[str, np.ndarray],
    *,
    name: str,
    source: str,
    kinds: Mapping[str, str] | None = None,
    unfitted: LabelSpace | None = None,
    space: LabelSpace | None = None,
    labelled: int | float | None = None,
    seed: int = 0,
    groups: np.ndarray | None = None,
    columns: InputColumns | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """A `Dataset` from inputs and a table of their labels.

    Args:
        inputs: images or vectors (see `Dataset`); None for stand-ins, where the labels are to be checked before long work.
        table: one column a label, one row an input; or several columns, `LABEL=VALUE`, for a categorical label of which
            probabilities are known (unless `unfitted` is given).
        ids: names of the rows.
        splits: rows of every split.
        name: what reports call the data.
        source: what messages call the table.
        kinds: kinds of labels, by column, that are not to be guessed.
        unfitted: the labels with their kinds and values, so that only their priors remain to be fitted.
        space: the labels as they are known already, for example a trained model's; nothing is guessed or fitted then.
        labelled: hide the labels of all training rows but so many (see `Dataset.hide`).
        seed: what decides which labels are hidden.
        groups: what rows belong together.
        columns: how a table's columns became vectors.
        notes: what else the reader found.

    Raises:
        ValueError: labels are unknown, constant, or not observed at all; or the data contradict themselves.
    """
    table, given_soft, soft = separated(table, space, source) if unfitted is None else (table, {}, {})
    if given_soft:
        notes = [*notes, f"labels given as probabilities: {first_few([*given_soft])}"]
    if space is None:
        check_observed(table, source)
        guessed = unfitted or inferred(table, given_soft, kinds, source)
        labels = guessed.encode(table, source)
        guessed.with_priors(labels)  # first on all rows: a label that is constant everywhere is told so
        try:
            train = splits["train"]
            space = fitted_priors(guessed, labels[train], {name: array[train] for name, array in soft.items()})
        except ValueError as error:
            count = len(splits["train"])
            raise ValueError(f"{source}, in the {count} rows to train on: {error}; or choose another seed or split") from None
    else:
        if kinds:
            raise ValueError("kinds and space are both given; the space says the kinds already")
        labels = space.encode(table, source)
    if inputs is None:
        inputs = np.zeros((len(table), 0), dtype=np.float32)
    data = Dataset(
        inputs,
        labels,
        space,
        np.asarray(ids, dtype=str),
        splits,
        name,
        groups=groups,
        soft=soft,
        columns=columns,
        notes=tuple(notes),
    )
    return data if labelled is None else data.hide(labelled, seed)


def inferred(table: pd.DataFrame, known: Mapping[str, Categorical], kinds: Mapping[str, str] | None, source: str) -> LabelSpace:
    """Labels of a table's columns, guessed but for those that are known."""
    others = [column for column in table.columns if column not in known]
    guessed = LabelSpace.infer(table[others], kinds, source) if others or kinds else ()
    labels: dict[str, Label] = {label.name: label for label in guessed} | {**known}
    return LabelSpace(tuple(labels[str(column)] for column in table.columns))


def check_observed(table: pd.DataFrame, source: str) -> None:
    """Raise `ValueError` if a column holds no value at all, naming all such."""
    empty = [str(column) for column in table.columns if all(map(is_missing, table[column].tolist()))]
    if len(empty) == len(table.columns):
        raise ValueError(f"{source}: not one label is observed in any row (columns: {first_few(empty)})")
    if empty:
        raise ValueError(
            f"{source}: label columns without a single observed value: {first_few(empty)}; give them some, or leave them out"
        )


def chosen_columns(
    table: pd.DataFrame, labels: Sequence[str] | None, others: Sequence[str | None], source: str
) -> pd.DataFrame:
    """The label columns of a table: those named (for a label given as probabilities, all of its), or all but the others.

    Raises:
        ValueError: a named column is not there, is one of the others, or none is left.
    """
    taken = {other for other in others if other is not None}
    columns = [str(column) for column in table.columns]
    wanted = [labels] if isinstance(labels, str) else list(labels or [])
    wanted = [each for name in wanted for each in ([] if name in columns else columns_of(name, columns)) or [name]]
    absent = [repr(column) for column in (*wanted, *taken) if column not in columns]
    if absent:
        raise ValueError(f"{source} has no column {first_few(absent)}; its columns are {', '.join(columns)}")
    both = [repr(column) for column in wanted if column in taken]
    if both:
        raise ValueError(f"{source}: column {first_few(both)} cannot be a label, for it names the rows, groups or splits")
    chosen = wanted or [column for column in columns if column not in taken]
    if not chosen:
        raise ValueError(f"{source} has no label columns: its only columns are {', '.join(columns)}")
    if "" in chosen:
        raise ValueError(f"{source}: column {columns.index('') + 1} has no name; name it, or say which columns are labels")
    return table[chosen]


def groups_from(table: pd.DataFrame, column: str | None, source: str) -> np.ndarray | None:
    """Groups of a table's rows as texts, or None without a column.

    Raises:
        ValueError: a row has no group.
    """
    if column is None:
        return None
    cells = table[column].tolist()
    missing = [f"{table.index.name} {table.index[row]}" for row, cell in enumerate(cells) if is_missing(cell)]
    if missing:
        raise ValueError(f"{source}, group column {column!r}: no group in {first_few(missing)}")
    return np.array([text_of(cell) for cell in cells])


def splits_from(
    table: pd.DataFrame,
    column: str | None,
    groups: np.ndarray | None,
    source: str,
    *,
    validation: int | float,
    test: int | float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Splits of a table's rows: those that a column names, or drawn at random with whole groups.

    Where a column names no validation rows, they are drawn from its training rows; where it names no test rows, there are none.

    Raises:
        ValueError: a row's split is unknown, or no row is left to train on.
    """
    if len(table) == 1:
        raise ValueError(f"{source} has one row; that is too few to learn from")
    if column is None:
        return split_rows(len(table), validation, test, seed, groups)
    members: dict[str, list[int]] = {split: [] for split in SPLITS}
    spelled = {spelling: split for split, spellings in SPLIT_NAMES.items() for spelling in spellings}
    offenders = []
    for row, cell in enumerate(table[column].tolist()):
        split = spelled.get(text_of(cell).lower())
        if split is None:
            offenders.append(f"{table.index.name} {table.index[row]} says {cell!r}")
        else:
            members[split].append(row)
    if offenders:
        raise ValueError(f"{source}, split column {column!r}: expected train, validation or test, but {first_few(offenders)}")
    splits = {split: np.array(rows, dtype=np.int64) for split, rows in members.items()}
    train = splits["train"]
    if not len(train):
        raise ValueError(f"{source}, split column {column!r} names no row to train on")
    if len(splits["validation"]) or not validation:
        return splits
    drawn = split_rows(len(train), validation, 0, seed, None if groups is None else groups[train])
    return splits | {split: train[drawn[split]] for split in ("train", "validation")}
