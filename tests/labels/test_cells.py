"""Cells of a table of labels: what is missing, what is a number, what is the same value, and what messages say."""

import math

import numpy as np
import pandas as pd
import pytest

from ccvae.labels.cells import (
    as_value,
    comma_meaning,
    comma_remedy,
    first_few,
    is_empty,
    is_missing,
    is_whole,
    means_missing,
    number_of,
    position_of,
    signs_in_numbers,
    text_of,
    texts_only,
)


@pytest.mark.parametrize("cell", [None, pd.NA, pd.NaT, math.nan, np.float32("nan"), np.float64("nan"), "", "  ", "\t"])
def test_cells_that_are_empty(cell: object) -> None:
    assert is_empty(cell) is True
    assert is_missing(cell) is True
    assert is_missing(cell, ("", "nan", 0)) is True, "whatever the values are"


@pytest.mark.parametrize("cell", [0, 0.0, False, "0", "NA", "nan", "None", b"", [], math.inf, "x"])
def test_cells_that_are_not_empty(cell: object) -> None:
    assert is_empty(cell) is False


def test_texts_for_missing_are_values_where_they_are_among_them() -> None:
    assert is_missing("NA") is is_missing(" nan ") is is_missing(b"NULL") is True
    assert is_missing("na") is is_missing("missing") is is_missing("-") is is_missing(0) is False
    assert is_missing("NA", ("EU", "NA")) is is_missing("NA", ("na", "eu")) is False
    assert is_missing("NA", ("EU", "US")) is True


@pytest.mark.parametrize(
    ("cell", "values", "expected"),
    [
        ("-999", [-999.0], True),
        (-999.0, ["-999"], True),
        ("-9.99e2", [-999], True),
        ("Unknown", ["unknown"], True),
        ("?", ["unknown", "?"], True),
        ("3", [4, "x"], False),
        ("a", ["b"], False),
        ("a", [1], False),
        (1, ["a"], False),
        ("a", [], False),
    ],
)
def test_values_that_mean_missing_are_compared_as_texts_and_as_numbers(
    cell: object, values: list[object], expected: bool
) -> None:
    assert means_missing(cell, values) is expected


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (True, "1"),
        (np.bool_(False), "0"),
        (3, "3"),
        (3.0, "3"),
        (np.float32(-2.0), "-2"),
        (0.25, "0.25"),
        (math.inf, "inf"),
        ("3.0", "3"),
        ("-3.0", "-3"),
        ("v3.0", "v3.0"),
        ("3.00", "3.00"),
        (".0", ".0"),
        (b" cat ", "cat"),
        (b"\xff", "\ufffd"),
        ("  two words ", "two words"),
        (np.int64(7), "7"),
    ],
)
def test_a_cell_as_text(cell: object, text: str) -> None:
    assert text_of(cell) == text


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1.5", 1.5),
        (" 2 ", 2.0),
        (3, 3.0),
        (True, 1.0),
        ("1e3", 1000.0),
        ("1_000", None),
        ("x", None),
        ([1], None),
        (None, None),
    ],
)
def test_a_cell_as_number(cell: object, number: float | None) -> None:
    assert number_of(cell) == number


def test_the_position_of_a_value_ignores_case_only_where_one_value_is_left() -> None:
    assert position_of("b", ("a", "b", "c")) == 1
    assert position_of("B", ("a", "b", "c")) == 1
    assert position_of("c", ("C", "B", "c")) == 2, "the exact spelling first"
    assert position_of("É", ("e", "é")) == 1
    assert position_of("aB", ("ab", "AB")) is None
    assert position_of("d", ("a", "b")) is None
    assert position_of(2.0, (1, 2)) == position_of("2.0", (1, 2)) == 1
    assert position_of("a", ()) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-3", -3), ("0", 0), ("03", "03"), ("-0", "-0"), ("+3", "+3"), ("3.5", "3.5"), ("²", "²"), ("--3", "--3")],
)
def test_texts_become_whole_numbers_where_nothing_is_lost(text: str, value: object) -> None:
    assert as_value(text) == value
    assert type(as_value(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "whole"), [("7", True), ("-70", True), ("", False), ("-", False), ("--7", False), ("7-", False), ("٣", False)]
)
def test_whole_numbers_have_digits_and_at_most_a_minus(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


@pytest.mark.parametrize(
    ("texts", "meaning"),
    [
        (["1,000", "12,345,678.9", "-4,000"], "thousands separator"),
        (["1,000", "1,5"], "decimal comma"),
        (["0,250"], "decimal comma"),
        (["1234,567"], "decimal comma"),
    ],
)
def test_what_a_comma_in_numbers_means_and_what_to_do(texts: list[str], meaning: str) -> None:
    assert comma_meaning(texts) == meaning
    decimal = "write a decimal point, or read the table yourself with pandas.read_csv(..., decimal=',') and pass that"
    thousands = (
        "write them without separators, or read the table yourself with pandas.read_csv(..., thousands=',') and pass that "
        "(if they are decimal commas, use decimal=',' instead)"
    )
    assert comma_remedy(texts) == {"decimal comma": decimal, "thousands separator": thousands}[meaning]


def test_only_the_first_three_numbers_with_signs_are_shown() -> None:
    assert signs_in_numbers(["5 %", "6 %", "7 %", "8 %"]) == (
        "holds numbers with signs or blanks ('5 %', '6 %', '7 %'); write plain numbers, such as 45 or 1200.5"
    )
    assert signs_in_numbers([]) == signs_in_numbers(["5 %", "x"]) == ""


def test_columns_of_texts_only() -> None:
    assert texts_only(pd.Series(["a", "1"], dtype=object))
    assert not texts_only(pd.Series(["a", None], dtype=object))
    assert not texts_only(pd.Series(["a", 1], dtype=object))


def test_the_first_five_messages_are_shown_and_the_rest_counted() -> None:
    assert first_few([]) == ""
    assert first_few(list("abcde")) == "a; b; c; d; e"
    assert first_few(list("abcdef")) == "a; b; c; d; e; and 1 more"
