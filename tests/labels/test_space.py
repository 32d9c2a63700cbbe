"""Spaces of labels: what they refuse, and what messages say."""

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

SPACE = LabelSpace(
    (Binary("smile", ("no", "yes")), Categorical("hat", ("none", "cap", "turban")), Continuous("age", 40.0, 12.0))
)


def refused(make: object, message: str) -> None:
    """Some work must raise exactly this."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()  # type: ignore[operator]


def test_a_space_is_a_sequence_of_labels_that_knows_their_names() -> None:
    assert len(SPACE) == 3
    assert [label.name for label in SPACE] == list(SPACE.names) == ["smile", "hat", "age"]
    assert SPACE["age"] == SPACE.labels[SPACE.index("age")] == SPACE.labels[2]
    refused(lambda: SPACE.index("smiel"), "no label 'smiel' (did you mean 'smile'?); the labels are smile, hat, age")
    refused(lambda: SPACE.index("smithy"), "no label 'smithy'; the labels are smile, hat, age")
    refused(lambda: LabelSpace(()), "a label space needs at least one label")
    twice = (Binary("b"), Binary("a"), Binary("b"), Binary("a"), Binary("c"))
    refused(lambda: LabelSpace(twice), "label names must differ; repeated: a, b")


def test_tables_are_read_by_their_columns_names() -> None:
    table = pd.DataFrame({"age": ["31.5", ""], "other": [1, 2], "hat": ["CAP", None], "smile": [None, "yes"]})
    found = SPACE.encode(table)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[np.nan, 1, 31.5], [1, np.nan, np.nan]], dtype=np.float32))
    assert SPACE.encode(table[:0]).shape == (0, 3)
    refused(
        lambda: SPACE.encode(table[["hat"]], "people.csv"),
        "people.csv: no column for label smile, age; the columns are hat",
    )
    refused(
        lambda: SPACE.encode(pd.DataFrame([[1, 2]], columns=["smile", "smile"]).assign(hat="cap", age=1)),
        "table: more than one column 'smile'",
    )
    many = pd.DataFrame({"smile": ["yes", "x", "no", "x", "", "y", "x", "x", "x"], "hat": "cap", "age": 1})
    message = "; ".join(f"row {row}: expected no or yes (or a probability), found 'x'" for row in (1, 3))
    with pytest.raises(ValueError, match=re.escape(f"table, label 'smile': {message}; row 5: ")) as error:
        SPACE.encode(many)
    assert str(error.value).endswith("; and 1 more")


def test_true_and_one_are_kept_apart_in_columns_of_mixed_types() -> None:
    column = pd.Series([1, True, 2, "2"], dtype=object)
    np.testing.assert_array_equal(LabelSpace((Binary("b", (1, 2)),)).encode(pd.DataFrame({"b": column}))[:, 0], [0, 1, 1, 1])


def test_missing_cells_of_every_type_of_column() -> None:
    space = LabelSpace((Binary("b"),))
    for column in (
        pd.Series([1.0, math.nan]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["1", None], dtype="string"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["1", ""], dtype="category"),
    ):
        np.testing.assert_array_equal(space.encode(pd.DataFrame({"b": column}))[:, 0], [1, np.nan])


def test_one_row_by_name() -> None:
    found = SPACE.encode_row({"age": "12", "smile": None})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([np.nan, np.nan, 12], dtype=np.float32))
    refused(
        lambda: SPACE.encode_row({"hat": "capp"}),
        "label 'hat': expected one of none, cap, turban, found 'capp' (did you mean 'cap'?)",
    )


def test_arrays_become_tables_of_values() -> None:
    table = SPACE.decode(np.array([[1, 2, 30.5], [np.nan, np.nan, np.nan], [0.2, 0, 1]], dtype=np.float32))
    assert table.columns.tolist() == ["smile", "hat", "age"]
    assert table["smile"].tolist() == ["yes", None, "no"]
    assert table["hat"].tolist() == ["turban", None, "none"]
    assert table["age"].dtype == float
    assert table["age"].isna().tolist() == [False, True, False]
    assert SPACE.decode(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.25, 0, 0], "rows, label 'smile': expected 0, 1, a probability between them or NaN; row 1: 1.25"),
        ([-0.25, 0, 0], "rows, label 'smile': expected 0, 1, a probability between them or NaN; row 1: -0.25"),
        ([0, 3, 0], "rows, label 'hat': expected a whole number from 0 to 2 or NaN; row 1: 3.0"),
        ([0, -1, 0], "rows, label 'hat': expected a whole number from 0 to 2 or NaN; row 1: -1.0"),
        ([0, 1.5, 0], "rows, label 'hat': expected a whole number from 0 to 2 or NaN; row 1: 1.5"),
        ([0, 0, math.inf], "rows, label 'age': expected a finite number or NaN; row 1: inf"),
    ],
)
def test_entries_that_no_label_has_are_named(row: list[float], message: str) -> None:
    for good in ([0, 0, -1e6], [1, 2, 1e6], [0.5, 1, 0], [np.nan] * 3):
        SPACE.check(np.array([good], dtype=np.float32))
    refused(lambda: SPACE.check(np.array([[0, 0, 0], row], dtype=np.float64), "rows"), message)


def test_arrays_of_another_shape_are_refused() -> None:
    for shape in ((3,), (2, 2), (1, 2, 3)):
        refused(lambda s=shape: SPACE.check(np.zeros(s)), f"labels: expected shape (rows, 3), found {shape}")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ((Binary("smile", ("no", "yes")),), "data: the model was made for the labels smile, hat, age, found smile"),
        (
            (*SPACE.labels, Binary("more")),
            "data: the model was made for the labels smile, hat, age, found smile, hat, age, more",
        ),
        (
            (Binary("smile"), *SPACE.labels[1:]),
            "data: the model was made for label 'smile' (binary: no, yes), found 'smile' (binary: 0, 1)",
        ),
        (
            (*SPACE.labels[:2], Binary("age")),
            "data: the model was made for label 'age' (continuous), found 'age' (binary: 0, 1)",
        ),
        (
            (*SPACE.labels[:2], Continuous("years")),
            "data: the model was made for label 'age' (continuous), found 'years' (continuous)",
        ),
    ],
)
def test_another_space_of_labels_is_refused(other: tuple[Any, ...], message: str) -> None:
    same = LabelSpace((Binary("smile", ("no", "yes"), 0.1), *SPACE.labels[1:2], Continuous("age", 1.0, 2.0)))
    SPACE.check_matches(same)  # priors may differ
    refused(lambda: SPACE.check_matches(LabelSpace(other)), message)
    with pytest.raises(ValueError, match=r"^run: "):
        SPACE.check_matches(LabelSpace(other), "run")


def test_priors_are_fitted_to_observed_entries_only() -> None:
    array = np.array([[1, 0, 30], [np.nan, 1, 50], [0, np.nan, np.nan], [1, 1, np.nan]], dtype=np.float32)
    fitted = SPACE.with_priors(array)
    assert fitted["smile"] == Binary("smile", ("no", "yes"), 3 / 5)
    assert fitted["hat"].priors == pytest.approx((2 / 6, 3 / 6, 1 / 6))  # type: ignore[union-attr]
    assert fitted["age"] == Continuous("age", 40.0, 10.0)
    constant = array.copy()
    constant[:, 0] = [1, np.nan, 1, 1]
    refused(
        lambda: SPACE.with_priors(constant),
        "label 'smile' is constant: all 3 observed values are yes; give it others, or leave it out",
    )
    constant[:, 0] = np.nan
    refused(lambda: SPACE.with_priors(constant), "label 'smile' has no observed value; give it some, or leave it out")
    refused(lambda: SPACE.with_priors(array[:, :2]), "labels: expected shape (rows, 3), found (4, 2)")


def test_priors_of_many_large_numbers_are_summed_in_double_precision() -> None:
    numbers = np.full((30_001, 1), 1e8, dtype=np.float32)
    numbers[::2] += 8
    fitted = LabelSpace((Continuous("n"),)).with_priors(numbers)["n"]
    assert fitted.mean == pytest.approx(1e8 + 4, abs=0.01)  # type: ignore[union-attr]
    assert fitted.scale == pytest.approx(4, abs=0.01)  # type: ignore[union-attr]


# ---------------------------------------------------------------------- JSON


def entry(**changes: Any) -> dict[str, Any]:
    """A binary label's object with some fields changed."""
    return {"kind": "binary", "name": "a", "values": [0, 1], "prior": 0.5} | changes


