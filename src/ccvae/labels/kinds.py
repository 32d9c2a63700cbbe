"""The three kinds of labels, `Binary`, `Categorical` and `Continuous`, and inference of the kind from a column of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ccvae.labels.cells import (
    DECIMAL_COMMA,
    Value,
    as_value,
    comma_meaning,
    comma_remedy,
    first_few,
    is_missing,
    number_of,
    position_of,
    signs_in_numbers,
    text_of,
)
from ccvae.labels.nearest import did_you_mean

__all__ = [
    "KINDS",
    "Binary",
    "Categorical",
    "Continuous",
    "Label",
    "UnusableColumnError",
    "check_kinds",
    "described",
    "encode_cells",
    "infer_label",
]

NEGATIVE_AND_POSITIVE = (("0", "1"), ("-1", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("absent", "present"),
                         ("negative", "positive"))  # fmt: skip
LARGEST_NUMBER, SMALLEST_SCALE = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
MOST_INFERRED_CLASSES = 20
MOST_CODES = 5
"""Different words among numbers, up to which they may be codes for *not observed*."""


class UnusableColumnError(ValueError):
    """A column that cannot be a label as it is: it has no value, one value throughout, or different texts in its rows."""


@dataclass(frozen=True)
class Binary:
    """Binary label: absent or present.

    Args:
        name: the column's name.
        values: how a table shows that the label is absent, and that it is present.
        prior: p(y = 1), in (0, 1).

    Raises:
        ValueError: the name is empty, the values are not two different ones, or the prior is not in (0, 1).

    >>> Binary("Smiling", ("no", "yes")).encode("yes")
    1.0
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

    @property
    def output_columns(self) -> tuple[str, ...]:
        """Columns of `predict_proba` for this label."""
        return tuple(f"{self.name}={value}" for value in self.values)

    @property
    def ends(self) -> tuple[float, float]:
        """First and last number of a traversal."""
        return (0.0, 1.0)

    def with_prior(self, observed: np.ndarray) -> Binary:
        """This label with its prior fitted to observed entries, with add-one smoothing."""
        return replace(self, prior=float((observed.sum() + 1) / (len(observed) + 2)))

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` unless it is a value, true or false, or a probability."""
        if isinstance(cell, bool | np.bool_):
            return float(cell)
        position = position_of(cell, self.values)
        if position is not None:
            return float(position)
        number = number_of(cell)
        # if the values are numbers, such as 1 and 2, a cell of 0 is more likely a code than a probability
        certain_allowed = not any(isinstance(value, int) for value in self.values)
        if number is not None and (0 < number < 1 or (certain_allowed and number in (0, 1))):
            return number
        hint = did_you_mean(cell, self.values)
        raise ValueError(f"expected {self.values[0]} or {self.values[1]} (or a probability), found {cell!r}{hint}")

    def decode(self, number: float) -> Value:
        """The value of a number in the array."""
        return self.values[int(number >= 0.5)]


@dataclass(frozen=True)
class Categorical:
    """Categorical label: one of several classes.

    Args:
        name: the column's name.
        values: the classes, in the order of their numbers.
        prior: p(y) of each class; uniform by default.

    Raises:
        ValueError: the name is empty, there are fewer than two different classes, or the prior is no distribution over them.

    >>> Categorical("hat", ("none", "cap", "turban")).encode("cap")
    1.0
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

    @property
    def output_columns(self) -> tuple[str, ...]:
        """Columns of `predict_proba` for this label."""
        return tuple(f"{self.name}={value}" for value in self.values)

    @property
    def ends(self) -> tuple[float, float]:
        """First and last number of a traversal: the first and the last class."""
        return (0.0, len(self.values) - 1.0)

    def with_prior(self, observed: np.ndarray) -> Categorical:
        """This label with its prior fitted to observed entries, with add-one smoothing."""
        counts = np.bincount(observed.astype(int), minlength=len(self.values)) + 1
        return replace(self, prior=tuple(float(p) for p in counts / counts.sum()))

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` unless it is one of the values."""
        position = position_of(cell, self.values)
        if position is None:
            shown = ", ".join(map(str, self.values[:12])) + (", …" if len(self.values) > 12 else "")
            raise ValueError(f"expected one of {shown}, found {cell!r}{did_you_mean(cell, self.values)}")
        return float(position)

    def decode(self, number: float) -> Value:
        """The value of a number in the array."""
        return self.values[int(number)]


@dataclass(frozen=True)
class Continuous:
    """Continuous label: a number.

    Args:
        name: the column's name.
        mean: mean of p(y), in the label's own units.
        scale: standard deviation of p(y), positive, in the label's own units.

    Raises:
        ValueError: the name is empty, or mean or scale are not finite as float32, or the scale not positive.

    >>> Continuous("age", 40, 12).encode("31.5")
    31.5
    """

    kind: ClassVar[str] = "continuous"
    name: str
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.name)
        if not (abs(self.mean) <= LARGEST_NUMBER and SMALLEST_SCALE <= self.scale <= LARGEST_NUMBER):  # as models have them
            raise ValueError(
                f"label {self.name!r}: mean must be finite and scale positive, neither beyond what float32 has, "
                f"not {self.mean} and {self.scale}"
            )

    @property
    def output_columns(self) -> tuple[str, str]:
        """Columns of `predict_proba` for this label: mean and standard deviation."""
        return (self.name, f"{self.name}.std")

    @property
    def ends(self) -> tuple[float, float]:
        """First and last number of a traversal: two standard deviations below and above the prior's mean."""
        return (self.mean - 2 * self.scale, self.mean + 2 * self.scale)

    def with_prior(self, observed: np.ndarray) -> Continuous:
        """This label with its prior's mean and scale fitted to observed entries."""
        scale = float(observed.std()) if len(observed) > 1 else 0.0
        return replace(self, mean=float(observed.mean()), scale=scale or 1.0)

    def encode(self, cell: Any) -> float:
        """Number of a table's cell; raises `ValueError` unless it is a finite number that float32 can represent."""
        number = number_of(cell)
        if number is None or not math.isfinite(number):
            comma = DECIMAL_COMMA.fullmatch(text_of(cell))
            hint = f", with a {comma_meaning([text_of(cell)])}; {comma_remedy([text_of(cell)])}" if comma else ""
            raise ValueError(f"expected a number, found {cell!r}{hint}")
        if abs(number) > LARGEST_NUMBER:
            raise ValueError(f"the number {cell!r} is too large; give the label in another unit")
        return number

    def decode(self, number: float) -> float:
        """The number itself."""
        return float(number)


