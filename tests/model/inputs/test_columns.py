import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccvae.model.inputs.column_kinds import Category, Number
from ccvae.model.inputs.columns import InputColumns, fit_columns
from ccvae.model.inputs.dates import Date
from ccvae.model.inputs.missing_cells import MissingRule

TABLE = pd.DataFrame(
    {
        "height": ["1.5", "1.7", "", "1.9"],
        "sex": ["f", "m", "f", ""],
        "tall": [False, True, None, True],
        "site": ["1", "2", "2", "2"],
    }
)


def test_numbers_are_standardised_and_categories_spread_out() -> None:
    columns = InputColumns.fit(TABLE, "mean", {"site": "category"})
    assert columns.features == ("height", "sex=f", "sex=m", "tall=False", "tall=True", "site=1", "site=2")
    heights = np.array([1.5, 1.7, 1.9])
    scaled = (heights - heights.mean()) / heights.std()
    expected = [
        [scaled[0], 1, 0, 1, 0, 1, 0],
        [scaled[1], 0, 1, 0, 1, 0, 1],
        [0, 1, 0, 1 / 3, 2 / 3, 0, 1],
        [scaled[2], 2 / 3, 1 / 3, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(columns.encode(TABLE), expected, atol=1e-6)


@pytest.mark.parametrize(
    "cells",
    [
        [True, False, True],
        ["True", "False", "True"],
        ["true", "FALSE", " True "],
        pd.array([True, False, True], dtype="boolean"),
        np.array([True, False, True]),
        [1, 0, 1],
        ["1", "0", "1.0"],
    ],
)
def test_true_and_false_are_read_as_values_and_as_text_and_given_back(cells: Any) -> None:
    for trained in ([True, False, True], ["True", "False", "True"], ["true", "false", "true"]):
        columns = InputColumns.fit(pd.DataFrame({"smoker": trained}))
        vectors = columns.encode(pd.DataFrame({"smoker": cells}))
        np.testing.assert_array_equal(vectors, [[0, 1], [1, 0], [0, 1]])
        assert columns.decode(vectors)["smoker"].tolist() == [True, False, True]
        assert InputColumns.from_entries(json.loads(columns.to_json())) == columns


def test_categories_are_found_whatever_their_case_and_near_ones_are_named() -> None:
    columns = InputColumns.fit(pd.DataFrame({"size": ["small", "large", "small"]}))
    np.testing.assert_array_equal(columns.encode(pd.DataFrame({"size": ["Small", "LARGE "]})), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"found 'smal' \(did you mean 'small'\?\)"):
        columns.encode(pd.DataFrame({"size": ["smal"]}))
    with pytest.raises(ValueError, match=r"no input column size \(did you mean 'Size'\?\)"):
        columns.encode(pd.DataFrame({"Size": ["small"]}))
    with pytest.raises(ValueError, match="column names must differ; repeated: size"):
        columns.encode(pd.DataFrame([["small", "large"]], columns=["size", "size"]))
    upper = InputColumns.fit(pd.DataFrame({"size": ["s", "S", "m"]}))
    with pytest.raises(ValueError, match="expected one of S, m, s"):
        upper.encode(pd.DataFrame({"size": ["M ", "L"]}))


def test_numbers_with_commas_are_told_how_to_be_written() -> None:
    columns = InputColumns.fit(pd.DataFrame({"income": [1000.0, 2000.0]}))
    with pytest.raises(ValueError, match="found '1,000', with a thousands separator; write them without separators"):
        columns.encode(pd.DataFrame({"income": ["1,000"]}))


def test_statistics_come_from_the_rows_of_training_and_categories_from_all() -> None:
    columns = InputColumns.fit(TABLE[["height", "sex"]], "mean", rows=np.array([0, 2]))
    assert columns.columns == (Number("height", 1.5, 0.0), Category("sex", ("f", "m"), (1.0, 0.0)))
    np.testing.assert_allclose(columns.encode(TABLE.iloc[[3]]), [[0.4, 1, 0]], atol=1e-6)


def test_missing_inputs_are_refused_unless_asked_for() -> None:
    table = TABLE.set_axis(pd.Index([2, 3, 4, 5], name="line"), axis=0)
    with pytest.raises(
        ValueError, match=r"t\.csv: inputs are missing: height in line 4; sex in line 5; tall in line 4.*missing='mean'"
    ):
        InputColumns.fit(table).encode(table, "t.csv")


@pytest.mark.parametrize("missing", ["refuse", "mean"])
def test_json_keeps_everything(missing: str) -> None:
    columns = InputColumns.fit(TABLE, missing)  # type: ignore[arg-type]
    assert InputColumns.from_entries(json.loads(columns.to_json())) == columns


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_standardised_columns_have_mean_0_and_variance_1_or_0(numbers: list[float]) -> None:
    table = pd.DataFrame({"x": numbers})
    columns = InputColumns.fit(table)
    encoded = columns.encode(table).astype(np.float64)
    assert np.isfinite(encoded).all()
    (column,) = columns.columns
    assert isinstance(column, Number)
    assert abs(encoded.mean()) < 1e-4
    assert column.constant or abs(encoded.std() - 1) < 1e-4


def test_a_column_constant_up_to_rounding_is_constant() -> None:
    (column,) = InputColumns.fit(pd.DataFrame({"x": [0.1] * 7})).columns
    assert column == Number("x", pytest.approx(0.1), 0.0)


@pytest.mark.parametrize(
    ("cells", "kinds", "message"),
    [
        (["", "NA"], {}, "'x' has no value to learn from"),
        (["1", "2", "?"], {}, r"'x' holds numbers, but also '\?'; if that means missing, pass missing_values=\['\?'\]"),
        (["a", "b"], {"x": "number"}, "'x' holds numbers, but also 'a'; 'b'"),
        (["1,5", "2,5"], {}, "decimal comma"),
        (["1", "2", "inf"], {}, "'x' holds numbers, but also 'inf'"),
        ([f"word {row}" for row in range(60)], {}, "has 60 different texts"),
        (["1"], {"x": "colour"}, "no such input column, or kind"),
        (["1"], {"y": "number"}, "no such input column, or kind"),
    ],
)
def test_columns_that_cannot_be_inputs(cells: list[str], kinds: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputColumns.fit(pd.DataFrame({"x": cells}), kinds=kinds)


def test_new_rows_that_do_not_fit() -> None:
    columns = InputColumns.fit(TABLE[["sex", "site"]], "mean")
    with pytest.raises(ValueError, match="input 'sex': row 0: expected one of f, m, found 'x'"):
        columns.encode(pd.DataFrame({"sex": ["x"], "site": ["1"]}))
    with pytest.raises(ValueError, match="input 'site': row 0: expected a number, found 'one'"):
        columns.encode(pd.DataFrame({"sex": ["f"], "site": ["one"]}))
    with pytest.raises(ValueError, match="new has no input column sex"):
        columns.encode(pd.DataFrame({"site": ["1"]}), "new")


def test_columns_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="at least one input column"):
        InputColumns(())
    with pytest.raises(ValueError, match="missing must be one of refuse, mean"):
        InputColumns.fit(TABLE, "drop")  # type: ignore[arg-type]


RULES = {"x": MissingRule((-999, "?")), "c": MissingRule(("unknown",), False)}


def test_codes_for_missing_are_named_by_column_and_kept_for_new_rows() -> None:
    trained = pd.DataFrame({"x": ["1", "3", "-999.0", "?", "NA"], "c": ["None", "a", "Unknown", "a", "None"]})
    columns = InputColumns.fit(trained, "mean", rules=RULES)
    assert columns.columns == (Number("x", 2.0, 1.0, RULES["x"]), Category("c", ("None", "a"), (0.5, 0.5), RULES["c"]))
    new = pd.DataFrame({"x": [-999, 3, "na", None], "c": ["UNKNOWN", "None", "a", ""]})
    with pytest.raises(ValueError, match="row 2: expected a number, found 'na'"):
        columns.encode(new)
    expected = [[0, 0.5, 0.5], [1, 1, 0], [0, 0, 1], [0, 0.5, 0.5]]
    again = InputColumns.from_entries(json.loads(columns.to_json()))
    assert again == columns
    np.testing.assert_array_equal(again.encode(new.assign(x=[-999, 3, "NA", None])), expected)


def test_words_among_numbers_stay_missing_where_codes_are_named_by_column() -> None:
    columns = InputColumns.fit(pd.DataFrame({"x": ["1", "3", "999", "NA"]}), "mean", rules={"x": MissingRule((999,), False)})
    assert columns.columns == (Number("x", 2.0, 1.0, MissingRule((999,))),)


def test_missing_words_are_named_with_the_way_out() -> None:
    table = pd.DataFrame({"alley": ["None", "gravel", "paved", "None"]})
    with pytest.raises(ValueError, match=r"read as missing: 'None' in 'alley'; .* missing_values=\{'alley': \[\]\}"):
        InputColumns.fit(table).encode(table)
    columns = InputColumns.fit(table, rules={"alley": MissingRule((), False)})
    assert columns.features == ("alley=None", "alley=gravel", "alley=paved")


DAYS = pd.date_range("2024-02-27", periods=4)


@pytest.mark.parametrize(
    "cells",
    [
        DAYS,
        DAYS.date,
        DAYS.strftime("%Y-%m-%d"),
        DAYS.to_numpy(dtype="datetime64[D]").astype(object),
        pd.array(DAYS, dtype="timestamp[ms][pyarrow]"),
        [np.datetime64(day, "s") for day in DAYS],
        DAYS.strftime("%Y-%m-%d 00:00:00"),
    ],
)
def test_dates_become_days_and_dates_again(cells: Any) -> None:
    table = pd.DataFrame({"visit": pd.Series(cells, dtype=None if hasattr(cells, "dtype") else object)})
    columns = InputColumns.fit(table)
    [column] = columns.columns
    assert column == Date("visit", DAYS[0].timestamp() / 86400 + 1.5, 1.25**0.5)
    vectors = columns.encode(table)
    np.testing.assert_allclose(vectors[:, 0], (np.arange(4) - 1.5) / 1.25**0.5, rtol=1e-6)
    assert columns.decode(vectors)["visit"].tolist() == DAYS.tolist()
    assert InputColumns.from_entries(json.loads(columns.to_json())) == columns
    assert InputColumns.fit(table, kinds={"visit": "category"}).features[0].startswith("visit=2024-02-27")


def test_times_of_day_and_zones_are_kept() -> None:
    for zone, tail in (("", ""), ("+01:00", " 00:30:00+00:00")):
        cells = [
            f"2024-02-28T01:30:00{zone}",
            f"2024-03-01 12:00:00{zone}",
            f"2024-03-02T00:00{zone}",
            "-",
            "NaT",
            "2024-02-30",
        ]
        with pytest.raises(
            ValueError, match=r"holds dates, but also '-'; '2024-02-30'; if that means missing, pass missing_values"
        ):
            InputColumns.fit(pd.DataFrame({"x": cells}))
        columns = InputColumns.fit(pd.DataFrame({"x": cells[:5]}), "mean", rules={"x": MissingRule(("-",))})
        assert str(columns.decode(columns.encode(pd.DataFrame({"x": cells[:2]})))["x"][0]).endswith(tail or "01:30:00")
        aware = pd.DataFrame({"x": pd.to_datetime(["2024-02-28T00:30:00Z"])})
        if zone:
            np.testing.assert_array_equal(columns.encode(aware), columns.encode(pd.DataFrame({"x": cells[:1]})))
        else:
            with pytest.raises(ValueError, match="row 0: expected a date without a time zone"):
                columns.encode(aware)
    with pytest.raises(ValueError, match="with and without a time zone"):
        InputColumns.fit(pd.DataFrame({"x": ["2024-02-28", "2024-02-28T00:30:00Z"]}))


def test_a_date_that_does_not_exist_is_no_other_way_of_writing() -> None:
    cells = ["2024-01-01", "2024-02-01", "2024-03-01", "0000-00-00"]
    with pytest.raises(ValueError, match=r"holds dates, but also '0000-00-00'; if that means missing, pass missing_values="):
        InputColumns.fit(pd.DataFrame({"x": cells}))


def test_dates_far_away_have_an_end() -> None:
    columns = InputColumns.fit(pd.DataFrame({"x": ["0001-01-01", "9999-12-31"]}))
    years = columns.decode(np.array([[-1e30], [-1], [1], [1e30]]))["x"].dt.year
    assert years.tolist() == [1, 1, 9999, 9999]


def test_numbers_are_dates_where_the_user_says_so() -> None:
    table = pd.DataFrame({"x": [20240228, 20240301.0, "20240229"]})
    columns = InputColumns.fit(table, kinds={"x": "date"})
    assert columns.decode(columns.encode(table))["x"].astype(str).tolist() == ["2024-02-28", "2024-03-01", "2024-02-29"]
    with pytest.raises(ValueError, match="is to be dates, such as 2024-05-17, but holds '17'"):
        InputColumns.fit(pd.DataFrame({"x": [20240228, 17]}), kinds={"x": "date"})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["03/04/2024", "13/04/2024 10:30"],
            "dates that may be read in several ways .'03/04/2024', '13/04/2024 10:30'.; write",
        ),
        (["3.4.24", "5.6.24"], "dates that may be read in several ways"),
        ([pd.Timedelta(hours=3), pd.Timedelta(days=3)], "holds durations"),
    ],
)
def test_other_dates_and_durations_are_left_out_with_the_remedy(cells: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputColumns.fit(pd.DataFrame({"x": pd.Series(cells, dtype=object)}))


@pytest.mark.parametrize(
    "change",
    [
        {"missing_values": "?"},
        {"missing_values": [None]},
        {"missing_words": 1},
        {"unit": "days", "time": 1},
        {"unit": "days", "time": True, "zone": False, "mean": 1e9},
    ],
)
def test_damaged_rules_and_dates_are_refused(change: dict[str, Any]) -> None:
    entry = {"name": "x", "mean": 1.0, "scale": 1.0} | change
    with pytest.raises(ValueError, match="expected"):
        InputColumns.from_entries({"missing": "mean", "columns": [entry]})


def test_many_different_texts_are_looked_at_in_linear_time() -> None:
    """A column of this many took hours once, for each text was looked for in a list of all."""
    columns = fit_columns(
        pd.DataFrame({"x": np.arange(100_000.0), "t": [f"text {n}" for n in range(100_000)]}), drop_unusable=True
    )
    assert columns[0].names == ("x",)
