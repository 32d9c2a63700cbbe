import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccvae.data import arrays, table
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical
from ccvae.model.inputs.columns import InputColumns

GENERATOR = np.random.default_rng(0)
PATIENTS = pd.DataFrame(
    {
        "patient": [f"p{row}" for row in range(40)],
        "age": GENERATOR.normal(60, 10, 40).round(1),
        "ward": GENERATOR.choice(["a", "b", "c"], 40),
        "ill": np.where(GENERATOR.random(40) < 0.3, "", GENERATOR.choice(["no", "yes"], 40)),
        "stage": GENERATOR.choice(["1", "2", "3"], 40),
    }
)


def test_rows_become_vectors(tmp_path: Path) -> None:
    PATIENTS.to_csv(tmp_path / "patients.csv", index=False)
    data = table(tmp_path / "patients.csv", ["ill", "stage"], id_column="patient")
    assert data.input_shape == (4,)
    assert data.name == "patients"
    assert data.ids.tolist() == PATIENTS["patient"].tolist()
    assert [type(label) for label in data.space] == [Binary, Categorical]
    assert np.isnan(data.labels[:, 0]).tolist() == (PATIENTS["ill"] == "").tolist()
    train = data.splits["train"]
    ages = PATIENTS["age"].to_numpy()
    np.testing.assert_allclose(data.inputs[:, 0], (ages - ages[train].mean()) / ages[train].std(), atol=1e-5)
    np.testing.assert_array_equal(data.inputs[:, 1:], [[ward == value for value in "abc"] for ward in PATIENTS["ward"]])
    assert data.columns is not None
    assert data.columns.features == ("age", "ward=a", "ward=b", "ward=c")


def test_new_rows_are_encoded_alike(tmp_path: Path) -> None:
    known = table(PATIENTS, ["ill"], id_column="patient", inputs=["age", "ward"])
    again = table(
        PATIENTS.iloc[:5], ["ill"], id_column="patient", inputs=["age", "ward"], columns=known.columns, space=known.space
    )
    np.testing.assert_array_equal(again.inputs, known.inputs[:5])
    assert again.space == known.space
    assert known.columns is not None
    assert InputColumns.from_entries(json.loads(known.columns.to_json())) == known.columns


def test_missing_inputs() -> None:
    holes = PATIENTS.assign(age=PATIENTS["age"].where(PATIENTS.index % 4 > 0))
    with pytest.raises(ValueError, match="table: inputs are missing: age in row 0; age in row 4"):
        table(holes, ["stage"], inputs=["age", "ward"])
    data = table(holes, ["stage"], inputs=["age", "ward"], missing="mean")
    assert (data.inputs[::4, 0] == 0).all()
    assert "10 missing inputs, given their column's mean" in data.notes