def test_json_is_a_list_of_objects_with_kinds() -> None:
    written = json.loads(SPACE.to_json())
    assert written[0] == {"kind": "binary", "name": "smile", "values": ["no", "yes"], "prior": 0.5}
    assert written[2] == {"kind": "continuous", "name": "age", "mean": 40.0, "scale": 12.0}
    assert LabelSpace.from_entries(written) == LabelSpace.from_json(SPACE.to_json()) == SPACE
    assert LabelSpace.from_entries([{"kind": "continuous", "name": "n"}]) == LabelSpace((Continuous("n"),))
    assert LabelSpace.from_entries([{"kind": "categorical", "name": "n", "values": [1, "b"]}])["n"] == Categorical(
        "n", (1, "b")
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "the JSON of a label space is a list of labels, each an object with kind, name and more"),
        ([1], "the JSON of a label space is a list of labels, each an object with kind, name and more"),
        ([], "a label space needs at least one label"),
        (
            [entry(), entry(kind="ordinal")],
            "label 2: unknown kind of label 'ordinal'; the kinds are binary, categorical, continuous",
        ),
        ([{"name": "a"}], "label 1: unknown kind of label None; the kinds are binary, categorical, continuous"),
        ([entry(kind=["binary"])], "label 1: unknown kind of label ['binary']; the kinds are binary, categorical, continuous"),
        ([entry(size=1, colour=2)], "label 1: a binary label has no colour, size; it has name, prior, values"),
        ([entry(name=3)], "label 1: name: expected a text, found 3"),
        ([{"kind": "continuous"}], "label 1: name: expected a text, found None"),
        ([entry(values="no")], "label 'a': values: expected a list of texts and whole numbers, found 'no'"),
        ([entry(values=[True, False])], "label 'a': values: expected a list of texts and whole numbers, found (True, False)"),
        ([entry(values=[0.0, 1.0])], "label 'a': values: expected a list of texts and whole numbers, found (0.0, 1.0)"),
        (
            [{"kind": "categorical", "name": "a"}],
            "label 'a': values: expected a list of texts and whole numbers, found none",
        ),
        (
            [{"kind": "categorical", "name": "a", "values": []}],
            "label 'a': values: expected a list of texts and whole numbers, found none",
        ),
        ([entry(prior="0.5")], "label 'a': prior: expected a number, found '0.5'"),
        ([entry(prior=True)], "label 'a': prior: expected a number, found True"),
        ([entry(prior=[0.5])], "label 'a': prior: expected a number, found (0.5,)"),
        ([entry(prior=None)], "label 'a': prior: expected a number, found None"),
        (
            [{"kind": "categorical", "name": "a", "values": [1, 2], "prior": 0.5}],
            "label 'a': prior: expected a list of numbers, found 0.5",
        ),
        (
            [{"kind": "categorical", "name": "a", "values": [1, 2], "prior": [0.5, "0.5"]}],
            "label 'a': prior: expected a list of numbers, found (0.5, '0.5')",
        ),
        ([{"kind": "continuous", "name": "a", "mean": "1"}], "label 'a': mean: expected a number, found '1'"),
        ([{"kind": "continuous", "name": "a", "scale": {}}], "label 'a': scale: expected a number, found {}"),
        ([{"kind": "continuous", "name": "a", "mean": 10**400}], None),
        ([entry(prior=1.5)], "label 'a': prior must lie strictly between 0 and 1, not 1.5"),
    ],
)
def test_json_of_wrong_content_is_told_where(entries: Any, message: str | None) -> None:
    if message is None:
        with pytest.raises(ValueError, match=r"^label 'a': "):
            LabelSpace.from_entries(entries)
    else:
        refused(lambda: LabelSpace.from_entries(entries), message)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a label space is written as JSON, but "):
        LabelSpace.from_json(text)


