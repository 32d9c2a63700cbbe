"""Each kind of label: what it encodes and decodes, its priors and columns, how it is inferred, and what messages say."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from ccvae.labels import Binary, Categorical, Continuous, Label, LabelSpace
from ccvae.labels.kinds import UnusableColumnError, check_kinds, described, encode_cells, infer_label

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


def refused(make: object, message: str, kind: type[Exception] = ValueError) -> None:
    """Some work must raise exactly this."""
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        make()  # type: ignore[operator]


# ---------------------------------------------------------------------- what labels are


def test_columns_ends_and_priors() -> None:
    binary, several, number = Binary("b", ("no", "yes"), 0.2), Categorical("c", (7, 8, 9)), Continuous("n", 10.0, 2.0)
    assert binary.output_columns == ("b=no", "b=yes")
    assert several.output_columns == ("c=7", "c=8", "c=9")
    assert number.output_columns == ("n", "n.std")
    assert (binary.ends, several.ends, number.ends) == ((0.0, 1.0), (0.0, 2.0), (6.0, 14.0))
    assert binary.priors == (0.8, 0.2)
    assert several.priors == several.prior == (1 / 3, 1 / 3, 1 / 3)
    assert Binary("b").priors == (0.5, 0.5)
    assert (Binary("b").values, Continuous("n").mean, Continuous("n").scale) == ((0, 1), 0.0, 1.0)


def test_numbers_become_values_again() -> None:
    binary, several = Binary("b", ("no", "yes")), Categorical("c", ("x", "y", "z"))
    assert [binary.decode(number) for number in (0, 0.49, 0.5, 1)] == ["no", "no", "yes", "yes"]
    assert [several.decode(number) for number in (0.0, 1.0, 2.0)] == ["x", "y", "z"]
    assert Continuous("n").decode(np.float32(2.5)) == 2.5  # type: ignore[arg-type]


def test_priors_are_counts_and_one_more_of_each_value() -> None:
    assert Binary("b").with_prior(np.array([1.0, 1.0, 0.0])).prior == pytest.approx(3 / 5)
    assert Binary("b").with_prior(np.array([0.25, 0.25])).prior == pytest.approx(1.5 / 4), "probabilities count as such"
    assert Categorical("c", ("x", "y", "z")).with_prior(np.array([2.0, 2.0])).prior == pytest.approx((1 / 5, 1 / 5, 3 / 5))
    assert Continuous("n").with_prior(np.array([1.0, 5.0])) == Continuous("n", 3.0, 2.0)
    assert Continuous("n").with_prior(np.array([4.0])) == Continuous("n", 4.0, 1.0), "one entry has no scale"
    assert Continuous("n").with_prior(np.array([4.0, 4.0])) == Continuous("n", 4.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Binary("a", prior=0.0), "label 'a': prior must lie strictly between 0 and 1, not 0.0"),
        (lambda: Binary("a", ("x", "y", "z")), "label 'a': needs 2 different values, found ['x', 'y', 'z']"),  # type: ignore[arg-type]
        (lambda: Binary("a", (1, "1.0")), "label 'a': needs 2 different values, found [1, '1.0']"),
        (lambda: Categorical("a", ("x",)), "label 'a': needs at least two different values, found ['x']"),
        (lambda: Categorical("a", ("x", "y", "x")), "label 'a': needs at least two different values, found ['x', 'y', 'x']"),
        (
            lambda: Categorical("a", ("x", " ")),
            "label 'a': an empty text cannot be a value, because an empty cell means not observed",
        ),
        (
            lambda: Categorical("a", ("x", "y"), (0.2, 0.3, 0.5)),
            "label 'a': prior must be 2 positive numbers that sum to 1, not (0.2, 0.3, 0.5)",
        ),
        (
            lambda: Continuous("a", 1.0, -1.0),
            "label 'a': mean must be finite and scale positive, neither beyond what float32 has, not 1.0 and -1.0",
        ),
        (lambda: Binary(" "), "a label's name must be a text that is not empty, not ' '"),
        (lambda: Continuous(3), "a label's name must be a text that is not empty, not 3"),  # type: ignore[arg-type]
    ],
)
def test_labels_that_make_no_sense_are_told_why(make: object, message: str) -> None:
    refused(make, message)


def test_limits_of_numbers_are_those_of_single_precision() -> None:
    largest, smallest = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
    assert Continuous("n", -largest, largest).mean == -largest
    assert Continuous("n", 0.0, smallest).scale == smallest
    for mean, scale in ((1.001 * largest, 1.0), (-1.001 * largest, 1.0), (0.0, 1.001 * largest), (0.0, smallest / 2)):
        with pytest.raises(ValueError, match="float32"):
            Continuous("n", mean, scale)
    assert Continuous("n").encode(largest) == largest
    assert Continuous("n").encode(-largest) == -largest
    for number in (1.001 * largest, -1.001 * largest):
        refused(
            lambda n=number: Continuous("n").encode(n), f"the number {number!r} is too large; give the label in another unit"
        )
    assert Categorical("c", ("x", "y"), (0.5, 0.5 + 9e-7)).prior[1] > 0.5, "rounding of a prior is not its fault"
    with pytest.raises(ValueError, match="sum to 1"):
        Categorical("c", ("x", "y"), (0.5, 0.5 + 2e-6))


# ---------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("label", "cell", "message"),
    [
        (Binary("l", ("no", "yes")), "yess", "expected no or yes (or a probability), found 'yess' (did you mean 'yes'?)"),
        (Binary("l"), 2, "expected 0 or 1 (or a probability), found 2"),
        (Binary("l", (1, "x")), 0, "expected 1 or x (or a probability), found 0"),
        (Binary("l", (2, "x")), 1, "expected 2 or x (or a probability), found 1"),
        (Categorical("l", LETTERS[:12]), "hatt", f"expected one of {', '.join(LETTERS[:12])}, found 'hatt'"),
        (Categorical("l", LETTERS[:13]), 5, f"expected one of {', '.join(LETTERS[:12])}, …, found 5"),
        (Categorical("l", ("cap", "hat")), "hatt", "expected one of cap, hat, found 'hatt' (did you mean 'hat'?)"),
        (Continuous("l"), "tall", "expected a number, found 'tall'"),
        (Continuous("l"), math.nan, "expected a number, found nan"),
        (
            Continuous("l"),
            "1,5",
            "expected a number, found '1,5', with a decimal comma; write a decimal point, or read the table yourself with "
            "pandas.read_csv(..., decimal=',') and pass that",
        ),
        (
            Continuous("l"),
            "1,500",
            "expected a number, found '1,500', with a thousands separator; write them without separators, or read the table "
            "yourself with pandas.read_csv(..., thousands=',') and pass that (if they are decimal commas, use "
            "decimal=',' instead)",
        ),
    ],
)
def test_cells_that_are_no_value_are_told_what_is(label: Label, cell: object, message: str) -> None:
    refused(lambda: label.encode(cell), message)


@pytest.mark.parametrize(
    ("values", "cell", "expected"),
    [
        ((0, 1), True, 1.0),
        (("no", "yes"), np.bool_(False), 0.0),
        (("no", "yes"), 0, 0.0),
        (("no", "yes"), "1", 1.0),
        (("no", "yes"), 0.5, 0.5),
        ((1, 2), 1, 0.0),
        ((1, 2), 0.999, 0.999),
        (("1", "0"), 0, 1.0),
    ],
)
def test_binary_cells(values: tuple[str | int, str | int], cell: object, expected: float) -> None:
    assert Binary("l", values).encode(cell) == expected
    assert type(Binary("l", values).encode(cell)) is float


def test_wrong_and_missing_cells_are_kept_apart_by_position() -> None:
    numbers, wrong = encode_cells(Binary("l"), [1, "1", True, "x", "", 1.0, "x", None, 0.5, "0.5"])
    expected = [1, 1, 1, math.nan, math.nan, 1, math.nan, math.nan, 0.5, 0.5]
    np.testing.assert_array_equal(numbers, expected)
    assert sorted(wrong) == [3, 6]
    assert str(wrong[3]) == "expected 0 or 1 (or a probability), found 'x'"
    assert encode_cells(Binary("l", (1, 2)), [True, 1, "1", 2]) == ([1.0, 0.0, 0.0, 1.0], {}), "True is no number here"
    numbers, wrong = encode_cells(Categorical("l", ("NA", "EU")), ["NA", "nan"])
    assert numbers[0] == 0
    assert math.isnan(numbers[1])
    assert not wrong
    assert encode_cells(Continuous("l"), []) == ([], {})


# ---------------------------------------------------------------------- inference


def inferred(cells: list[object], kind: str | None = None) -> Label:
    return infer_label("l", cells, kind, "file.csv")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["false", "True"], Binary("l", ("false", "True"))),
        (["N", "y"], Binary("l", ("N", "y"))),
        (["positive"], Binary("l", ("negative", "positive"))),
        (["-1"], Binary("l", (-1, 1))),
        (["1", "-1"], Binary("l", (-1, 1))),
        (["0"], Binary("l", (0, 1))),
        (["no", "No", "NO", "yes"], Binary("l", ("NO", "yes"))),
        (["yes", "no", "maybe"], Categorical("l", ("maybe", "no", "yes"))),
        ([2.0, 10.0, 1.0], Categorical("l", (1, 2, 10))),
        ([1, 2, "x"], Categorical("l", (1, 2, "x"))),
        ([1.5, 2.5], Continuous("l")),
        ([0.25, 1], Continuous("l")),
        (list(range(20)), Categorical("l", tuple(range(20)))),
        (list(range(21)), Continuous("l")),
        ([math.inf, "a", 1.0], Categorical("l", (1, "a", "inf"))),
        (list(LETTERS[:20]), Categorical("l", LETTERS[:20])),
    ],
)
def test_the_kind_that_is_guessed(cells: list[object], expected: Label) -> None:
    assert inferred(cells) == expected
    assert LabelSpace.infer(pd.DataFrame({"l": pd.Series(cells, dtype=object)}))["l"] == expected


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        ([0.2, 0.9], "binary", Binary("l")),
        ([0, 1, 0.5], "binary", Binary("l")),
        ([0.0, 0.5], "binary", Binary("l")),
        ([3, 4], "binary", Binary("l", (3, 4))),
        (["10", "9"], "binary", Binary("l", (9, 10))),
        (["a", "b"], "binary", Binary("l", ("a", "b"))),
        (["no", "yes"], "categorical", Categorical("l", ("no", "yes"))),
        (["1,5", "2,5"], "categorical", Categorical("l", ("1,5", "2,5"))),
        ([1, 2, 3], "continuous", Continuous("l")),
        ([1, "NA", 3.5], "continuous", Continuous("l")),
        (list(range(30)), "categorical", Categorical("l", tuple(range(30)))),
    ],
)
def test_the_kind_that_is_asked_for(cells: list[object], kind: str, expected: Label) -> None:
    assert inferred(cells, kind) == expected


@pytest.mark.parametrize(
    ("cells", "kind", "message", "error"),
    [
        ([None, ""], None, "has no observed value; give it some, or leave it out", UnusableColumnError),
        ([[1]], None, "holds lists or the like; a label has one value a row", ValueError),
        (
            ["cap"],
            "categorical",
            "is constant: every observed value is cap; give it others, or leave it out",
            UnusableColumnError,
        ),
        ([3, 4, 5], "binary", "is to be binary but has 3 values: 3; 4; 5", ValueError),
        ([1.0, 2.0, 10.0], "binary", "is to be binary but has 3 values: 1; 2; 10", ValueError),
        ([0.5, 1.5], "binary", "", None),
        ([7], "binary", "is to be binary but has 1 values: 7", ValueError),
        (
            ["1,5", "2"],
            None,
            "holds numbers with a decimal comma ('1,5'); write a decimal point, or read the table yourself with "
            "pandas.read_csv(..., decimal=',') and pass that",
            ValueError,
        ),
        (
            ["1,234", "5,678", "20"],
            None,
            "holds numbers with a thousands separator ('1,234'; '5,678'); write them without separators, or read the table "
            "yourself with pandas.read_csv(..., thousands=',') and pass that (if they are decimal commas, use decimal=',' "
            "instead)",
            ValueError,
        ),
        (
            [*map(str, range(30)), "unknown"],
            None,
            "is to be continuous but 1 of its values are no numbers: 'unknown'; if it means not observed, pass "
            "missing_values=['unknown']",
            ValueError,
        ),
        (
            [1.5, "a", "b"],
            "continuous",
            "is to be continuous but 2 of its values are no numbers: 'a'; 'b'; if they mean not observed, pass "
            "missing_values=['a', 'b']",
            ValueError,
        ),
        (
            [1.5, *"abcde"],
            "continuous",
            "is to be continuous but 5 of its values are no numbers: 'a'; 'b'; 'c'; 'd'; 'e'; if they mean not observed, pass "
            "missing_values=['a', 'b', 'c', 'd', 'e']",
            ValueError,
        ),
        (
            [1.5, *"abcdef"],
            "continuous",
            "is to be continuous but 6 of its values are no numbers: 'a'; 'b'; 'c'; 'd'; 'e'; and 1 more",
            ValueError,
        ),
        (
            [*map(str, range(30)), math.inf],
            None,
            "is to be continuous but 1 of its values are no numbers: 'inf'; if it means not observed, pass "
            "missing_values=['inf']",
            ValueError,
        ),
        (
            list(LETTERS[:21]),
            None,
            "has 21 different texts ('a'; 'b'; 'c'; 'd'; 'e'; and 16 more); leave the column out, or say that its kind is "
            "categorical",
            UnusableColumnError,
        ),
        (
            [f"2024-05-{day:02}" for day in range(1, 29)],
            None,
            "holds dates ('2024-05-01'; '2024-05-02'), and a label is a number or one of a few values; turn them into numbers, "
            "such as days, or leave the column out",
            UnusableColumnError,
        ),
        (
            [f"{number} %" for number in range(10, 40)],
            None,
            "holds numbers with signs or blanks ('10 %', '11 %', '12 %'); write plain numbers, such as 45 or 1200.5",
            ValueError,
        ),
    ],
)
def test_columns_that_cannot_be_labels_are_told_why(
    cells: list[object], kind: str | None, message: str, error: type[Exception] | None
) -> None:
    if error is None:
        assert inferred(cells, kind) == Binary("l", ("0.5", "1.5"))
    else:
        refused(lambda: inferred(cells, kind), f"file.csv: label 'l' {message}", error)


def test_what_is_missing_can_be_said() -> None:
    assert infer_label("l", [1, 2, -9], None, "t", missing=lambda cell: cell == -9) == Categorical("l", (1, 2))


def test_kinds_are_given_for_labels_there_are_and_exist() -> None:
    check_kinds({"a": "binary", "b": "categorical", "c": "continuous"}, ["a", "b", "c", "d"], "t")
    refused(
        lambda: check_kinds({"Smile": "binary", "a": "binary"}, ["a", "Smiles"], "t"),
        "t: kinds are given for 'Smile' (did you mean 'Smiles'?), which is no label; the labels are a, Smiles",
    )
    refused(
        lambda: check_kinds({"a": "binry", "b": "binary"}, ["a", "b"], "t"),
        "t: no such kind of label: a: 'binry' (did you mean 'binary'?); the kinds are binary, categorical, continuous",
    )


def test_labels_are_described_with_at_most_eight_values() -> None:
    assert described(Categorical("c", LETTERS[:8])) == "'c' (categorical: a, b, c, d, e, f, g, h)"
    assert described(Categorical("c", LETTERS[:9])) == "'c' (categorical: a, b, c, d, e, f, g, h, …)"
    assert described(Continuous("n")) == "'n' (continuous)"
