"""Labels: their names, kinds, values and priors, and how a table of them becomes an array and back.

A label is `Binary`, `Categorical` or `Continuous`; a `LabelSpace` is an ordered tuple of labels. As an array, labels are
`(rows, labels)` floats: 0 or 1 (or, between them, the probability of 1) for a binary label, the position of the class
for a categorical one, the number itself for a continuous one, and NaN wherever the label was *not observed*.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

__all__ = ["Binary", "Categorical", "Continuous", "Label", "LabelSpace", "Value"]

Value = str | int
"""A value of a binary or categorical label, as tables and results show it."""

NEGATIVE_AND_POSITIVE = (("0", "1"), ("-1", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("absent", "present"),
                         ("negative", "positive"))  # fmt: skip
# what pandas.read_csv takes for a missing value, in the spellings that labels may meet; "none" is a value to it, and to us
MISSING_TEXTS = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "#NA"})
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
LARGEST_NUMBER = float(np.finfo(np.float32).max)
MOST_INFERRED_CLASSES = 20
SHOWN_OFFENDERS = 5


@dataclass(frozen=True)
class Binary:
    """A label that holds or does not.

    Args:
        name: the column's name.
        values: what a table shows when it does not hold, and when it does.
        prior: p(y = 1), in (0, 1).
    """

    kind: ClassVar[str] = "binary"
    name: str
    values: tuple[Value, Value] = (0, 1)
    prior: float = 0.5

    def __post_init__(self) -> None:
        check_values(self.name, self.values, exactly=2)
        if not 0 < self.prior < 1:
            raise ValueError(f"label {self.name!r}: prior must lie strictly between 0 and 1, not {self.prior}")

    @property
    def priors(self) -> tuple[float, ...]:
        """Prior probability of each value."""
        return (1 - self.prior, self.prior)

    def with_prior(self, observed: np.ndarray) -> Binary:
        """This label with its prior fitted to observed entries, with add-one smoothing."""
        return replace(self, prior=float((observed.sum() + 1) / (len(observed) + 2)))

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` if it is none of the values, true or false, nor a probability."""
        if isinstance(cell, bool | np.bool_):
            return float(cell)
        position = position_of(cell, self.values)
        if position is not None:
            return float(position)
        number = number_of(cell)
        # where the values are numbers, such as 1 and 2, a cell of 0 is more likely a code for something else than "surely not"
        certain_allowed = not any(isinstance(value, int) for value in self.values)
        if number is not None and (0 < number < 1 or (certain_allowed and number in (0, 1))):
            return number
        raise ValueError(f"expected {self.values[0]} or {self.values[1]} (or a probability), found {cell!r}")

    def decode(self, number: float) -> Value:
        """Value that a number of the array stands for."""
        return self.values[int(number >= 0.5)]


