"""What means *not observed* in a table: values that the user names, and values that look like codes for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels import Continuous, LabelSpace
from ccvae.labels.cells import MISSING_TEXTS, first_few, number_of, text_of

__all__ = ["MissingValues", "emptied", "is_unlabelled", "listed", "means_missing", "suspicious_values"]

MissingValues = str | int | float | Sequence[Any] | Mapping[str, Any] | None
"""Cells that mean *not observed*: values for all labels, or by label."""

WORDS = frozenset({
    "?", "??", ".", "-", "--", "---", "n/a", "na", "n.a.", "n.a", "none", "null", "nil", "nan", "nd", "n/d", "unk", "unkn",
    "unknown", "unlabeled", "unlabelled", "unlabel", "nolabel", "notlabeled", "notlabelled", "unannotated", "notannotated",
    "unassigned", "unset", "undefined", "undetermined", "unspecified", "notspecified", "notavailable", "notapplicable",
    "notrecorded", "notobserved", "notknown", "notsure", "unsure", "unclear", "uncertain", "undecided", "unsupervised",
    "missing", "missingvalue", "blank", "empty", "nodata", "novalue", "tbd", "todo", "cannottell", "can'ttell", "don'tknow",
    "dontknow", "dk", "noanswer", "noresponse", "refused",
})  # fmt: skip
"""Texts, in lower case and without blanks, that often stand for a label that is not known."""

NEGATIVE_CODES = frozenset({-1, -2, -3, -7, -8, -9, -88, -99, -888, -998, -999, -9998, -9999, -99999, -32768, -2147483648})
POSITIVE_CODES = frozenset({9, 99, 999, 9999, 99999, 999999, 255, 32767, 65535, 2147483647})
FEWEST_REPEATS = 2
DELIMITERS = "|;,"


def emptied(table: pd.DataFrame, missing_values: MissingValues, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table of labels in which cells that mean *not observed* are None; and notes.

    Args:
        table: one column a label.
        missing_values: a value or values that mean *not observed* for all labels, besides empty cells and words such as "NA";
            or, by label, exactly those that do besides empty cells. Numbers are compared as numbers, texts without regard to
            case.
        source: what error messages call the table.

    Raises:
        ValueError: a named label is not a column.
    """
    if missing_values is None:
        return table, ()
    columns = [str(column) for column in table.columns]
    if isinstance(missing_values, Mapping):
        unknown = [repr(name) for name in missing_values if name not in columns]
        if unknown:
            raise ValueError(
                f"{source}: missing_values names no label {first_few(unknown)}; the labels are {', '.join(columns)}"
            )
        wanted = {name: listed(values) for name, values in missing_values.items()}
    else:
        wanted = dict.fromkeys(columns, listed(missing_values))
    content, notes, used = table.copy(), [], set[str]()
    for position, column in enumerate(columns):
        if not wanted.get(column):
            continue
        cells = table.iloc[:, position].tolist()
        texts = [text_of(cell) if isinstance(cell, Hashable) else None for cell in cells]
        meaning = {
            text: [str(value) for value in wanted[column] if means_missing(text, [value])]
            for text in {text for text in texts if text is not None}
        }
        matched = [bool(text is not None and meaning[text]) for text in texts]
        used.update(value for values in meaning.values() for value in values)
        fresh = [None if found else cell for cell, found in zip(cells, matched, strict=True)]
        content[table.columns[position]] = pd.Series(fresh, index=table.index, dtype=object)
        if any(matched):
            shown = ", ".join(map(str, wanted[column]))
            notes.append(f"label {column!r}: {sum(matched)} cells are taken as not observed ({shown})")
    unused = sorted({str(value) for values in wanted.values() for value in values} - used)
    if unused:
        notes.append(f"missing_values: no cell holds {', '.join(unused)}")
    return content, tuple(notes)


def is_unlabelled(name: str) -> bool:
    """Whether the name of a folder or split says that what it contains has no labels."""
    return "".join(name.casefold().replace("_", "").replace("-", "").split()) in WORDS


def listed(values: Any) -> list[Any]:
    """One value or several as a list."""
    if values is None:
        return []
    return [values] if isinstance(values, str | int | float) else list(values)


def means_missing(cell: Any, values: Iterable[Any]) -> bool:
    """Whether a cell is one of the values that mean *not observed*."""
    text, number = text_of(cell), number_of(cell)
    return any(
        text.casefold() == text_of(value).casefold() or (number is not None and number == number_of(value)) for value in values
    )


