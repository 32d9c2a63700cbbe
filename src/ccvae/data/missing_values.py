"""What means *not observed* in a table: values that the user names, and values that look like codes for it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels import Continuous, LabelSpace
from ccvae.labels.cells import MISSING_TEXTS, first_few, is_empty, is_whole, means_missing, number_of, text_of, texts_only
from ccvae.labels.nearest import did_you_mean

__all__ = [
    "MissingValues",
    "codes_among_classes",
    "codes_by_column",
    "codes_in_numbers",
    "emptied",
    "is_unlabelled",
    "is_word_for_missing",
    "listed",
    "missing_advice",
    "spellings",
    "suspicious_values",
    "words_read_as_missing",
]

MissingValues = str | int | float | Sequence[Any] | Mapping[str, Any] | None
"""Cells that mean *not observed*: values for all columns, or by column. Of inputs, too, where they are columns of a table."""

UNLABELLED = frozenset({
    "unlabeled", "unlabelled", "unlabel", "nolabel", "nolabels", "notlabeled", "notlabelled", "withoutlabel", "withoutlabels",
    "unannotated", "notannotated", "unassigned", "unsupervised", "unsup", "unknown",
})  # fmt: skip
"""Texts, as `plain` gives them, that say of a folder or split that it has no labels."""
OF_IMAGES = re.compile(r"(images?|imgs?|pictures?|photos?|data|set|samples?|examples?|files?|train|pool)+$")
"""What may follow them."""

WORDS = UNLABELLED | frozenset({
    "", "na", "none", "null", "nil", "nan", "nd", "unk", "unkn", "unset", "undefined", "undetermined", "unspecified",
    "notspecified", "notavailable", "notapplicable", "notrecorded", "notobserved", "notknown", "notsure", "unsure", "unclear",
    "uncertain", "undecided", "missing", "missingvalue", "blank", "empty", "nodata", "novalue", "tbd", "todo", "cannottell",
    "canttell", "dontknow", "dk", "noanswer", "noresponse", "refused", "notreported", "notdone", "nottested", "notchecked",
    "indeterminate", "inconclusive", "equivocal", "notdetermined", "notassessed", "unassessed", "withheld",
    "unbekannt", "keineangabe", "inconnu", "inconnue", "nonrenseigne", "desconocido", "desconocida", "desconhecido",
    "sconosciuto", "onbekend", "okand", "ukendt", "ukjent", "tuntematon", "nieznany", "nieznane", "neznamy", "ismeretlen",
    "bilinmiyor", "неизвестно", "未知", "不明", "不详", "알수없음",
    "value", "ref", "div0", "name", "num",
})  # fmt: skip
"""Texts, as `plain` gives them, that often stand for a label that is not known; the last are errors of spreadsheets."""
SPREADSHEET_ERRORS = frozenset({"value", "ref", "div0", "name", "num"})
INFINITIES = frozenset({"inf", "infinity"})

NEGATIVE_CODES = frozenset({
    -1, -2, -3, -4, -5, -6, -7, -8, -9, -77, -88, -99, -100, -777, -888, -997, -998, -999, -1000, -7777, -8888, -9997, -9998,
    -9999, -99999, -999999, -32768, -2147483648,
})  # fmt: skip
POSITIVE_CODES = frozenset({
    9, 77, 88, 97, 98, 99, 777, 888, 997, 998, 999, 7777, 8888, 9997, 9998, 9999, 99999, 999999, 9999999, 255, 32767, 65535,
    2147483647,
})  # fmt: skip
FEWEST_REPEATS = 2
DELIMITERS = "|;,"
JOINERS = ("+", "&", "/", " and ", " ")
"""What joins several values in a cell less often, so that all parts must be values too."""
CODES_OF_INPUTS = [code for code in NEGATIVE_CODES | POSITIVE_CODES if code < 0 or code > 9]
"""Codes that are looked for among inputs, where small numbers such as 9 are usual."""
USUAL_PAIRS = ([-1, 1], [0, 255])
"""Values that a label with two values may well have, though one of them looks like a code."""


def codes_by_column(missing_values: MissingValues, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Values that mean *not observed*, by column."""
    if isinstance(missing_values, Mapping):
        return {str(name): listed(values) for name, values in missing_values.items()}
    return dict.fromkeys(columns, listed(missing_values))