@dataclass(frozen=True)
class Categorical:
    """A label with one of several values.

    Args:
        name: the column's name.
        values: the classes, in the order of their numbers.
        prior: p(y) of each class; uniform if not given.
    """

    kind: ClassVar[str] = "categorical"
    name: str
    values: tuple[Value, ...]
    prior: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_values(self.name, self.values)
        if not self.prior:
            object.__setattr__(self, "prior", (1 / len(self.values),) * len(self.values))
        if len(self.prior) != len(self.values) or min(self.prior) <= 0 or not math.isclose(sum(self.prior), 1, abs_tol=1e-6):
            raise ValueError(
                f"label {self.name!r}: prior must be {len(self.values)} positive numbers that sum to 1, not {self.prior}"
            )

    @property
    def priors(self) -> tuple[float, ...]:
        """Prior probability of each value."""
        return self.prior

    def with_prior(self, observed: np.ndarray) -> Categorical:
        """This label with its prior fitted to observed entries, with add-one smoothing."""
        counts = np.bincount(observed.astype(int), minlength=len(self.values)) + 1
        return replace(self, prior=tuple(float(p) for p in counts / counts.sum()))

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` if it is none of the values."""
        position = position_of(cell, self.values)
        if position is None:
            shown = ", ".join(map(str, self.values[:12])) + (", …" if len(self.values) > 12 else "")
            raise ValueError(f"expected one of {shown}, found {cell!r}")
        return float(position)

    def decode(self, number: float) -> Value:
        """Value that a number of the array stands for."""
        return self.values[int(number)]


@dataclass(frozen=True)
class Continuous:
    """A label that is a number.

    Args:
        name: the column's name.
        mean: mean of p(y), in the label's own units.
        scale: standard deviation of p(y), positive, in the label's own units.
    """

    kind: ClassVar[str] = "continuous"
    name: str
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.name)
        if not (math.isfinite(self.mean) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"label {self.name!r}: mean must be finite and scale positive, not {self.mean} and {self.scale}")

    def with_prior(self, observed: np.ndarray) -> Continuous:
        """This label with its prior's mean and scale fitted to observed entries."""
        scale = float(observed.std()) if len(observed) > 1 else 0.0
        return replace(self, mean=float(observed.mean()), scale=scale or 1.0)

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` if it is no finite number."""
        number = number_of(cell)
        if number is None or not math.isfinite(number):
            hint = "; write a decimal point, not a decimal comma" if DECIMAL_COMMA.fullmatch(text_of(cell)) else ""
            raise ValueError(f"expected a number, found {cell!r}{hint}")
        if abs(number) > LARGEST_NUMBER:
            raise ValueError(f"the number {cell!r} is too large; give the label in another unit")
        return number

    def decode(self, number: float) -> float:
        """The number itself."""
        return float(number)


Label = Binary | Categorical | Continuous
KINDS: dict[str, Callable[..., Label]] = {kind.kind: kind for kind in (Binary, Categorical, Continuous)}


@dataclass(frozen=True)
class LabelSpace:
    """The labels of a data set or model, in order.

    Args:
        labels: the labels; names must differ.

    >>> space = LabelSpace((Binary("Smiling"), Categorical("hat", ("none", "cap", "turban")), Continuous("age", 40, 12)))
    >>> space.encode(pd.DataFrame({"hat": ["cap", None], "age": [31, None], "Smiling": [None, "1"]}))
    array([[nan,  1., 31.],
           [ 1., nan, nan]], dtype=float32)
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("a label space needs at least one label")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"label names must differ; repeated: {', '.join(repeated)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(label.name for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __getitem__(self, name: str) -> Label:
        return self.labels[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a label; raises `ValueError` naming those there are."""
        if name not in self.names:
            raise ValueError(f"no label {name!r}; the labels are {', '.join(self.names)}")
        return self.names.index(name)

    def encode(self, table: pd.DataFrame, source: str = "table") -> np.ndarray:
        """Array of a table's labels.

        Args:
            table: one column a label (others are ignored); an empty cell, NaN or None is *not observed*.
            source: what error messages call the table.

        Returns:
            float32 `(rows, labels)`, NaN where not observed.

        Raises:
            ValueError: a column is missing, or cells hold unknown values (the first few rows are named).
        """
        absent = [name for name in self.names if name not in table.columns]
        if absent:
            raise ValueError(
                f"{source}: no column for label {', '.join(absent)}; the columns are {', '.join(map(str, table.columns))}"
            )
        array = np.full((len(table), len(self)), np.nan, dtype=np.float32)
        row_name = table.index.name or "row"
        for column, label in enumerate(self):
            cells = table[label.name]
            if isinstance(cells, pd.DataFrame):
                raise ValueError(f"{source}: more than one column {label.name!r}")
            # object columns may hold 1 and True, which factorize takes for the same
            codes, distinct = (
                (np.arange(len(cells)), cells) if cells.dtype == object else pd.factorize(cells, use_na_sentinel=False)
            )
            numbers, wrong = encode_cells(label, distinct.tolist())
            if wrong:
                rows = [(row, wrong[code]) for row, code in enumerate(codes.tolist()) if code in wrong]
                offenders = [f"{row_name} {table.index[row]}: {error}" for row, error in rows]
                raise ValueError(f"{source}, label {label.name!r}: {first_few(offenders)}")
            array[:, column] = np.array(numbers, dtype=np.float32)[codes]
        return array

    def encode_row(self, given: Mapping[str, Any]) -> np.ndarray:
        """Array `(labels,)` of values keyed by label name; labels not named, or given as None, are NaN.

        >>> LabelSpace((Binary("a"), Binary("b"))).encode_row({"b": 1})
        array([nan,  1.], dtype=float32)
        """
        row = np.full(len(self), np.nan, dtype=np.float32)
        for name, value in given.items():
            column = self.index(name)
            (row[column],), wrong = encode_cells(self.labels[column], [value])
            if wrong:
                raise ValueError(f"label {name!r}: {wrong[0]}")
        return row

    def decode(self, array: np.ndarray) -> pd.DataFrame:
        """Table of an array's labels: one column a label, None where not observed."""
        return pd.DataFrame(
            {
                label.name: pd.Series(
                    [None if math.isnan(number) else label.decode(number) for number in array[:, column].tolist()],
                    dtype=float if isinstance(label, Continuous) else object,
                )
                for column, label in enumerate(self)
            }
        )

    def check(self, array: np.ndarray, source: str = "labels") -> None:
        """Raise `ValueError` unless the array has this space's shape and every entry is NaN or a value of its label."""
        if array.ndim != 2 or array.shape[1] != len(self):
            raise ValueError(f"{source}: expected shape (rows, {len(self)}), found {array.shape}")
        for column, label in enumerate(self):
            entries = array[:, column]
            with np.errstate(invalid="ignore"):
                if isinstance(label, Binary):
                    wrong, allowed = (entries < 0) | (entries > 1), "0, 1, a probability between them"
                elif isinstance(label, Categorical):
                    count = len(label.values)
                    wrong = (entries < 0) | (entries >= count) | (entries != np.floor(entries)) & ~np.isnan(entries)
                    allowed = f"a whole number from 0 to {count - 1}"
                else:
                    wrong, allowed = np.isinf(entries), "a finite number"
            if wrong.any():
                offenders = [f"row {row}: {entries[row]}" for row in np.flatnonzero(wrong)]
                raise ValueError(f"{source}, label {label.name!r}: expected {allowed} or NaN; {first_few(offenders)}")

    def with_priors(self, array: np.ndarray) -> LabelSpace:
        """This space with every label's prior fitted to the observed entries of an array.

        Raises:
            ValueError: a label has no observed entry, or all of them are the same.
        """
        self.check(array)
        fitted = []
        for column, label in enumerate(self):
            observed = array[:, column][~np.isnan(array[:, column])].astype(np.float64)
            if not len(observed):
                raise ValueError(f"label {label.name!r} has no observed value; give it some, or leave it out")
            if observed.min() == observed.max():
                raise ValueError(
                    f"label {label.name!r} is constant: all {len(observed)} observed values are "
                    f"{label.decode(observed[0])}; give it others, or leave it out"
                )
            fitted.append(label.with_prior(observed))
        return LabelSpace(tuple(fitted))

    def to_json(self) -> str:
        """JSON text, for `from_json`."""
        return json.dumps([{"kind": label.kind, **asdict(label)} for label in self], indent=2)

    @classmethod
    def from_json(cls, text: str) -> LabelSpace:
        """The space that `to_json` wrote."""
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"a label space is written as JSON, but {error}") from None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("the JSON of a label space is a list of labels, each an object with kind, name and more")
        labels: list[Label] = []
        for entry in entries:
            kind = entry.pop("kind", None)
            if kind not in KINDS:
                raise ValueError(f"unknown kind of label {kind!r}; the kinds are {', '.join(KINDS)}")
            try:
                labels.append(KINDS[kind](**{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}))
            except TypeError as error:
                raise ValueError(f"JSON of a {kind} label: {error}") from None
        return cls(tuple(labels))

    @classmethod
    def infer(cls, table: pd.DataFrame, kinds: Mapping[str, str] | None = None, source: str = "table") -> LabelSpace:
        """Guess the labels of a table, one a column, without priors.

        Two values that are a known pair of no and yes (0 and 1, -1 and 1, no and yes, …) make a binary label; numbers that
        are not whole, or take over 20 values, a continuous one; anything else a categorical one.

        Args:
            table: one column a label.
            kinds: "binary", "categorical" or "continuous" by column, for those not to be guessed.
            source: what error messages call the table.

        Raises:
            ValueError: a column has no observed value, or one that its kind cannot have.
        """
        names = [str(name) for name in table.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{source}: column names must differ; repeated: {', '.join(repeated)}")
        kinds = dict(kinds or {})
        unknown = [f"{name}: {kind}" for name, kind in kinds.items() if kind not in KINDS or name not in names]
        if unknown:
            raise ValueError(f"{source}: no such column, or kind ({', '.join(KINDS)}): {', '.join(unknown)}")
        return cls(
            tuple(
                infer_label(name, table[column].tolist(), kinds.get(name), source)
                for name, column in zip(names, table.columns, strict=True)
            )
        )


def infer_label(name: str, cells: Sequence[Any], kind: str | None, source: str) -> Label:
    """Guess one label from its column's cells (see `LabelSpace.infer`)."""
    what = f"{source}: label {name!r}"
    try:
        distinct = set(cells)  # first, for a column repeats few values, and reading one takes a while
    except TypeError:
        raise ValueError(f"{what} holds lists or the like; a label has one value a row") from None
    observed = sorted({text_of(cell) for cell in distinct if not is_missing(cell)})
    if not observed:
        raise ValueError(f"{what} has no observed value; give it some, or leave it out")
    numbers = [number for number in map(number_of, observed) if number is not None and math.isfinite(number)]
    odd = [repr(text) for text in observed if number_of(text) is None or not math.isfinite(float(text))]
    pair = next((pair for pair in NEGATIVE_AND_POSITIVE if {text.lower() for text in observed} <= set(pair)), None)
    if kind != "categorical" and odd and all(DECIMAL_COMMA.fullmatch(text[1:-1]) for text in odd):
        raise ValueError(
            f"{what} holds numbers with a decimal comma ({first_few(odd)}); write a decimal point, "
            f"or read the table yourself with pandas.read_csv(..., decimal=',') and pass that"
        )
    if kind is None:
        whole = not odd and all(number.is_integer() for number in numbers)
        few = len(observed) <= MOST_INFERRED_CLASSES
        kind = "binary" if pair else "categorical" if few and (whole or odd) else "continuous"
        if kind == "continuous" and odd and not numbers:
            raise ValueError(
                f"{what} has {len(observed)} different texts ({first_few(odd)}); "
                f"leave the column out, or say that its kind is categorical"
            )
    if kind == "continuous":
        if odd:
            raise ValueError(f"{what} is to be continuous but {len(odd)} of its values are no numbers: {first_few(odd)}")
        return Continuous(name)
    if not odd:
        observed.sort(key=float)
    if kind == "categorical":
        if len(observed) == 1:
            raise ValueError(f"{what} is constant: every observed value is {observed[0]}; give it others, or leave it out")
        return Categorical(name, tuple(as_value(text) for text in observed))
    if pair:
        spelled = {text.lower(): text for text in reversed(observed)}
        negative, positive = (as_value(spelled.get(value, value)) for value in pair)
        return Binary(name, (negative, positive))
    if not odd and all(0 <= number <= 1 for number in numbers):
        return Binary(name)
    if len(observed) != 2:
        raise ValueError(f"{what} is to be binary but has {len(observed)} values: {first_few(observed)}")
    return Binary(name, (as_value(observed[0]), as_value(observed[1])))


def encode_cells(label: Label, cells: Sequence[Any]) -> tuple[list[float], dict[int, ValueError]]:
    """Numbers of a label's cells, NaN where missing or wrong, and the errors by position of those that are wrong."""
    known: dict[tuple[type, str | int], float | ValueError] = {}  # a column repeats few values, and encoding one takes a while
    numbers, wrong = [], {}
    for position, cell in enumerate(cells):
        key = (type(cell), cell if isinstance(cell, str | int) else repr(cell))
        found = known.get(key)
        if found is None:
            try:
                found = math.nan if is_missing(cell, label) else label.encode(cell)
            except ValueError as error:
                found = error
            known[key] = found
        if isinstance(found, ValueError):
            wrong[position] = found
        numbers.append(math.nan if isinstance(found, ValueError) else found)
    return numbers, wrong


def check_name(name: str) -> None:
    """Raise `ValueError` unless a label's name is a text that shows."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a label's name must be a text that is not empty, not {name!r}")


def check_values(name: str, values: Sequence[Value], exactly: int | None = None) -> None:
    """Raise `ValueError` unless a label's name and values can be read, and the values are enough and differ."""
    check_name(name)
    texts = {text_of(value) for value in values}
    if "" in texts:
        raise ValueError(f"label {name!r}: an empty text cannot be a value, for an empty cell means not observed")
    if len(texts) != len(values) or len(values) < 2 or exactly not in (None, len(values)):
        raise ValueError(f"label {name!r}: needs {exactly or 'at least two'} different values, found {list(values)}")


def is_missing(cell: Any, label: Label | None = None) -> bool:
    """Whether a cell means *not observed*: it is empty, NaN, or a text such as "NA" that is not among the label's values."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | np.floating) and math.isnan(cell)):
        return True
    text = text_of(cell)
    return text in MISSING_TEXTS and (not isinstance(label, Binary | Categorical) or position_of(text, label.values) is None)


def text_of(cell: Any) -> str:
    """A cell as text, the same for 1, 1.0, True-like numpy scalars and "1"."""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return text[:-2] if text.endswith(".0") and is_whole(text[:-2]) else text


def number_of(cell: Any) -> float | None:
    """A cell as a number, or None."""
    if isinstance(cell, str) and "_" in cell:  # to Python alone, 1_000 is a number
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def position_of(cell: Any, values: Sequence[Value]) -> int | None:
    """Position of a cell among values, compared as text, or None; another case will do where only one value differs so."""
    texts = [text_of(value) for value in values]
    text = text_of(cell)
    if text in texts:
        return texts.index(text)
    alike = [position for position, other in enumerate(texts) if other.lower() == text.lower()]
    return alike[0] if len(alike) == 1 else None


def as_value(text: str) -> Value:
    """Text as a whole number where it is one."""
    return int(text) if is_whole(text) and str(int(text)) == text else text


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, digits with or without a minus."""
    return text.isascii() and text.removeprefix("-").isdigit()


def first_few(offenders: Sequence[str]) -> str:
    """The first offenders, and how many more there are."""
    more = len(offenders) - SHOWN_OFFENDERS
    return "; ".join(offenders[:SHOWN_OFFENDERS]) + (f"; and {more} more" if more > 0 else "")
