import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.labels.cells import first_few, signs_in_numbers
from ccvae.model.inputs.columns import InputColumns

texts = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=6).map(str.strip).filter(bool)
)
values = texts | st.integers(-100, 100)
probabilities = st.floats(0.001, 0.999)


def distinct(
    count: st.SearchStrategy[int] | None = None, least: int = 2, most: int = 6
) -> st.SearchStrategy[tuple[str | int, ...]]:
    return st.lists(values, min_size=least, max_size=most, unique_by=lambda value: str(value).strip()).map(tuple)


@st.composite
def spaces(draw: st.DrawFn) -> LabelSpace:
    names = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    labels = []
    for name in names:
        kind = draw(st.sampled_from(["binary", "categorical", "continuous"]))
        try:
            if kind == "binary":
                labels.append(Binary(name, draw(distinct(most=2)), draw(probabilities)))
            elif kind == "categorical":
                chosen = draw(distinct())
                weights = np.array(draw(st.lists(st.floats(0.1, 1), min_size=len(chosen), max_size=len(chosen))))
                labels.append(Categorical(name, chosen, tuple((weights / weights.sum()).tolist())))
            else:
                labels.append(Continuous(name, draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-6, 1e6))))
        except ValueError:  # values that read the same, such as "1.0" and 1
            assume(False)
    return LabelSpace(tuple(labels))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[LabelSpace, np.ndarray]:
    space = draw(spaces())
    rows = draw(st.integers(0, 5))
    array = np.full((rows, len(space)), np.nan, dtype=np.float32)
    for column, label in enumerate(space):
        entry = (
            st.floats(-(2.0**100), 2.0**100, width=32)
            if isinstance(label, Continuous)
            else st.integers(0, len(label.values) - 1)
        )
        for row in range(rows):
            array[row, column] = draw(entry) if draw(st.booleans()) else np.nan
    return space, array


@given(labelled())
def test_decoding_and_encoding_again_gives_the_same_array(case: tuple[LabelSpace, np.ndarray]) -> None:
    space, array = case
    space.check(array)
    np.testing.assert_array_equal(space.encode(space.decode(array)), array)


@given(labelled())
def test_a_table_written_as_text_gives_the_same_array(case: tuple[LabelSpace, np.ndarray]) -> None:
    space, array = case
    written = space.decode(array).map(lambda cell: "" if cell is None or cell != cell else str(cell))
    np.testing.assert_array_equal(space.encode(written), array)


@given(labelled())
def test_rows_keyed_by_name_encode_like_tables(case: tuple[LabelSpace, np.ndarray]) -> None:
    space, array = case
    for row, cells in enumerate(space.decode(array).astype(object).to_dict("records")):
        np.testing.assert_array_equal(space.encode_row(cells), array[row])


