"""Tables from files: CSV and Parquet, read strictly, so that a damaged file is refused and no cell is misread."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ccvae.labels.cells import first_few, number_of
from ccvae.storage.files import check_regular, read_beginning
from ccvae.storage.limits import check_limit, limit

__all__ = ["TABLE_SUFFIXES", "TableSource", "read_table"]

TableSource = str | Path | pd.DataFrame
"""A table: a CSV or Parquet file, or a table in memory (of pandas; of Polars or Arrow too)."""

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\r?\n', re.IGNORECASE)
"""A first line with which Excel says what separates the cells."""
PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", *PARQUET_SUFFIXES)
MOST_LINES_COMPARED = 1000
"""Lines that are compared with the first, which names the columns."""
GZIP = b"\x1f\x8b"
READ_IT = "read it yourself with pandas.{} and pass that"
MAGIC = {
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "is a zip archive, such as Excel writes; save the table as CSV, or "
    + READ_IT.format("read_excel(..., dtype=str)"),
    b"\xd0\xcf\x11\xe0": "is an old Excel file; save the table as CSV, or " + READ_IT.format("read_excel(..., dtype=str)"),
    b"PAR1": "is a Parquet file; give it the ending .parquet",
    b"ARROW1": "is a Feather file; " + READ_IT.format("read_feather(...)"),
    b"\x89HDF": "is an HDF5 file; " + READ_IT.format("read_hdf(...)"),
    b"[{": "is JSON; " + READ_IT.format("read_json(...)"),
    b"{": "is JSON; " + READ_IT.format("read_json(..., lines=True)"),
}


def read_table(source: TableSource) -> tuple[pd.DataFrame, str]:
    """A table, and what messages call it.

    A CSV file is UTF-8 text, with or without a byte order mark, gzipped or not, separated by commas, semicolons, tabs or bars,
    whichever its first line has most of; that line names the columns. Excel's line `sep=;` may stand before it. Every cell
    stays the text it is, without blanks at its ends. Blank lines, and empty cells after the last column, are passed over. The
    index of the result numbers the file's lines as an editor does.

    Args:
        source: path of a CSV or Parquet file, or a table in memory. A table's index becomes a column if it is named, or has
            texts; `attrs["index"]` has the names of such columns.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: it is not what it should be: not UTF-8, lines of different lengths, repeated or no column names, no rows.
    """
    if not isinstance(source, str | Path):
        name, table = "table", in_memory(source)
        table = with_index_as_columns(table)
    else:
        if "://" in str(source):
            raise ValueError(f"{source}: expected a file; download it first, or {READ_IT.format('read_csv(..., dtype=str)')}")
        path = Path(source).expanduser()
        name = path.name
        table = read_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else read_csv(path)
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    check_columns(table.columns.tolist(), name)
    if table.empty:
        raise ValueError(f"{name} has no rows")
    return table, name


def in_memory(source: Any) -> pd.DataFrame:
    """A copy of a table in memory.

    Raises:
        ValueError: this is no table.
    """
    if isinstance(source, pd.DataFrame):
        return source.copy()
    if isinstance(source, pd.Series):
        return source.to_frame("label" if source.name is None else source.name)
    if hasattr(source, "to_pandas"):  # of Polars, Arrow and others
        return pd.DataFrame(source.to_pandas())
    raise ValueError(f"expected a table: the path of a CSV or Parquet file, or a pandas DataFrame, not {type(source).__name__}")


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file as a table of texts, indexed by line (see `read_table`)."""
    text = text_of_file(path)
    stated = SEPARATOR_LINE.match(text)
    before = 0 if stated is None else 1
    text = text if stated is None else text[stated.end() :]
    header = text[: text.find("\n")] if "\n" in text else text
    separator = max(SEPARATORS, key=header.count) if stated is None else stated[1]
    most = limit("table_cells")
    # counted quickly before anything is parsed; separators within quotes count too, and so the factor
    check_limit("table_cells", (text.count(separator) + text.count("\n")) // 2, path.name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines, rows = [], []
    cells, stripping = 0, blanks_at_ends(text, separator)
    try:
        with without_collection():
            for row in reader:
                if row:
                    cells += len(row)
                    if cells > most:
                        check_limit("table_cells", cells, path.name)
                    lines.append(reader.line_num + before)
                    rows.append([cell.strip() for cell in row] if stripping else row)
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num + before}: {error}") from None
    if not rows:
        raise ValueError(f"{path.name} is empty")
    columns = rows.pop(0)
    if any(len(row) > len(columns) for row in rows):
        rows = [row if any(row[len(columns) :]) else row[: len(columns)] for row in rows]
    ragged = [
        f"line {line} has {len(row)}" for line, row in zip(lines[1:], rows, strict=True) if len(row) != len(columns)
    ]  # fmt: skip
    if ragged:
        hint = " (a decimal comma outside of quotes?)" if separator == "," else ""
        if len(columns) == 1:
            hint = " (the first line must name the columns; are there comments above it?)"
        raise ValueError(f"{path.name}: line {lines[0]} names {len(columns)} columns, but {first_few(ragged)}{hint}")
    check_columns(columns, path.name)
    check_header(columns, rows, path.name)
    return pd.DataFrame(rows, columns=pd.Index(columns), index=pd.Index(lines[1:], name="line"), dtype=object)


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles of garbage meanwhile: after every few hundred rows it takes long, and texts have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def blanks_at_ends(text: str, separator: str) -> bool:
    """Whether a cell may begin or end with a blank; to look for that once is much faster than to strip millions of cells."""
    blank, edge = rf"[^\S\r\n{separator}]", rf"[\r\n{separator}]"
    found = re.search(rf"{blank}(?:(?={edge})|(?<={edge}.)|(?<=\A.)|\Z)", text, re.DOTALL)
    return found is not None or '"' in text  # what quotes may hold is more than that