def emptied(
    table: pd.DataFrame, missing_values: MissingValues, source: str, used: Iterable[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table of labels in which cells that mean *not observed* are None; and notes.

    Args:
        table: one column a label.
        missing_values: a value or values that mean *not observed* for all labels, besides empty cells and words such as "NA";
            or, by label, exactly those that do besides empty cells. Numbers are compared as numbers, texts without regard to
            case.
        source: what error messages call the table.
        used: values, as text, that occur in other columns than labels.

    Raises:
        ValueError: a named label is not a column.
    """
    if missing_values is None:
        return table, ()
    columns = [str(column) for column in table.columns]
    if isinstance(missing_values, Mapping):
        unknown = [f"{name!r}{did_you_mean(name, columns)}" for name in missing_values if name not in columns]
        if unknown:
            raise ValueError(
                f"{source}: missing_values names no label {first_few(unknown)}; the labels are {', '.join(columns)}"
            )
    wanted = codes_by_column(missing_values, columns)
    content, notes, seen = table.copy(), [], set(used)
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
        seen.update(value for values in meaning.values() for value in values)
        fresh = [None if found else cell for cell, found in zip(cells, matched, strict=True)]
        content[table.columns[position]] = pd.Series(fresh, index=table.index, dtype=object)
        if any(matched):
            shown = ", ".join(map(text_of, wanted[column]))
            notes.append(f"label {column!r}: {sum(matched)} cells are taken as not observed ({shown})")
    unused = sorted({str(value) for values in wanted.values() for value in values} - seen)
    if unused:
        notes.append(f"missing_values: no cell holds {', '.join(unused)}")
    return content, tuple(notes)


def is_unlabelled(name: str) -> bool:
    """Whether the name of a folder or split says that what it contains has no labels.

    >>> is_unlabelled("unlabeled"), is_unlabelled("Unlabelled_images"), is_unlabelled("empty")
    (True, True, False)
    """
    text = plain(name)
    return text in UNLABELLED or OF_IMAGES.sub("", text) in UNLABELLED


def plain(text: str) -> str:
    """A text in lower case, its letters and digits only, without accents.

    >>> plain("<Not labeled>"), plain("#DIV/0!"), plain("?"), plain("non renseigné")
    ('notlabeled', 'div0', '', 'nonrenseigne')
    """
    bare = "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))
    return "".join(character for character in unicodedata.normalize("NFKC", bare) if character.isalnum())


def listed(values: Any) -> list[Any]:
    """One value or several as a list, without those that mean *not observed* always."""
    several = [values] if values is None or (np.ndim(values) == 0 and not isinstance(values, set | frozenset)) else list(values)
    return [value for value in several if not is_empty(value)]


def suspicious_values(table: pd.DataFrame, space: LabelSpace, exact: Iterable[str] = ()) -> tuple[str, ...]:
    """Warnings about values that may be codes for *not observed*, one value in several spellings, or several in one.

    Args:
        table: cells of the labels, one column each, in the order of the space.
        space: the labels as they were read.
        exact: labels whose missing values the user named by label: words in them are values.
    """
    warnings: list[str] = []
    for position, label in enumerate(space):
        cells = table.iloc[:, position]
        counts = Counter(cells.tolist() if texts_only(cells) else (cell for cell in cells if isinstance(cell, Hashable)))
        if isinstance(label, Continuous):
            for shown, advice in filter(None, [codes_among_numbers(counts)]):
                warnings.append(
                    f"label {label.name!r}: {shown} looks like a code for not observed, but is read as a number; if it is one, "
                    f"pass missing_values={advice}"
                )
            continue
        values = [text_of(value) for value in label.values]
        codes = [value for value in values if is_word_for_missing(value, values)] + codes_among_classes(values)
        if codes:
            several = len(codes) > 1
            warnings.append(
                f"label {label.name!r}: the value{'s' if several else ''} {first_few([repr(code) for code in codes])} "
                f"look{'' if several else 's'} like a code for not observed, but {'are' if several else 'is'} read as a class; "
                f"if {'they are' if several else 'it is one'}, pass missing_values={missing_advice(codes)}"
            )
        warnings += spellings(label.name, values) + several_in_one(label.name, values)
        if label.name not in exact and not all(number_of(value) is not None for value in values):
            warnings += words_read_as_missing(label.name, counts)
    return tuple(warnings)


def words_read_as_missing(name: str, counts: Counter[Any], what: str = "label") -> list[str]:
    """A warning about cells of a label or input that are words, such as "None", and were read as missing."""
    words = Counter[str]()
    for cell, count in counts.items():
        if isinstance(cell, str) and cell.strip() in MISSING_TEXTS:
            words[cell.strip()] += count
    words.pop("", None)
    if not words:
        return []
    shown = first_few([f"{count} say {word!r}" for word, count in words.items()])
    read = "not observed" if what == "label" else "missing"
    return [
        f"{what} {name!r}: cells that are words are read as {read} ({shown}); if that is a value, pass "
        f"missing_values={{{name!r}: []}}"
    ]


def missing_advice(codes: Sequence[str | int]) -> str:
    """The argument that makes codes missing, as Python."""
    return repr([int(code) if is_whole(str(code)) else code for code in codes])


def is_word_for_missing(value: str, values: Sequence[str]) -> bool:
    """Whether a class is a word, or signs, that often stand for a label that is not known."""
    text = plain(value)
    if text in SPREADSHEET_ERRORS:
        return value.startswith("#")
    if text == "" and number_of(value) is None:  # signs only, such as "?" or "-", beside classes that are words
        return any(plain(other) for other in values if other != value)
    if text == "u":  # beside yes and no, or the sexes
        return any({plain(other)[:1] for other in values if other != value} == pair for pair in ({"n", "y"}, {"f", "m"}))
    if value.casefold().replace(" ", "") == "k.a.":  # German
        return True
    if text in INFINITIES:
        return all(number_of(other) is not None for other in values)
    return text in WORDS and number_of(value) is None


def codes_among_classes(values: Sequence[str]) -> list[str]:
    """Classes that are numbers and look like codes for missing beside the others: -1 beside 0 and 1, or 99 beside 1 to 5."""
    numbers = {value: number for value in values if (number := number_of(value)) is not None}
    return [
        value
        for value, number in numbers.items()
        if (len(values) > 2 or sorted(numbers.values()) not in USUAL_PAIRS)
        and is_code(number, np.array([other for name, other in numbers.items() if name != value]))
    ]


def codes_in_numbers(numbers: np.ndarray) -> tuple[str, list[int]]:
    """Numbers among inputs that look like codes for missing: for messages, and as a list; empty if there are none."""
    if not np.isin(numbers, CODES_OF_INPUTS).any():
        return "", []
    return codes_among(*np.unique(numbers[np.isfinite(numbers)], return_counts=True)) or ("", [])


def is_code(number: float, others: np.ndarray) -> bool:
    """Whether a number is a usual code for missing, and far from all others that are none."""
    if number not in NEGATIVE_CODES and number not in POSITIVE_CODES:
        return False
    present = np.append(others, number)
    negative = np.unique(present[present < 0])
    if len(negative) > 1 and np.isin(-negative, present).all():  # a scale such as -2 to 2
        return False
    usual = others[~np.isin(others, [*NEGATIVE_CODES])]
    if number in POSITIVE_CODES:
        # other codes may stand beside this one, such as 88 beside 99; but 7 and 8 beside 9 are usual numbers
        usual = usual[~np.isin(usual, [*POSITIVE_CODES]) | (usual < number / 2)]
        if np.isin(usual, [*POSITIVE_CODES]).all():
            return False
    if not len(usual):
        return True
    least, most = float(usual.min()), float(usual.max())
    if number in POSITIVE_CODES:
        return number > 2 * most - min(least, 0)
    return least >= 0 or number < least - (most - least)


def codes_among_numbers(counts: Counter[Any]) -> tuple[str, list[int]] | None:
    """Numbers among cells that repeat and look like codes for missing beside all others: for messages, and as a list."""
    numbers = Counter[float]()
    for cell, count in counts.items():
        number = number_of(cell)
        if number is not None and np.isfinite(number):
            numbers[number] += count
    return codes_among(np.array([*numbers]), np.array([*numbers.values()]))


def codes_among(numbers: np.ndarray, counts: np.ndarray) -> tuple[str, list[int]] | None:
    """What `codes_among_numbers` finds, of numbers that differ, and how often each occurs."""
    usual_codes = np.isin(numbers, [*NEGATIVE_CODES, *POSITIVE_CODES])
    found = [
        place
        for place in np.flatnonzero((counts >= FEWEST_REPEATS) & usual_codes).tolist()
        if is_code(float(numbers[place]), np.delete(numbers, place))
    ]
    if not found:
        return None
    shown = first_few([f"{numbers[place]:g} in {counts[place]} cells" for place in found])
    return shown, [int(numbers[place]) for place in found]


def spellings(name: str, values: Sequence[str]) -> list[str]:
    """A warning about values that differ by case or blanks only."""
    variants: dict[str, list[str]] = {}
    for value in values:
        seen = "".join(each for each in unicodedata.normalize("NFKC", folded(value)) if unicodedata.category(each) != "Cf")
        variants.setdefault(seen, []).append(value)
    same = []
    for spelled in variants.values():
        written = repr if len(set(map(folded, spelled))) == 1 else ascii  # characters that look the same, or are not seen
        same += [" and ".join(map(written, spelled))] if len(spelled) > 1 else []
    return [f"label {name!r}: values differ by case or blanks only: {first_few(same)}; write them as one"] if same else []


def folded(value: str) -> str:
    """A value without regard to case and blanks."""
    return "".join(value.casefold().replace("_", " ").split())


def several_in_one(name: str, values: Sequence[str]) -> list[str]:
    """A warning about values such as "cat|dog" whose parts are values too."""
    for delimiter in (*DELIMITERS, *JOINERS):
        joined = [value for value in values if delimiter in value]
        parts = {part.strip() for value in joined for part in value.split(delimiter)}
        single = set(values) - set(joined)
        some = parts & single or len(parts) < len(joined)
        if joined and "" not in parts and (parts <= single if delimiter in JOINERS else some):
            return [
                f"label {name!r}: values such as {joined[0]!r} look like several in one cell; pass delimiter={delimiter!r} for "
                f"one binary label for each"
            ]
    return []
