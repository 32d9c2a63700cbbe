"""Sources of data that are read in an unusual way, or refused with the reason."""

import numpy as np
import pandas as pd
import pytest
import torch

from ccvae.data.input_codes import stands_apart
from ccvae.data.loaders.device_inputs import free_memory, sent
from ccvae.data.missing_values import emptied, is_code
from ccvae.data.parsing import parse_labels
from ccvae.data.readers.arrays import items_of
from ccvae.data.tables.files import read_table


class Framed:
    """A table of another library that can become one of pandas."""

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame({" on ": ["1", "0"]})


class Counted:
    """Something that is no sequence and cannot be iterated."""


def test_tables_of_other_libraries_and_columns() -> None:
    assert read_table(Framed())[0].columns.tolist() == ["on"]  # type: ignore[arg-type]
    assert read_table(pd.Series(["1", "0"]))[0].columns.tolist() == ["label"]  # type: ignore[arg-type]
    assert read_table(pd.Series(["1", "0"], name="on"))[0].columns.tolist() == ["on"]  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="expected a table: the path of a CSV or Parquet file, or a pandas DataFrame, not list"
    ):
        read_table([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a file; download it first"):
        read_table("https://example.org/labels.csv")


def test_items_of_sequences_iterators_and_loaders() -> None:
    rows = [torch.full((2,), float(number)) for number in range(5)]
    loader = torch.utils.data.DataLoader(torch.stack(rows), batch_size=2)  # type: ignore[arg-type]
    for items in (rows, iter(rows), (row for row in rows), loader):
        assert torch.equal(torch.stack(items_of(items)), torch.stack(rows))
    for items in (None, "rows", b"rows", {"x": rows}, Counted()):
        with pytest.raises(ValueError, match="inputs must be an array, tensor, table or data set, not"):
            items_of(items)
    with pytest.raises(ValueError, match=r"items are mappings; for a data set of Hugging Face see ccvae\.data\.hugging_face"):
        items_of([{"image": rows[0]}])


def test_codes_for_missing_are_named_for_labels_there_are() -> None:
    table = pd.DataFrame({"smile": ["1", "-1", "0"], "hat": ["-1", "1", "0"]})
    with pytest.raises(
        ValueError, match=r"t: missing_values names no label 'smiel' \(did you mean 'smile'\?\); the labels are"
    ):
        emptied(table, {"smiel": [-1]}, "t")
    found, notes = emptied(table, {"smile": -1}, "t")
    assert found["smile"].tolist() == ["1", None, "0"]
    assert found["hat"].tolist() == ["-1", "1", "0"]
    assert notes == ("label 'smile': 1 cells are taken as not observed (-1)",)
    assert emptied(table, 7, "t")[1] == ("missing_values: no cell holds 7",)


def test_codes_stand_apart_from_what_is_usual() -> None:
    assert stands_apart(-1, []) is stands_apart(-1, [np.nan, np.inf]) is True, "there is nothing beside it"
    numbers = np.arange(30.0)
    assert is_code(999, numbers)
    assert is_code(-9, numbers)
    assert not is_code(5, numbers), "not a usual code"
    assert is_code(-99, np.array([-9.0])), "nothing but codes beside it"
    assert not is_code(99, np.array([88.0])), "nothing but codes, which may be numbers"
    assert not is_code(-2, np.array([-1.0, 1.0, 2.0])), "a scale from -2 to 2"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": ["1"]}), "t has one row; that is too few to learn from"),
        (pd.DataFrame({"a": ["", ""], "b": ["NA", ""]}), r"t: not one label is observed in any row \(columns: a; b\)"),
        (pd.DataFrame([["1", "0"], ["0", "1"]], columns=["a", "a"]), "column names must differ; repeated: a"),
    ],
)
def test_tables_without_labels_to_learn(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_labels(table, "t")


def test_the_cpu_has_no_memory_of_an_accelerator() -> None:
    assert free_memory(torch.device("cpu")) == 0
    assert sent(np.arange(3), torch.device("cpu")).tolist() == [0, 1, 2]
