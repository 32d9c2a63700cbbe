"""Tables whose rows are the inputs: vectors from columns of numbers and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ccvae.data.assembly import assemble, chosen_columns, groups_from, splits_from
from ccvae.data.dataset import Dataset
from ccvae.data.tables.columns import InputColumns, Missing, Number, missing_of
from ccvae.data.tables.files import TableSource, read_table
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few, is_missing, text_of

__all__ = ["table"]


def table(
    source: TableSource,
    labels: Sequence[str],
    *,
    inputs: Sequence[str] | None = None,
    input_kinds: Mapping[str, str] | None = None,
    missing: Missing = "refuse",
    columns: InputColumns | None = None,
    id_column: str | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    group_column: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """Rows of a table as vectors, with labels among its columns; an empty label means *not observed*.

    Numbers are standardised by the mean and scale of the training rows; a category becomes one feature a value.

    Args:
        source: CSV or Parquet file, or a table (see `ccvae.data.tables.files`).
        labels: label columns.
        inputs: input columns; if not given, all that are not used otherwise.
        input_kinds: "number" or "category" by input column, for those not to be guessed (see `InputColumns.fit`).
        missing: "refuse" missing inputs, or put the column's "mean" in their place.
        columns: input columns as they are known already, such as those of a trained model's data; nothing is fitted then.
        id_column: column that names the rows; their numbers if not given.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed (see `LabelSpace.infer`).
        space: labels as they are known already; nothing is guessed or fitted then.
        labelled: hide the labels of all training rows but so many, or but such a share.
        validation: how many rows, or which share of them, to validate on.
        test: how many rows, or which share of them, to test on.
        group_column: column of what must not be torn apart by splits, such as patients.
        split_column: column that says train, validation or test, instead of a random split.
        seed: what decides the splits and which labels are hidden.
        name: what reports call the data; the file's name if not given.

    Returns:
        Vectors, with `columns` to encode new rows alike.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: inputs are missing or no numbers, ids repeat, labels are unknown, constant or never observed, …
    """
    content, file = read_table(source)
    labels = [labels] if isinstance(labels, str) else list(labels)
    if not labels:
        raise ValueError(f"{file}: say which columns are labels; its columns are {', '.join(map(str, content.columns))}")
    reserved = (id_column, group_column, split_column)
    chosen = chosen_columns(content, labels, reserved, file)
    used = chosen_columns(content, inputs, (*reserved, *map(str, chosen.columns)), file)
    groups = groups_from(content, group_column, file)
    splits = splits_from(content, split_column, groups, file, validation=validation, test=test, seed=seed)
    notes = []
    if columns is None:
        columns = InputColumns.fit(used, missing, input_kinds, file, rows=splits["train"])
    constant = [column.name for column in columns.columns if isinstance(column, Number) and column.constant]
    if constant:
        notes.append(f"inputs that are constant in training: {first_few(constant)}")
    holes = int(sum(missing_of(content[column.name].tolist()).sum() for column in columns.columns if column.name in content))
    if holes:
        notes.append(f"{holes} missing inputs, given their column's mean")
    return assemble(
        columns.encode(content, file),
        chosen,
        ids_of(content, id_column, file),
        splits,
        name=name or file.split(".")[0],
        source=file,
        kinds=kinds,
        space=space,
        labelled=labelled,
        seed=seed,
        groups=groups,
        columns=columns,
        notes=notes,
    )


def ids_of(content: pd.DataFrame, column: str | None, source: str) -> list[str]:
    """Ids of a table's rows: those of a column, or the rows' numbers."""
    if column is None:
        return [str(row) for row in range(len(content))]
    missing = [f"{content.index.name} {index}" for index, cell in content[column].items() if is_missing(cell)]
    if missing:
        raise ValueError(f"{source}, column {column!r}: ids are missing: {first_few(missing)}")
    return [text_of(cell) for cell in content[column].tolist()]