# ---------------------------------------------------------------------- inference


def test_every_column_becomes_a_label() -> None:
    table = pd.DataFrame({"a": ["no", "yes"], "b": ["x", "y"], 3: [0.5, 1.5], "d": [0, 1]})
    found = LabelSpace.infer(table, {"d": "categorical"})
    assert found.labels == (Binary("a", ("no", "yes")), Categorical("b", ("x", "y")), Continuous("3"), Categorical("d", (0, 1)))
    with pytest.raises(ValueError, match=r"^table: label 'b' "):
        LabelSpace.infer(table.assign(b=""))
    with pytest.raises(ValueError, match=r"^people\.csv: kinds are given for 'e'"):
        LabelSpace.infer(table, {"e": "binary"}, "people.csv")
    refused(
        lambda: LabelSpace.infer(pd.DataFrame([[1, 2, 3, 4]], columns=["b", "a", "b", "a"]), source="people.csv"),
        "people.csv: column names must differ; repeated: a, b",
    )


def test_the_page_of_a_space_shows_each_label() -> None:
    space = LabelSpace((Binary("a", prior=0.25), Continuous("n", 12345.678, 0.00012345)))
    rows = space._repr_html_()
    for shown in ("<th>a</th>", "<td>binary</td>", "<td>0; 1</td>", "<td>0.75; 0.25</td>", "<th>label</th>", "<th>prior</th>"):
        assert shown in rows
    assert "<td>mean 1.235e+04, scale 0.0001234</td>" in rows or "<td>mean 1.235e+04, scale 0.0001235</td>" in rows
    assert "<td></td>" in rows, "a number has no values"