def test_choices() -> None:
    data = table(
        PATIENTS.assign(part=["train"] * 30 + ["valid"] * 5 + ["test"] * 5, constant="7"),
        "stage",
        inputs=["age", "constant"],
        kinds={"stage": "continuous"},
        split_column="part",
        name="mine",
        labelled=20,
    )
    assert data.name == "mine"
    assert data.space["stage"].kind == "continuous"
    assert [len(data.splits[split]) for split in SPLITS] == [30, 5, 5]
    assert (data.inputs[:, 1] == 0).all()
    assert "inputs that are constant in training: constant" in data.notes
    assert (~np.isnan(data.labels[:30, 0])).sum() == 20
    grouped = table(PATIENTS, ["stage"], inputs=["age"], group_column="ward")
    assert grouped.groups is not None
    assert len({*grouped.groups[grouped.splits["train"]]} & {*grouped.groups[grouped.splits["test"]]}) == 0


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"labels": []}, "say which columns are labels; its columns are patient, age"),
        ({}, {"labels": ["cough"]}, "has no column 'cough'"),
        ({}, {"inputs": ["weight"]}, "has no column 'weight'"),
        ({}, {"inputs": ["ill", "age"]}, "column 'ill' cannot be"),
        ({}, {"id_column": None, "inputs": ["age", "patient"]}, "input 'patient' has 40 different texts"),
        ({"patient": ["p0"] * 40}, {}, "ids must differ; repeated: p0"),
        ({"patient": [""] * 40}, {}, "ids are missing: row 0"),
        ({"age": ["12,5"] * 40}, {}, "input 'age' holds numbers with a decimal comma"),
        ({"ill": ["yes"] * 40}, {}, "label 'ill' is constant"),
        ({"ill": [""] * 40}, {}, "not one label is observed"),
    ],
)
def test_bad_tables(changes: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    given = {"labels": ["ill"], "id_column": "patient"} | arguments
    with pytest.raises(ValueError, match=message):
        table(PATIENTS.assign(**changes), **given)


def test_one_row() -> None:
    with pytest.raises(ValueError, match="one row"):
        table(PATIENTS.iloc[:1], ["ill"], id_column="patient")


def test_an_index_names_rows_and_is_no_input() -> None:
    rows = pd.DataFrame({"x": np.arange(60) * 1.5, "y": ["a", "b"] * 30})
    named = table(rows.set_axis(pd.Index([f"p{row}" for row in range(60)], name="patient")), ["y"])
    assert (named.input_shape, named.ids[0]) == ((1,), "p0")
    assert table(rows.set_axis(pd.Index(range(100, 160), name="patient")), ["y"]).ids[0] == "100"
    eyes = pd.MultiIndex.from_product([range(30), ["left", "right"]], names=["patient", "eye"])
    both = table(rows.set_axis(eyes), ["y"], group_column="patient")
    assert (both.input_shape, both.ids[0]) == ((1,), "0")
    assert table(rows.set_axis(eyes), ["y"], inputs=["x", "eye"]).input_shape == (3,)
    assert table(rows.set_index("y").sort_index(), ["y"]).space.names == ("y",)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "...1"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_is_no_input_and_no_label(tmp_path: Path, name: str, first: int) -> None:
    rows = pd.DataFrame({name: np.arange(first, 60 + first), "x": np.arange(60) * 1.5, "y": ["a", "b"] * 30})
    rows.to_csv(tmp_path / "t.csv", index=False)
    data = table(tmp_path / "t.csv", ["y"])
    assert data.input_shape == (1,)
    assert f"column {name!r} counts the rows, and is no input" in data.notes
    labels = arrays(np.zeros((60, 2)), rows)
    assert labels.space.names == ("x", "y")
    assert f"column {name!r} counts the rows, and is no label" in labels.notes
    shuffled = rows.assign(**{name: rows[name].to_numpy()[::-1]})
    assert table(shuffled, ["y"]).input_shape == (2,), "it does not count them"


def test_names_of_rows_among_inputs_and_labels_are_pointed_out() -> None:
    rows = pd.DataFrame({"Patient ID": np.arange(60) // 2, "x": np.arange(60) * 1.5, "y": ["a", "b"] * 30})
    [warning] = table(rows, ["y"]).warnings
    assert warning.startswith("input 'Patient ID' seems to name rows or groups of them; leave it out with exclude=")
    assert not table(rows, ["y"], group_column="Patient ID").warnings
    assert not table(rows, ["y"], inputs=["Patient ID", "x"]).warnings
    [warning] = arrays(np.zeros((60, 2)), rows).warnings
    assert warning.startswith("label 'Patient ID' seems to name")


def test_columns_may_be_named_by_numbers() -> None:
    rows = pd.DataFrame(np.column_stack([np.arange(60) * 1.5, np.arange(60) % 2]))
    assert table(rows, [1], kinds={1: "categorical"}).space.names == ("1",)  # type: ignore[list-item,dict-item]


def test_several_values_in_a_cell_are_no_input() -> None:
    rows = pd.DataFrame({"v": [[row, 2] for row in range(60)], "x": np.arange(60) * 1.5, "y": ["a", "b"] * 30})
    assert any("'v' holds several values in a cell" in note for note in table(rows, ["y"]).notes)


@pytest.mark.skipif(importlib.util.find_spec("river") is None, reason="river, which brings the Yeast data, is not installed")
def test_the_real_yeast_data() -> None:
    found = importlib.util.find_spec("river")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0], "datasets", "yeast.csv.gz")
    labels = [f"Class{number}" for number in range(1, 15)]
    data = table(path, labels, labelled=0.1)
    assert data.input_shape == (103,)
    assert len(data) == 2417
    assert all(isinstance(label, Binary) for label in data.space)
    assert abs(data.inputs[data.splits["train"]].std(axis=0) - 1).max() < 1e-3
    content = pd.read_csv(path)
    np.testing.assert_array_equal(data.labels[data.splits["test"]], content[labels].to_numpy()[data.splits["test"]])
