"""Columns of lists become binary labels, one for each finding."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccvae.data import findings
from ccvae.data.findings import with_findings


def read(cells: list[Any], delimiter: Any = "|", **options: Any) -> findings.Findings:
    table = pd.DataFrame({"found": cells, "other": ["a"] * len(cells)}, dtype=object)
    return with_findings(table, delimiter, ["found"], "t.csv", **options)


def test_findings_in_texts() -> None:
    found = read(["cough|fever", "fever", "", "none"])
    assert found.table.columns.tolist() == ["cough", "fever", "none", "other"]
    assert found.table["cough"].tolist() == [1, 0, None, 0]
    assert found.table["fever"].tolist() == [1, 1, None, 0]
    assert found.columns == {"found": ["cough", "fever", "none"]}
    assert found.notes == ("column 'found' lists findings: 3 binary labels (cough; fever; none)",)


def test_columns_that_are_no_labels_stay_as_they_are() -> None:
    table = pd.DataFrame({"found": ["a|b", "b"], "other": ["c|d", "d"]}, dtype=object)
    found = with_findings(table, "|", ["found"], "t.csv")
    assert found.table["other"].tolist() == ["c|d", "d"]


def test_findings_with_the_name_of_another_column_are_told_apart() -> None:
    assert read(["other|x", "x"]).columns == {"found": ["found: other", "x"]}


@pytest.mark.parametrize("lists", [[["a"], [], None, ["a", "b"]], ['["a"]', "[]", None, "['a', 'b']"]])
def test_lists_need_no_delimiter(lists: list[Any]) -> None:
    found = read(lists, None)
    assert found.table["a"].tolist() == [1, 0, None, 1]
    assert found.table["b"].tolist() == [0, 0, None, 1]


def test_lists_of_zeros_and_ones_have_a_label_for_each_place() -> None:
    found = read([np.array([0, 1]), np.array([1, 1]), None], None)
    assert found.columns == {"found": ["found 1", "found 2"]}
    assert found.table["found 1"].tolist() == [0, 1, None]
    assert found.table["found 2"].tolist() == [1, 1, None]


@pytest.mark.parametrize("text", ["[1, 2", "[a]", "[{}]", "[" * 200 + "]" * 200, "[1]" + " " * 20_000 + "]"])
def test_texts_that_only_look_like_lists_are_texts(text: str) -> None:
    assert read(["[1]", text], None).columns == {}


def test_codes_among_findings_leave_the_others_open() -> None:
    found = read(["a|?", "b", "a|b"], codes={"found": ["?"]})
    assert found.table["a"].tolist() == [1, 0, 1]
    assert found.table["b"].tolist() == [None, 1, 1]


def test_what_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"t\.csv: no cell of a label column has the delimiter '\|'"):
        read(["a", "b"])
    with pytest.raises(ValueError, match=r"delimiter names no column 'fuond' \(did you mean 'found'\?\)"):
        read(["a", "b"], {"fuond": "|"})
    with pytest.raises(ValueError, match=r"delimiter: expected a text that is not empty, such as '\|', found \[''\]"):
        read(["a", "b"], "")
    with pytest.raises(ValueError, match=r"column 'found' lists no finding in any row; leave it out"):
        read([[], [], None], None)
    monkeypatch.setattr(findings, "MOST_FINDINGS", 2)
    assert len(read(["a|b", "b"]).columns["found"]) == 2
    with pytest.raises(ValueError, match=r"lists 3 different findings \(a; b; c\); leave it out"):
        read(["a|b", "c"])