def suspicious_values(table: pd.DataFrame, space: LabelSpace, exact: Iterable[str] = ()) -> tuple[str, ...]:
    """Warnings about values that may be codes for *not observed*, one value in several spellings, or several in one.

    Args:
        table: cells of the labels, one column each, in the order of the space.
        space: the labels as they were read.
        exact: labels whose missing values the user named by label: words in them are values.
    """
    warnings: list[str] = []
    for position, label in enumerate(space):
        counts = Counter(cell for cell in table.iloc[:, position].tolist() if isinstance(cell, Hashable))
        if isinstance(label, Continuous):
            warnings += codes_among_numbers(label.name, counts)
            continue
        values = [text_of(value) for value in label.values]
        codes = [value for value in values if "".join(value.casefold().split()) in WORDS] + codes_among(values)
        if codes:
            warnings.append(
                f"label {label.name!r}: the value {first_few([repr(code) for code in codes])} looks like a code for not "
                f"observed, but is read as a class; if it is one, pass missing_values={missing_advice(codes)}"
            )
        warnings += spellings(label.name, values) + several_in_one(label.name, values)
        words = Counter(cell.strip() for cell in counts.elements() if isinstance(cell, str) and cell.strip() in MISSING_TEXTS)
        words.pop("", None)
        if words and label.name not in exact and not all(number_of(value) is not None for value in values):
            shown = first_few([f"{count} say {word!r}" for word, count in words.items()])
            warnings.append(
                f"label {label.name!r}: cells that are words are read as not observed ({shown}); if that is a value, pass "
                f"missing_values={{{label.name!r}: []}}"
            )
    return tuple(warnings)


def missing_advice(codes: Sequence[str]) -> str:
    """The argument that makes codes missing, as Python."""
    return repr([int(code) if code.removeprefix("-").isdigit() else code for code in codes])


def codes_among(values: Sequence[str]) -> list[str]:
    """Classes that are numbers and look like codes for missing beside the others: -1 beside 0 and 1, or 99 beside 1 to 5."""
    numbers = {value: number for value in values if (number := number_of(value)) is not None}
    return [
        value
        for value, number in numbers.items()
        if len(values) > 2 and is_code(number, [other for name, other in numbers.items() if name != value])
    ]


def is_code(number: float, others: Sequence[float]) -> bool:
    """Whether a number is a usual code for missing, and far from all others."""
    usual = [other for other in others if other not in NEGATIVE_CODES]
    negative = [value for value in (number, *others) if value < 0]
    if len(negative) > 1 and all(-value in others for value in negative):  # a scale such as -2 to 2
        return False
    if number in NEGATIVE_CODES:
        return not usual or min(usual) >= 0 or number < min(usual) - (max(usual) - min(usual))
    return number in POSITIVE_CODES and bool(usual) and number > 2 * max(usual) - min(min(usual), 0)


def codes_among_numbers(name: str, counts: Counter[Any]) -> list[str]:
    """A warning about numbers that repeat and look like codes for missing beside all others."""
    numbers = Counter[float]()
    for cell, count in counts.items():
        number = number_of(cell)
        if number is not None and np.isfinite(number):
            numbers[number] += count
    found = [
        number
        for number, count in numbers.items()
        if count >= FEWEST_REPEATS and is_code(number, [other for other in numbers if other != number])
    ]
    if not found:
        return []
    shown = first_few([f"{number:g} in {numbers[number]} cells" for number in found])
    advice = [int(number) for number in found]
    return [
        f"label {name!r}: {shown} looks like a code for not observed, but is read as a number; if it is one, pass "
        f"missing_values={advice}"
    ]


def spellings(name: str, values: Sequence[str]) -> list[str]:
    """A warning about values that differ by case or blanks only."""
    variants: dict[str, list[str]] = {}
    for value in values:
        variants.setdefault("".join(value.casefold().replace("_", " ").split()), []).append(value)
    same = [" and ".join(map(repr, spelled)) for spelled in variants.values() if len(spelled) > 1]
    return [f"label {name!r}: values differ by case or blanks only: {first_few(same)}; write them as one"] if same else []


def several_in_one(name: str, values: Sequence[str]) -> list[str]:
    """A warning about values such as "cat|dog" whose parts are values too."""
    for delimiter in DELIMITERS:
        joined = [value for value in values if delimiter in value]
        parts = {part.strip() for value in joined for part in value.split(delimiter)}
        single = set(values) - set(joined)
        if joined and "" not in parts and (parts & single or len(parts) < len(joined)):
            return [
                f"label {name!r}: values such as {joined[0]!r} look like several in one cell; pass delimiter={delimiter!r} for "
                f"one binary label for each"
            ]
    return []