def text_of_file(path: Path) -> str:
    """A file's text, which must be UTF-8."""
    most = limit("table_bytes")
    content = read_beginning(path, most + 1)
    if content.startswith(GZIP):
        try:
            with gzip.open(path) as unpacked:  # no more than the limit: a small file can unpack to any size
                content = unpacked.read(most + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path.name} cannot be unpacked: {error}") from None
    check_limit("table_bytes", len(content), path.name)
    for start, what in MAGIC.items():
        if content.startswith(start):
            raise ValueError(f"{path.name} {what}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name} is not UTF-8 text: line {line} holds the byte 0x{content[error.start]:02x}; save it as UTF-8, "
            f"or read it yourself with pandas.read_csv(..., dtype=str, encoding='cp1252') and pass that"
        ) from None
    if "\0" in text:
        raise ValueError(f"{path.name} is no text: line {text.count(chr(10), 0, text.index(chr(0))) + 1} holds a zero byte")
    return text


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as a table."""
    check_regular(path)
    try:
        import pyarrow.parquet

        about = pyarrow.parquet.read_metadata(path)
        groups = [about.row_group(number).total_byte_size for number in range(about.num_row_groups)]
        check_limit("table_cells", about.num_rows * about.num_columns, path.name)
        check_limit("table_bytes", sum(groups), path.name)
        table = pd.read_parquet(path)
    except ImportError:
        raise ValueError(f"reading {path.name} takes pyarrow: pip install 'ccvae[parquet]', or save the table as CSV") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except PermissionError:
        raise PermissionError(f"no permission to read {path}") from None
    except (OSError, ValueError, NotImplementedError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path.name} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    return with_index_as_columns(table)


def with_index_as_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose index became columns, if it is named, or has texts; numbered by rows."""
    before = len(table.columns)
    if any(name is not None for name in table.index.names) or not pd.api.types.is_numeric_dtype(table.index):
        table = table.reset_index()
    table.attrs = {"index": [str(name).strip() for name in table.columns[: len(table.columns) - before]]}
    table.index = pd.RangeIndex(len(table), name="row")
    return table


def check_header(columns: Sequence[str], rows: Sequence[Sequence[str]], source: str) -> None:
    """Raise `ValueError` if the first line looks like a row: its cells are among those below them, or numbers above numbers.

    Numbers that rise or fall from column to column, such as years or wavelengths, are names, and so are 0, 1, 2, ….
    """
    numbers = [number_of(column) for column in columns]
    named = [number for number in numbers if number is not None]
    steps = [after - before for before, after in pairwise(named)]
    if steps and (set(steps) == {1} or (len(steps) > 1 and (min(steps) > 0 or max(steps) < 0))):
        return
    few = rows[:MOST_LINES_COMPARED]

    def is_cell(place: int) -> bool:
        below = [row[place] for row in few]
        if numbers[place] is not None:
            return all(number_of(cell) is not None for cell in below if cell)
        return below.count(columns[place]) > 1

    fractions = [place for place, number in enumerate(numbers) if number is not None and not number.is_integer()]
    suspicious = any(map(is_cell, fractions)) or all(is_cell(place) for place, column in enumerate(columns) if column)
    if named and len(few) > 1 and suspicious:
        raise ValueError(
            f"{source}: the first line, {first_few([repr(column) for column in columns])}, looks like a row; add a line above "
            f"it that names the columns"
        )


def check_columns(columns: Sequence[str], source: str) -> None:
    """Raise `ValueError` if column names repeat."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise ValueError(f"{source}: column names must differ; repeated: {first_few([repr(column) for column in repeated])}")