@given(spaces())
def test_json_keeps_every_label(space: LabelSpace) -> None:
    assert LabelSpace.from_json(space.to_json()) == space
    json.loads(space.to_json(), parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@given(labelled())
def test_fitted_priors_are_distributions_or_the_label_is_named(case: tuple[LabelSpace, np.ndarray]) -> None:
    space, array = case
    try:
        fitted = space.with_priors(array)
    except ValueError as error:
        assert any(repr(name) in str(error) for name in space.names)  # noqa: PT017
        return
    for before, label in zip(space, fitted, strict=True):
        assert label.name == before.name
        if isinstance(label, Continuous):
            assert label.scale > 0
        else:
            assert math.isclose(sum(label.priors), 1)
            assert min(label.priors) > 0


@given(
    st.lists(
        st.sampled_from(
            ["", "0", "1", "-1", "yes", "No", "YES", "1.0", "2", "0.5", "NA", "none", "a", "²", "1,5", " a ", "1_0", "inf"]
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_was_inferred_from_a_table_encodes_it(cells: list[str]) -> None:
    table = pd.DataFrame({"label": cells})
    try:
        space = LabelSpace.infer(table)
    except ValueError as error:
        assert "'label'" in str(error)  # noqa: PT017
        return
    array = space.encode(table)
    missing = [cell in ("", "NA") for cell in cells]
    assert np.isnan(array[:, 0]).tolist() == missing


def test_priors_with_add_one_smoothing() -> None:
    space = LabelSpace((Binary("b"), Categorical("c", ("x", "y", "z")), Continuous("n")))
    array = np.array([[1, 0, 2.0], [1, 0, 4.0], [0, 1, np.nan], [np.nan, np.nan, np.nan]], dtype=np.float32)
    binary, categorical, continuous = space.with_priors(array)
    assert isinstance(binary, Binary)
    assert binary.prior == pytest.approx(3 / 5)
    assert isinstance(categorical, Categorical)
    assert categorical.prior == pytest.approx((3 / 6, 2 / 6, 1 / 6))
    assert continuous == Continuous("n", 3.0, 1.0)


@pytest.mark.parametrize(
    "missing",
    [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", "  ", "NA", "nan", "NaN", "None", "null", "<NA>", "N/A"],
)
def test_ways_of_writing_not_observed(missing: object) -> None:
    space = LabelSpace((Binary("b"), Categorical("c", ("x", "y")), Continuous("n")))
    table = pd.DataFrame({name: pd.Series([missing], dtype=object) for name in space.names})
    assert np.isnan(space.encode(table)).all()
    assert np.isnan(space.encode_row(dict.fromkeys(space.names, missing))).all()


def test_a_value_spelled_like_a_missing_one_is_that_value() -> None:
    space = LabelSpace((Categorical("hat", ("none", "cap")), Categorical("region", ("NA", "EU"))))
    table = pd.DataFrame({"hat": ["none", "cap", ""], "region": ["NA", "EU", "nan"]})
    np.testing.assert_array_equal(space.encode(table), [[0, 0], [1, 1], [np.nan, np.nan]])
    inferred = LabelSpace.infer(table[["hat"]])["hat"]
    assert inferred == Categorical("hat", ("cap", "none"))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0", "1", ""], Binary("l")),
        ([0, 1, None], Binary("l")),
        ([0.0, 1.0, math.nan], Binary("l")),
        ([True, False, None], Binary("l")),
        (["1", "1"], Binary("l")),
        ([-1, 1], Binary("l", (-1, 1))),
        (["No", "Yes", "yes"], Binary("l", ("No", "Yes"))),
        (["Absent"], Binary("l", ("Absent", "present"))),
        (["a", "b"], Categorical("l", ("a", "b"))),
        ([1, 2], Categorical("l", (1, 2))),
        ([10, 9, 2], Categorical("l", (2, 9, 10))),
        ([0, 0.5, 1], Continuous("l")),
        (list(range(30)), Continuous("l")),
        (["²", "1"], Categorical("l", (1, "²"))),
        (["007", "7"], Categorical("l", ("007", 7))),
    ],
)
def test_inferred_kinds(cells: list[object], expected: object) -> None:
    found = LabelSpace.infer(pd.DataFrame({"l": pd.Series(cells, dtype=object)}))["l"]
    if isinstance(expected, Categorical):
        assert isinstance(found, Categorical)
        assert set(found.values) == set(expected.values)
        assert list(map(type, sorted(found.values, key=str))) == list(map(type, sorted(expected.values, key=str)))
    else:
        assert found == expected


def test_inferred_classes_are_ordered_by_number() -> None:
    label = LabelSpace.infer(pd.DataFrame({"l": ["10", "9", "2"]}))["l"]
    assert label == Categorical("l", (2, 9, 10))


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["0", "0.3", "1"], "binary", Binary("l")),
        (["a", "b"], "binary", Binary("l", ("a", "b"))),
        (["0", "1"], "categorical", Categorical("l", (0, 1))),
        (["0", "1"], "continuous", Continuous("l")),
        (["1", "2"], "binary", Binary("l", (1, 2))),
    ],
)
def test_kinds_can_be_chosen(cells: list[str], kind: str, expected: object) -> None:
    assert LabelSpace.infer(pd.DataFrame({"l": cells}), {"l": kind})["l"] == expected


@pytest.mark.parametrize(
    ("cells", "kind", "message"),
    [
        (["", "NA"], None, "'l' has no observed value"),
        (["1,5", "2,25", "3"], None, r"decimal comma.*'1,5'"),
        (["1,5", "2"], "continuous", r"decimal comma.*'1,5'"),
        (["a", "b", "c"], "binary", "'l' is to be binary but has 3 values: a; b; c"),
        (["a", "1"], "continuous", "no numbers.*'a'"),
        ([f"word {i}" for i in range(30)], None, "30 different texts"),
        ([*map(str, range(40)), "unknown"], None, "no numbers.*'unknown'"),
        (["cap", "cap"], None, "'l' is constant.*cap"),
        (["a", "b"], "colour", "no such kind of label"),
    ],
)
def test_what_cannot_be_inferred_says_why(cells: list[str], kind: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace.infer(pd.DataFrame({"l": cells}), {"l": kind} if kind else None)


def test_cells_that_hold_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="'l' holds lists or the like"):
        LabelSpace.infer(pd.DataFrame({"l": [["a"], ["b"]]}))


def test_kinds_of_columns_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"kinds are given for .age., which is no label; the labels are l"):
        LabelSpace.infer(pd.DataFrame({"l": ["0", "1"]}), {"age": "binary"})


def test_columns_of_one_name_are_refused() -> None:
    table = pd.DataFrame([["0", "1"]], columns=["a", "a"])
    with pytest.raises(ValueError, match="repeated: a"):
        LabelSpace.infer(table)
    with pytest.raises(ValueError, match="more than one column 'a'"):
        LabelSpace((Binary("a"),)).encode(table)