Label = Binary | Categorical | Continuous
KINDS: dict[str, Callable[..., Label]] = {kind.kind: kind for kind in (Binary, Categorical, Continuous)}


def check_kinds(kinds: Mapping[str, str], names: Sequence[str], source: str) -> None:
    """Raise `ValueError` unless kinds are given for labels there are, and exist; the nearest names are shown."""
    absent = [f"{name!r}{did_you_mean(name, names)}" for name in kinds if name not in names]
    if absent:
        raise ValueError(
            f"{source}: kinds are given for {first_few(absent)}, which is no label; the labels are {', '.join(names)}"
        )
    wrong = [f"{name}: {kind!r}{did_you_mean(kind, KINDS)}" for name, kind in kinds.items() if kind not in KINDS]
    if wrong:
        raise ValueError(f"{source}: no such kind of label: {first_few(wrong)}; the kinds are {', '.join(KINDS)}")


def described(label: Label) -> str:
    """A label's name, kind and first values, for messages.

    >>> described(Binary("Smiling"))
    "'Smiling' (binary: 0, 1)"
    """
    if isinstance(label, Continuous):
        return f"{label.name!r} ({label.kind})"
    shown = ", ".join(map(str, label.values[:8])) + (", …" if len(label.values) > 8 else "")
    return f"{label.name!r} ({label.kind}: {shown})"


