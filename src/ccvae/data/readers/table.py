"""Tables whose rows are the inputs: vectors from columns of numbers and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.findings import Delimiter
from ccvae.data.input_codes import codes_in_inputs, divided, rules_of, used_codes
from ccvae.data.missing_values import MissingValues
from ccvae.data.origin import recorded
from ccvae.data.parsing import check_named, choose_columns, parse_labels
from ccvae.data.row_names import counters, is_named_like_id, note_on_ids
from ccvae.data.splits import groups_from, splits_from
from ccvae.data.stratification import memberships
from ccvae.data.tables.files import TableSource, read_table
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few, is_missing, text_of
from ccvae.model.inputs.column_kinds import Category
from ccvae.model.inputs.columns import InputColumns, Missing, encoded, fit_columns
from ccvae.model.inputs.missing_cells import cells_by_name

__all__ = ["table"]


@recorded
def table(
    source: TableSource,
    labels: Sequence[str],
    *,
    inputs: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    input_kinds: Mapping[str, str] | None = None,
    missing: Missing = "refuse",
    columns: InputColumns | None = None,
    id_column: str | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    missing_values: MissingValues = None,
    delimiter: Delimiter = None,
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    group_column: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """Rows of a table as vectors, with labels among its columns; an empty label means *not observed*.

    Numbers and dates (in days) are standardised by the mean and scale of the training rows; a category becomes one feature for
    each value.

    Args:
        source: CSV or Parquet file, or a table (see `ccvae.data.tables.files`).
        labels: label columns.
        inputs: input columns. If not given, all that are not used otherwise; free text, empty columns, the index, and a column
            without a name that counts the rows are then left out.
        exclude: columns that are no inputs.
        input_kinds: "number", "category" or "date" by input column, for those not to be guessed (see `InputColumns.fit`).
        missing: "refuse" missing inputs, or put the column's "mean" in their place.
        columns: input columns that are known, such as those of a trained model's data; nothing is fitted then.
        id_column: column that names the rows. If not given, the index of a table in memory, where it has a name or texts; else
            their numbers.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed (see `LabelSpace.infer`).
        space: labels that are known; nothing is guessed or fitted then.
        missing_values: values that mean *not observed* in labels, and missing in inputs, such as -999 or "?": for all columns,
            besides empty cells and words such as "NA" (of numbers, inputs take those that stand apart from their others); or by
            column, exactly those besides empty cells. The rules of inputs are kept in `columns`, for new rows.
        delimiter: what separates findings in a label's cells (see `ccvae.data.image_folder`).
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of rows to validate on.
        test: number (int) or fraction (float) of rows to test on.
        group_column: column of groups, such as patients, that stay whole in one split.
        split_column: column that says train, validation or test, instead of a random split stratified by labels.
        seed: random seed of the splits and of which labels are hidden.
        name: what reports call the data; the file's name if not given.

    Returns:
        Vectors, with `columns` to encode new rows in the same way.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: inputs are missing or no numbers, ids repeat, labels are unknown, constant or never observed, …
    """
    content, file = read_table(source)
    labels, exclude = as_list(labels), as_list(exclude)
    index = [name for name in content.attrs.get("index", []) if name not in labels]
    inputs = None if inputs is None else as_list(inputs)
    if not labels:
        raise ValueError(f"{file}: say which columns are labels; its columns are {', '.join(map(str, content.columns))}")
    if id_column is None and len(index) == 1 and names_rows(content[index[0]]):
        [id_column] = index
    reserved = (id_column, group_column, split_column)
    of_labels, of_inputs = divided(missing_values, content, labels, file)
    used = used_codes(content, of_inputs)
    chosen = choose_columns(content, labels, reserved, file, delimiter=delimiter, missing_values=of_labels, used=used)
    parsed = parse_labels(chosen.table, file, kinds=kinds, space=space, exact=chosen.exact)
    groups = groups_from(content, group_column, file)
    strata = memberships(parsed.array, parsed.space)
    splits = splits_from(content, split_column, groups, file, validation=validation, test=test, seed=seed, strata=strata)
    notes, cells_of = list(chosen.notes), cells_by_name(content)
    if columns is None:
        taken = {*reserved, *chosen.sources, *exclude}
        check_named([*exclude, *(inputs or [])], [*map(str, content.columns)], file)
        counting = [name for name in counters(content) if name not in taken]
        unnamed = {*taken, *index, *counting}
        names = inputs if inputs is not None else [str(column) for column in content.columns if column not in unnamed]
        if counting and inputs is None:
            notes.append(f"column {first_few([repr(name) for name in counting])} counts the rows, and is no input")
        both = [repr(name) for name in names if name in taken]
        if both:
            raise ValueError(
                f"{file}: column {first_few(both)} cannot be an input: it is a label, or names rows, groups or splits"
            )
        if not names:
            raise ValueError(
                f"{file}: no column is left for the inputs; its columns are {', '.join(map(str, content.columns))}"
            )
        rules, on_codes = rules_of(of_inputs, content[names], file)
        columns, left_out = fit_columns(
            content[names],
            missing,
            input_kinds,
            file,
            rows=splits["train"],
            drop_unusable=inputs is None,
            rules=rules,
            cells_of=cells_of,
        )
        notes += [*on_codes, *left_out]
    elif isinstance(of_inputs, Mapping):
        rules, _ = rules_of(of_inputs, content[[name for name in columns.names if name in content]], file)
        columns = columns.with_rules(rules)
    warnings, of_codes = codes_in_inputs(content, columns, cells_of)
    if inputs is None:
        warnings += [note_on_ids(name, "input") for name in columns.names if is_named_like_id(name)]
    notes += of_codes
    constant = [column.name for column in columns.columns if not isinstance(column, Category) and column.constant]
    if constant:
        notes.append(f"inputs that are constant in training: {first_few(constant)}")
    holes = int(sum(column.rule.of(cells_of(column.name)).sum() for column in columns.columns if column.name in content))
    if holes:
        notes.append(f"{holes} missing inputs, given their column's mean")
    return assemble(
        encoded(columns, content, file, cells_of),
        parsed,
        ids_of(content, id_column, file),
        splits,
        name=name or file.split(".")[0],
        source=file,
        fit_priors=space is None,
        labelled=labelled,
        seed=seed,
        groups=groups,
        columns=columns,
        notes=notes,
        warnings=(*chosen.warnings, *warnings),
    )


def as_list(names: Sequence[Any] | str) -> list[str]:
    """One name or several as a list."""
    return [names] if isinstance(names, str) else [str(name) for name in names]


def names_rows(column: pd.Series[Any]) -> bool:
    """Whether the cells of a column can name its rows: none is missing, and all differ."""
    texts = [text_of(cell) for cell in column.tolist() if not is_missing(cell)]
    return len(texts) == len(column) == len(set(texts))


def ids_of(content: pd.DataFrame, column: str | None, source: str) -> list[str]:
    """Ids of a table's rows: those of a column, or the rows' numbers."""
    if column is None:
        return [str(row) for row in range(len(content))]
    missing = [f"{content.index.name} {index}" for index, cell in content[column].items() if is_missing(cell)]
    if missing:
        raise ValueError(f"{source}, column {column!r}: ids are missing: {first_few(missing)}")
    return [text_of(cell) for cell in content[column].tolist()]
