"""What means missing in the input columns of a table: codes that the user names, and cells that look like such codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccvae.data.missing_values import (
    MissingValues,
    codes_among_classes,
    codes_in_numbers,
    is_word_for_missing,
    listed,
    missing_advice,
    words_read_as_missing,
)
from ccvae.labels.cells import first_few, is_empty, means_missing, number_of, text_of
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.column_kinds import Category, Number
from ccvae.model.inputs.columns import InputColumns
from ccvae.model.inputs.missing_cells import Cells, MissingRule, numbers_of

__all__ = ["codes_in_inputs", "divided", "rules_of", "used_codes"]

MOST_WARNINGS = 5
"""Inputs that have a warning each; of more, there is one for all."""


def divided(
    missing_values: MissingValues, table: pd.DataFrame, labels: Sequence[str], source: str
) -> tuple[MissingValues, MissingValues]:
    """Missing values of labels, and of inputs: both have those for all columns, and their own of those by column.

    Raises:
        ValueError: they name a column that does not exist.
    """
    if not isinstance(missing_values, Mapping):
        return missing_values, missing_values
    columns = [str(column) for column in table.columns]
    absent = [f"{name!r}{did_you_mean(name, columns)}" for name in missing_values if name not in columns]
    if absent:
        raise ValueError(f"{source}: missing_values names no column {first_few(absent)}; its columns are {', '.join(columns)}")
    of_label = {name for name in missing_values if name in labels or any(str(name).startswith(f"{each}=") for each in labels)}
    return (
        {name: values for name, values in missing_values.items() if name in of_label} or None,
        {name: values for name, values in missing_values.items() if name not in of_label},
    )


def rules_of(missing_values: MissingValues, table: pd.DataFrame, source: str) -> tuple[dict[str, MissingRule], list[str]]:
    """Which cells of inputs are missing, by column, where the user says so; and notes.

    Values for all columns are mostly meant for labels: of their numbers, an input takes those that stand apart from its others.

    Args:
        missing_values: of inputs, as `divided` gives them.
        table: the inputs.
        source: what error messages call the table.

    Raises:
        ValueError: a named column is neither a label nor an input.
    """
    inputs = [str(column) for column in table.columns]
    if isinstance(missing_values, Mapping):
        others = [repr(name) for name in missing_values if name not in inputs]
        if others:
            raise ValueError(f"{source}: missing_values names {first_few(others)}, which is neither a label nor an input")
        return {
            str(name): MissingRule(tuple(map(as_plain, listed(codes))), False) for name, codes in missing_values.items()
        }, []
    codes = list(map(as_plain, listed(missing_values)))
    rules, notes = {}, []
    for name in inputs if codes else []:
        numbers = set(numbers_of(table[name].tolist()).tolist())
        read = {code: number_of(code) for code in codes}
        present = {code: number for code, number in read.items() if number is not None and number in numbers}
        kept = [code for code in present if not stands_apart(present[code], numbers - {*present.values()})]
        if kept:
            notes.append(
                f"input {name!r}: {', '.join(map(str, kept))} lies among its other numbers and is read as one; if it means "
                f"missing here too, name it by column: missing_values={{{name!r}: {kept}, …}}"
            )
        rules[name] = MissingRule(tuple(code for code in codes if code not in kept))
    return rules, notes


def stands_apart(number: float, others: Iterable[float]) -> bool:
    """Whether a number is far from all others, as a code for missing is.

    >>> stands_apart(-1, [0, 1]), stands_apart(-1, [0, 2]), stands_apart(-200, [-5.5, 40]), stands_apart(9, range(9))
    (False, True, True, False)
    """
    usual = [other for other in others if np.isfinite(other)]
    if not usual:
        return True
    if number < 0:  # a scale such as -2 to 2 has no codes
        return -number not in usual and (min(usual) >= 0 or number < min(usual) - (max(usual) - min(usual)))
    return number > 2 * max(usual) - min(min(usual), 0)


def as_plain(value: Any) -> str | int | float:
    """A value as JSON has it."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, str | int | float) else text_of(plain)


def used_codes(table: pd.DataFrame, missing_values: MissingValues) -> set[str]:
    """Which values for all columns a table holds, as text; empty where values are given by column."""
    if missing_values is None or isinstance(missing_values, Mapping):
        return set()
    codes = listed(missing_values)
    return {
        str(code)
        for code in codes
        if any(MissingRule((as_plain(code),), False).of(table.iloc[:, place].tolist()).any() for place in range(table.shape[1]))
    }


def codes_in_inputs(
    table: pd.DataFrame, columns: InputColumns, cells_of: Callable[[str], Cells]
) -> tuple[list[str], list[str]]:
    """Warnings about inputs that look like codes for missing, or were words that mean missing; and notes on codes found.

    Args:
        table: the table.
        columns: its input columns.
        cells_of: gives the cells of a column.
    """
    notes, read_as_missing = [], []
    suspicious: dict[str, tuple[str, str, list[Any]]] = {}
    for column in columns.columns:
        if column.name not in table:
            continue
        cells = cells_of(column.name)
        missing = column.rule.of(cells)
        named = sum(means_missing(cells[row], column.rule.values) for row in np.flatnonzero(missing).tolist())
        if named:
            notes.append(
                f"input {column.name!r}: {named} cells are taken as missing ({', '.join(map(str, column.rule.values))})"
            )
        if isinstance(column, Number):
            shown, codes = codes_in_numbers(np.where(missing, np.nan, numbers_of(cells)))
            suspicious[column.name] = (shown, "a number", codes)
        elif isinstance(column, Category):
            values = column.values
            words = [value for value in values if is_word_for_missing(value, values)] + codes_among_classes(values)
            suspicious[column.name] = (first_few(list(map(repr, words))), "a category", words)
            if column.rule.words:
                read_as_missing += words_read_as_missing(column.name, words_of(cells), "input")
    found = {name: each for name, each in suspicious.items() if each[0]}
    warnings = [
        f"input {name!r}: {shown} looks like a code for a missing input, but is read as {read}; if it is one, pass "
        f"missing_values={{{name!r}: {missing_advice(codes)}}}"
        for name, (shown, read, codes) in found.items()
    ]
    if len(warnings) > MOST_WARNINGS:
        every = ", ".join(f"{name!r}: {missing_advice(codes)}" for name, (_, _, codes) in found.items())
        shown = first_few([f"{name!r} ({shown})" for name, (shown, _, _) in found.items()])
        warnings = [
            f"{len(found)} inputs have what looks like codes for missing: {shown}; if so, pass missing_values={{{every}}}"
        ]
    more = len(read_as_missing) - MOST_WARNINGS
    return [*warnings, *read_as_missing[:MOST_WARNINGS], *([f"the same of {more} other inputs"] if more > 0 else [])], notes


def words_of(cells: Iterable[Any]) -> Counter[Any]:
    """How often each text occurs."""
    return Counter(cell for cell in cells if isinstance(cell, str) and not is_empty(cell))