@pytest.mark.parametrize(
    ("label", "cell", "expected"),
    [
        (Binary("l"), 0.25, 0.25),
        (Binary("l"), "0.25", 0.25),
        (Binary("l"), np.bool_(True), 1),
        (Binary("l", ("no", "yes")), "yes", 1),
        (Binary("l", ("no", "yes")), "YES", 1),
        (Binary("l", ("no", "yes")), 1, 1),
        (Binary("l", ("no", "yes")), False, 0),
        (Binary("l", (1, 2)), True, 1),
        (Binary("l", (1, 2)), "1", 0),
        (Binary("l", (1, 2)), 2.0, 1),
        (Binary("l", (-1, 1)), 0.5, 0.5),
        (Categorical("l", ("A", "a", "B")), "a", 1),
        (Categorical("l", ("A", "a", "B")), "b", 2),
        (Categorical("l", (1, 2, 3)), np.int64(3), 2),
        (Continuous("l"), "-2.5e3", -2500),
        (Continuous("l"), np.float32(2), 2),
    ],
)
def test_cells_and_their_numbers(label: Binary | Categorical | Continuous, cell: object, expected: float) -> None:
    assert LabelSpace((label,)).encode_row({"l": cell})[0] == np.float32(expected)


@pytest.mark.parametrize(
    ("label", "cell", "message"),
    [
        (Binary("l"), 2, "expected 0 or 1"),
        (Binary("l"), "maybe", "'maybe'"),
        (Binary("l"), -0.1, "expected 0 or 1"),
        (Binary("l", (1, 2)), 0, "expected 1 or 2"),
        (Binary("l", (-1, 1)), 0, "expected -1 or 1"),
        (Binary("l"), math.inf, "expected 0 or 1"),
        (Categorical("l", ("x", "y")), "z", "one of x, y, found 'z'"),
        (Categorical("l", tuple(range(40))), 99, "0, 1, 2.*…"),
        (Categorical("l", (0, 1, 2)), 0.5, "one of 0, 1, 2"),
        (Continuous("l"), "tall", "expected a number"),
        (Continuous("l"), "1,5", "decimal"),
        (Continuous("l"), math.inf, "expected a number"),
        (Continuous("l"), 1e39, "too large"),
        (Continuous("l"), "1_000", "expected a number"),
        (Continuous("l"), [1], "expected a number"),
    ],
)
def test_unknown_values_are_named(label: Binary | Categorical | Continuous, cell: object, message: str) -> None:
    space = LabelSpace((label,))
    with pytest.raises(ValueError, match=rf"label 'l': .*{message}"):
        space.encode_row({"l": cell})
    with pytest.raises(ValueError, match=rf"labels\.csv, label 'l': row 7: .*{message}"):
        space.encode(pd.DataFrame({"l": pd.Series([cell], dtype=object, index=[7])}), source="labels.csv")


def test_only_the_first_offenders_are_listed() -> None:
    table = pd.DataFrame({"l": ["maybe"] * 9})
    with pytest.raises(ValueError, match=r"row 4: .*; and 4 more"):
        LabelSpace((Binary("l"),)).encode(table)
    assert first_few(["a"]) == "a"


def test_the_index_of_a_table_names_its_rows() -> None:
    table = pd.DataFrame({"l": ["maybe"]}, index=pd.Index([12], name="line"))
    with pytest.raises(ValueError, match="line 12: "):
        LabelSpace((Binary("l"),)).encode(table)