def infer_label(
    name: str, cells: Sequence[Any], kind: str | None, source: str, missing: Callable[[Any], bool] = is_missing
) -> Label:
    """Infer one label from the cells of its column (see `LabelSpace.infer`); `missing` says which of them are not observed."""
    what = f"{source}: label {name!r}"
    try:
        distinct = set(cells)  # a column has few distinct values, and reading one takes time
    except TypeError:
        raise ValueError(f"{what} holds lists or the like; a label has one value a row") from None
    observed = sorted({text_of(cell) for cell in distinct if not missing(cell)})
    if not observed:
        raise UnusableColumnError(f"{what} has no observed value; give it some, or leave it out")
    numbers = [number for number in map(number_of, observed) if number is not None and math.isfinite(number)]
    odd = [repr(text) for text in observed if number_of(text) is None or not math.isfinite(float(text))]
    pair = next((pair for pair in NEGATIVE_AND_POSITIVE if {text.lower() for text in observed} <= set(pair)), None)
    if kind != "categorical" and odd and all(DECIMAL_COMMA.fullmatch(text[1:-1]) for text in odd):
        commas = [text[1:-1] for text in odd]
        raise ValueError(f"{what} holds numbers with a {comma_meaning(commas)} ({first_few(odd)}); {comma_remedy(commas)}")
    if kind is None:
        whole = not odd and all(number.is_integer() for number in numbers)
        few = len(observed) <= MOST_INFERRED_CLASSES
        kind = "binary" if pair else "categorical" if few and (whole or odd) else "continuous"
        if kind == "continuous" and odd and not numbers:
            if signs_in_numbers(observed):
                raise ValueError(f"{what} {signs_in_numbers(observed)}")
            if all(map(DATE.match, observed)):
                raise UnusableColumnError(
                    f"{what} holds dates ({first_few(odd[:2])}), and a label is a number or one of a few values; turn them "
                    f"into numbers, such as days, or leave the column out"
                )
            raise UnusableColumnError(
                f"{what} has {len(observed)} different texts ({first_few(odd)}); "
                f"leave the column out, or say that its kind is categorical"
            )
    if kind == "continuous":
        odd = [text for text in odd if not is_missing(text[1:-1])]  # words among numbers are no values of theirs
        if odd:
            means = "it means" if len(odd) == 1 else "they mean"
            words = [text for text in observed if repr(text) in odd]
            remedy = f"; if {means} not observed, pass missing_values={words}" if len(odd) <= MOST_CODES else ""
            raise ValueError(
                f"{what} is to be continuous but {len(odd)} of its values are no numbers: {first_few(odd)}{remedy}"
            )
        return Continuous(name)
    if not odd:
        observed.sort(key=float)
    if kind == "categorical":
        if len(observed) == 1:
            raise UnusableColumnError(
                f"{what} is constant: every observed value is {observed[0]}; give it others, or leave it out"
            )
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
    """Numbers of a label's cells, NaN if missing or wrong, and an error for each wrong cell, by position."""
    known: dict[tuple[type, str | int], float | ValueError] = {}  # encoding takes time
    values = () if isinstance(label, Continuous) else label.values
    numbers, wrong = [], {}
    for position, cell in enumerate(cells):
        key = (type(cell), cell if isinstance(cell, str | int) else repr(cell))
        found = known.get(key)
        if found is None:
            try:
                found = math.nan if is_missing(cell, values) else label.encode(cell)
            except ValueError as error:
                found = error
            known[key] = found
        if isinstance(found, ValueError):
            wrong[position] = found
        numbers.append(math.nan if isinstance(found, ValueError) else found)
    return numbers, wrong


def check_name(name: str) -> None:
    """Raise `ValueError` unless a label's name is a text that is not blank."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a label's name must be a text that is not empty, not {name!r}")


def check_values(name: str, values: Sequence[Value], exactly: int | None = None) -> None:
    """Raise `ValueError` unless a label's name and values are texts or numbers, and the values are different and enough."""
    check_name(name)
    texts = {text_of(value) for value in values}
    if "" in texts:
        raise ValueError(f"label {name!r}: an empty text cannot be a value, because an empty cell means not observed")
    if len(texts) != len(values) or len(values) < 2 or exactly not in (None, len(values)):
        raise ValueError(f"label {name!r}: needs {exactly or 'at least two'} different values, found {list(values)}")
