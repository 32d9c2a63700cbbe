"""Cells of a table of labels: which are missing, which are numbers, and which are the same value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "DECIMAL_COMMA",
    "MISSING_TEXTS",
    "Value",
    "as_value",
    "comma_meaning",
    "comma_remedy",
    "first_few",
    "is_empty",
    "is_missing",
    "is_whole",
    "means_missing",
    "number_of",
    "position_of",
    "signs_in_numbers",
    "text_of",
    "texts_only",
]

Value = str | int
"""A value of a binary or categorical label, as tables and results show it."""

# what pandas takes or writes for a missing value, in the spellings that labels may meet; "none" is a value to it, and to us
MISSING_TEXTS = frozenset(
    {"", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>", "NaT", "#N/A", "#NA"}
)
DECIMAL_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?|[+-]?\d+,\d+")
"""A number with a comma in it: a decimal comma, or thousands separators."""
SIGNED = re.compile(
    r"[$€£¥]?\s?[+\-\u2212\u2013]?\s?\d{1,3}([\s'\u2019]\d{3})+([.,]\d+)?\s?[%‰$€£¥]?"  # blanks between thousands
    r"|[$€£¥]\s?[+-]?\d[\d,.]*|[+-]?\d[\d,.]*\s?[%‰$€£¥]|[\u2212\u2013]\d[\d,.]*"
)
"""A number that is written with signs or blanks, such as 45 %, $1,200.50, 1 200 or −5 with a long minus."""
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
SHOWN_OFFENDERS = 5


def is_missing(cell: Any, values: Sequence[Value] = ()) -> bool:
    """Whether a cell means *not observed*: it is empty, NaN, or a text such as "NA" that is not among a label's values."""
    if is_empty(cell):
        return True
    text = text_of(cell)
    return text in MISSING_TEXTS and position_of(text, values) is None


def is_empty(cell: Any) -> bool:
    """Whether a cell is None, NaN or a text without characters, whatever its label's values are."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | np.floating) and math.isnan(cell)):
        return True
    return isinstance(cell, str) and not cell.strip()


def means_missing(cell: Any, values: Iterable[Any]) -> bool:
    """Whether a cell is one of some values that mean *not observed*: as a number, or as a text whatever its case."""
    text, number = text_of(cell), number_of(cell)
    return any(
        text.casefold() == text_of(value).casefold() or (number is not None and number == number_of(value)) for value in values
    )


def text_of(cell: Any) -> str:
    """A cell as text, the same for 1, 1.0, True-like numpy scalars, "1" and b"1"."""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    text = (cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)).strip()
    return text[:-2] if text.endswith(".0") and is_whole(text[:-2]) else text


def number_of(cell: Any) -> float | None:
    """A cell as a number, or None."""
    if isinstance(cell, str) and "_" in cell:  # Python reads 1_000 as a number, other software does not
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def position_of(cell: Any, values: Sequence[Value]) -> int | None:
    """Position of a cell among values, compared as text, or None. Case is ignored if that leaves one value only."""
    texts = [text_of(value) for value in values]
    text = text_of(cell)
    if text in texts:
        return texts.index(text)
    same = [position for position, other in enumerate(texts) if other.lower() == text.lower()]
    return same[0] if len(same) == 1 else None


def as_value(text: str) -> Value:
    """A whole number if the text is one, otherwise the text.

    >>> as_value("3"), as_value("03")
    (3, '03')
    """
    return int(text) if is_whole(text) and str(int(text)) == text else text


def comma_meaning(texts: Sequence[str]) -> str:
    """What the comma in numbers is, for messages: "thousands separator" where all can be read so, else "decimal comma"."""
    return "thousands separator" if all(THOUSANDS.fullmatch(text) for text in texts) else "decimal comma"


def comma_remedy(texts: Sequence[str]) -> str:
    """What to do about a comma in numbers, for messages."""
    if comma_meaning(texts) == "decimal comma":
        return "write a decimal point, or read the table yourself with pandas.read_csv(..., decimal=',') and pass that"
    return (
        "write them without separators, or read the table yourself with pandas.read_csv(..., thousands=',') and pass that (if "
        "they are decimal commas, use decimal=',' instead)"
    )


def signs_in_numbers(texts: Sequence[str]) -> str:
    """What is said of texts that all are numbers with signs or blanks; nothing if one of them is none."""
    if not texts or not all(SIGNED.fullmatch(text) for text in texts):
        return ""
    return f"holds numbers with signs or blanks ({', '.join(map(repr, texts[:3]))}); write plain numbers, such as 45 or 1200.5"


def texts_only(column: pd.Series[Any]) -> bool:
    """Whether all cells of a column are texts; much faster than looking at each."""
    return pd.api.types.infer_dtype(column, skipna=False) == "string"


def is_whole(text: str) -> bool:
    """Whether a text is a whole number: digits, with or without a minus."""
    return text.isascii() and text.removeprefix("-").isdigit()


def first_few(offenders: Sequence[str]) -> str:
    """The first few of some messages, and the number of others.

    >>> first_few([str(number) for number in range(7)])
    '0; 1; 2; 3; 4; and 2 more'
    """
    more = len(offenders) - SHOWN_OFFENDERS
    return "; ".join(offenders[:SHOWN_OFFENDERS]) + (f"; and {more} more" if more > 0 else "")