def test_columns_that_are_not_there() -> None:
    space = LabelSpace((Binary("a"), Binary("b")))
    with pytest.raises(ValueError, match="no column for label b; the columns are a, c"):
        space.encode(pd.DataFrame({"a": [1], "c": [1]}))
    with pytest.raises(ValueError, match="no label 'c'; the labels are a, b"):
        space.encode_row({"c": 1})
    with pytest.raises(ValueError, match="no label 'c'"):
        space["c"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[0.0, 0.0]], r"expected shape \(rows, 3\)"),
        ([[1.5, 0, 0]], "'b': expected 0, 1.*row 0: 1.5"),
        ([[-0.5, 0, 0]], "'b'"),
        ([[0, 2, 0]], "'c': expected a whole number from 0 to 1"),
        ([[0, 0.5, 0]], "'c'"),
        ([[0, math.inf, 0]], "'c'"),
        ([[0, 0, -math.inf]], "'n': expected a finite number"),
    ],
)
def test_arrays_of_another_space_are_refused(array: list[list[float]], message: str) -> None:
    space = LabelSpace((Binary("b"), Categorical("c", ("x", "y")), Continuous("n")))
    space.check(np.full((2, 3), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match=message):
        space.check(np.array(array, dtype=np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelSpace(()), "at least one label"),
        (lambda: LabelSpace((Binary("a"), Continuous("a"))), "repeated: a"),
        (lambda: Binary("a", (1, "1.0")), "different values"),
        (lambda: Binary("a", ("x", "y", "z")), "needs 2 different values"),  # type: ignore[arg-type]
        (lambda: Binary("a", ("", "x")), "empty"),
        (lambda: Binary("a", prior=1.0), "strictly between 0 and 1"),
        (lambda: Categorical("a", ("x",)), "at least two"),
        (lambda: Categorical("a", ("x", "y"), (0.5, 0.6)), "sum to 1"),
        (lambda: Categorical("a", ("x", "y"), (1.0, 0.0)), "positive"),
        (lambda: Categorical("a", ("x", "y"), (math.nan, 0.5)), "positive"),
        (lambda: Continuous("a", scale=0), "scale positive"),
        (lambda: Continuous("a", mean=math.nan), "finite"),
        (lambda: Binary("", (0, 1)), "name"),
    ],
)
def test_labels_that_make_no_sense(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON"),
        ("{}", "list of labels"),
        ('[{"name": "a"}]', "kind"),
        ('[{"kind": "ordinal", "name": "a"}]', "unknown kind of label 'ordinal'"),
        ('[{"kind": "binary", "name": "a", "colour": 1}]', "colour"),
        ('[{"kind": "binary"}]', "name"),
    ],
)
def test_json_of_something_else(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace.from_json(text)


@pytest.mark.parametrize(
    ("label", "observed", "message"),
    [
        (Binary("l"), [np.nan, np.nan], "'l' has no observed value"),
        (Binary("l", ("no", "yes")), [1, 1, np.nan], "'l' is constant: all 2 observed values are yes"),
        (Categorical("l", ("x", "y")), [0, 0], "constant.*x"),
        (Continuous("l"), [3, 3], "constant.*3"),
        (Continuous("l"), [3], "constant"),
    ],
)
def test_labels_that_teach_nothing(label: Binary | Categorical | Continuous, observed: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace((label,)).with_priors(np.array(observed, dtype=np.float32)[:, None])


def test_large_tables_encode_quickly() -> None:
    from time import process_time

    space = LabelSpace(tuple(Binary(f"l{i}", (-1, 1)) for i in range(10)))
    cells = np.random.default_rng(0).choice(["-1", "1", ""], size=(20_000, 10))
    start = process_time()
    array = space.encode(pd.DataFrame(cells, columns=list(space.names)))
    assert process_time() - start < 2  # a fifth of a million cells
    np.testing.assert_array_equal(np.isnan(array), cells == "")


@pytest.mark.parametrize("form", ["{}%", "{} %", "${}.50", "{} €", "{} 200", "{}\u00a0200,5", "−{}", "{}'000"])
def test_numbers_with_signs_are_refused_with_the_remedy(form: str) -> None:
    texts = [form.format(number) for number in range(1, 60)]
    assert signs_in_numbers(texts).startswith("holds numbers with signs or blanks (")
    with pytest.raises(ValueError, match=r"'x' holds numbers with signs or blanks .*; write plain numbers, such as 45"):
        LabelSpace.infer(pd.DataFrame({"x": texts}))
    with pytest.raises(ValueError, match="input 'x' holds numbers with signs or blanks"):
        InputColumns.fit(pd.DataFrame({"x": texts}))


@pytest.mark.parametrize("text", ["12", "1.5", "-3", "1e5", "12 kg", "a 100", "2024-05-17", "12-15", "5+", "M 1", "", "v1.2%"])
def test_other_texts_are_no_numbers_with_signs(text: str) -> None:
    assert not signs_in_numbers([text])


def test_dates_as_labels_are_told_what_to_do() -> None:
    for cells in (pd.date_range("2024-01-01", periods=30), [f"{day}.05.2024" for day in range(1, 31)]):
        with pytest.raises(ValueError, match=r"holds dates .*; turn them into numbers, such as days, or leave the column out"):
            LabelSpace.infer(pd.DataFrame({"x": cells}))


def test_bytes_are_texts() -> None:
    assert LabelSpace.infer(pd.DataFrame({"x": [b"cat", b"dog", "cat"]}))["x"].values == ("cat", "dog")  # type: ignore[union-attr]


def test_a_notebook_shows_kinds_values_and_priors():
    space = LabelSpace((Binary("<on>", prior=0.25), Categorical("where", tuple("abcdefg")), Continuous("age", 40.5, 12)))
    page = space._repr_html_()
    assert "&lt;on&gt;" in page
    for shown in ("binary", "0; 1", "0.75; 0.25", "a; b; c; d; e; and 2 more", "continuous", "mean 40.5, scale 12"):
        assert f"<td>{shown}</td>" in page
