import contextlib
import csv
import gc
import gzip
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccvae.data.tables.files import read_table


def written(tmp_path: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_cells_stay_the_texts_they_are(tmp_path: Path) -> None:
    table, name = read_table(written(tmp_path, 'id, age ,note\n0012,NA,"a, ""b"""\n7, 1.50 ,\n'))
    assert name == "labels.csv"
    assert table.columns.tolist() == ["id", "age", "note"]
    assert table.to_numpy().tolist() == [["0012", "NA", 'a, "b"'], ["7", "1.50", ""]]
    assert table.index.tolist() == [2, 3]
    assert table.index.name == "line"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_line_ends_and_byte_order_marks(tmp_path: Path, separator: str, mark: bytes, end: str) -> None:
    text = end.join(["id;größe", "a;1", "", "b;2", ""]).replace(";", separator)
    table, _ = read_table(written(tmp_path, mark + text.encode()))
    assert table.columns.tolist() == ["id", "größe"]
    assert table.to_numpy().tolist() == [["a", "1"], ["b", "2"]]
    assert table.index.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "labels.csv is empty"),
        ("\n\n", "labels.csv is empty"),
        ("id,a\n", "labels.csv has no rows"),
        ("id,a\nx,1\ny\nz,1,2\n", r"line 1 names 2 columns, but line 3 has 1; line 4 has 3 \(a decimal comma"),
        ("id;a\nx;1;2\n", r"line 1 names 2 columns, but line 2 has 3$"),
        ("id,a,a\nx,1,1\n", "repeated: 'a'"),
        ("id,a, a\nx,1,1\n", "repeated: 'a'"),
        ('id,a\nx,"1\n', "labels.csv, line 2: unexpected end of data"),
        ('id,a\nx,"1"2\n', "labels.csv, line 2: "),
        ("id,größe\nx,1\n".encode("cp1252"), r"not UTF-8 text: line 1 holds the byte 0xf6.*cp1252"),
        (b"id,a\nx,1\ny,\xe9\n", r"line 3 holds the byte 0xe9"),
        ("id,a\nx,1\n".encode("utf-16"), "is UTF-16 text"),
        (b"PK\x03\x04abc", "zip archive, such as Excel writes"),
        (b"\x1f\x8babc", "cannot be unpacked"),
        (gzip.compress(b"id,a\nx,1\n", mtime=0)[:-5], "cannot be unpacked"),
        (b"id,a\nx,\x00\n", "line 2 holds a zero byte"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(written(tmp_path, content))


def test_gzipped_files(tmp_path: Path) -> None:
    table, name = read_table(written(tmp_path, gzip.compress(b"id,a\nx,1\n", mtime=0), "t.csv.gz"))
    assert (name, table.to_numpy().tolist()) == ("t.csv.gz", [["x", "1"]])


def test_files_that_are_not_there_or_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no.csv", "no.parquet"):
        with pytest.raises(FileNotFoundError, match=f"there is no file .*{name}"):
            read_table(tmp_path / name)
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path)

    path = written(tmp_path, "a\n1\n")

    def refuse(path: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"no permission to read .*labels\.csv"):
        read_table(path)


def test_parquet_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    given = pd.DataFrame({"id": ["a", "b"], "tall": [True, None], "age": [1.5, np.nan]})
    given.to_parquet(tmp_path / "labels.parquet")
    table, name = read_table(tmp_path / "labels.parquet")
    assert name == "labels.parquet"
    pd.testing.assert_frame_equal(table.reset_index(drop=True), given, check_dtype=False)
    assert table.index.name == "row"
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "labels.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"broken\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "broken.parquet")


@pytest.mark.parametrize("stated", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n"])
def test_a_spreadsheet_says_its_separator(tmp_path: Path, stated: str) -> None:
    table, _ = read_table(written(tmp_path, stated + "id;a,b\n1;2\n3;4\n"))
    assert table.columns.tolist() == ["id", "a,b"]
    assert table.index.tolist() == [3, 4]


def test_empty_cells_after_the_last_column_are_passed_over(tmp_path: Path) -> None:
    table, _ = read_table(written(tmp_path, "x,y\n1,a,\n2,b,,\n"))
    assert table.to_numpy().tolist() == [["1", "a"], ["2", "b"]]
    with pytest.raises(ValueError, match="line 1 names 2 columns, but line 2 has 3"):
        read_table(written(tmp_path, "x,y\n1,a,c\n2,b,\n"))
    with pytest.raises(ValueError, match="are there comments above it"):
        read_table(written(tmp_path, "# written by a tool\nx,y\n1,a\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", r"pandas.read_excel\(\.\.\., dtype=str\) and pass that"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an old Excel file"),
        (b"PAR1rest", "is a Parquet file; give it the ending .parquet"),
        (b"ARROW1\0\0", "is a Feather file"),
        (b"\x89HDF\r\n", "is an HDF5 file"),
        (b'[{"x": 1}]', r"is JSON; read it yourself with pandas.read_json\("),
        (b'{"x": 1}\n{"x": 2}', "lines=True"),
    ],
)
def test_other_files_are_named_with_the_way_out(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(written(tmp_path, content))


def test_an_address_is_no_file() -> None:
    with pytest.raises(ValueError, match=r"expected a file; download it first, or read it yourself with pandas\.read_csv"):
        read_table("https://example.org/labels.csv")


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install .ccvae\[parquet\]."):
        read_table(tmp_path / "labels.parquet")


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        (None, ["a"]),
        ([7, 9], ["a"]),
        (["x", "y"], ["index", "a"]),
        (pd.Index([7, 9], name="patient"), ["patient", "a"]),
    ],
)
def test_an_index_that_says_something_becomes_a_column(index: Any, columns: list[str]) -> None:
    given = pd.DataFrame({"a": [1, 2]}, index=index)
    table, name = read_table(given)
    assert name == "table"
    assert table.columns.tolist() == columns
    assert table.attrs["index"] == columns[:-1]
    assert table.index.tolist() == [0, 1]
    assert given.columns.tolist() == ["a"]


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8).map(str.strip)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_what_pandas_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, index=False)
    table, _ = read_table(path)
    assert table.to_numpy().tolist() == [list(row) for row in rows]


odd_cells = st.text(st.sampled_from(' \t\u00a0\x1c\x85"ab\n;,'), max_size=4)


@given(st.lists(st.tuples(odd_cells, odd_cells, odd_cells), min_size=1, max_size=3), st.sampled_from(",;\t"), st.booleans())
def test_blanks_at_the_ends_of_cells_never_count(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], separator: str, quoted: bool
) -> None:
    if not quoted:
        rows = [tuple(re.sub(rf'[\n"{separator}]', "", cell) for cell in row) for row in rows]
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(separator.join("xyz") + "\n")
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_NONE
        csv.writer(file, delimiter=separator, quoting=quoting, lineterminator="\n", quotechar='"').writerows(rows)
    table, _ = read_table(path)
    assert table.to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("content", ["id,a\nx,1\n", 'id,a\nx,"1\n'])
def test_garbage_is_collected_after_reading_as_before(tmp_path: Path, content: str) -> None:
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with contextlib.suppress(ValueError):
                read_table(written(tmp_path, content))
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
