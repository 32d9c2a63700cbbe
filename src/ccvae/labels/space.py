"""Labels: their names, kinds, values and priors, and how a table of them becomes an array and back.

A label is `Binary`, `Categorical` or `Continuous`; a `LabelSpace` is an ordered tuple of labels. As an array, labels are
`(rows, labels)` floats: 0 or 1 (or, between them, the probability of 1) for a binary label, the position of the class
for a categorical one, the number itself for a continuous one, and NaN wherever the label was *not observed*.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import numpy as np
import pandas as pd

from ccvae.labels.cells import first_few, texts_only
from ccvae.labels.kinds import (
    KINDS,
    Binary,
    Categorical,
    Continuous,
    Label,
    check_kinds,
    described,
    encode_cells,
    infer_label,
)
from ccvae.labels.nearest import did_you_mean

__all__ = ["LabelSpace"]

CLOSE_NAME = 0.75
"""Least similarity of a label's name that is suggested."""


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
        repeated = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if repeated:
            raise ValueError(f"label names must differ; repeated: {', '.join(repeated)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(label.name for label in self.labels)

    def _repr_html_(self) -> str:
        """Table for notebooks: kind, values and prior of each label."""
        rows = []
        for label in self.labels:
            if isinstance(label, Continuous):
                rows.append((label.kind, "", f"mean {label.mean:.4g}, scale {label.scale:.4g}"))
            else:
                rows.append(
                    (label.kind, first_few(list(map(str, label.values))), first_few([f"{p:.2f}" for p in label.priors]))
                )
        table = pd.DataFrame(rows, index=pd.Index(self.names, name="label"), columns=["kind", "values", "prior"])
        html: str = table.to_html(escape=True)
        return html

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __getitem__(self, name: str) -> Label:
        return self.labels[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a label; raises `ValueError` naming those there are."""
        if name not in self.names:
            hint = did_you_mean(name, self.names, CLOSE_NAME)
            raise ValueError(f"no label {name!r}{hint}; the labels are {', '.join(self.names)}")
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
            each_cell = cells.dtype == object and not texts_only(cells)
            codes, distinct = (np.arange(len(cells)), cells) if each_cell else pd.factorize(cells, use_na_sentinel=False)
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

    def check_matches(self, other: LabelSpace, source: str = "data") -> None:
        """Raise `ValueError` unless another space has the same labels: names, kinds and values, in order.

        Args:
            other: the space to compare; priors may differ.
            source: what error messages call it.
        """
        for ours, theirs in zip(self, other, strict=False):
            identities = [(label.name, label.kind, getattr(label, "values", None)) for label in (ours, theirs)]
            if identities[0] != identities[1]:
                raise ValueError(f"{source}: the model was made for label {described(ours)}, found {described(theirs)}")
        if len(self) != len(other):
            raise ValueError(
                f"{source}: the model was made for the labels {', '.join(self.names)}, found {', '.join(other.names)}"
            )

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
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a label space is written as JSON, but {error}") from None
        return cls.from_entries(entries)

    @classmethod
    def from_entries(cls, entries: Any) -> LabelSpace:
        """The space of JSON that is parsed already; raises `ValueError` naming the label and field that are wrong."""
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("the JSON of a label space is a list of labels, each an object with kind, name and more")
        return cls(tuple(label_of(entry, position) for position, entry in enumerate(entries, 1)))

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
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise ValueError(f"{source}: column names must differ; repeated: {', '.join(repeated)}")
        kinds = dict(kinds or {})
        check_kinds(kinds, names, source)
        return cls(
            tuple(
                infer_label(name, table[column].tolist(), kinds.get(name), source)
                for name, column in zip(names, table.columns, strict=True)
            )
        )


def label_of(entry: dict[str, Any], position: int) -> Label:
    """The label of a JSON object."""
    where = f"label {position}"
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{where}: unknown kind of label {kind!r}; the kinds are {', '.join(KINDS)}")
    known = {field.name for field in fields(cast(Any, KINDS[kind]))}
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key != "kind"}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise ValueError(f"{where}: a {kind} label has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    if not isinstance(settings.get("name"), str):
        raise ValueError(f"{where}: name: expected a text, found {settings.get('name')!r}")
    where = f"label {settings['name']!r}"
    values = settings.get("values", ())
    if "values" in known and not (isinstance(values, tuple) and all(type(value) in (str, int) for value in values)):
        raise ValueError(f"{where}: values: expected a list of texts and whole numbers, found {values!r}")
    if kind == "categorical" and not values:
        raise ValueError(f"{where}: values: expected a list of texts and whole numbers, found none")
    several = kind == "categorical"
    for key in ("prior", "mean", "scale"):
        found = settings.get(key, () if several else 0.0)
        numbers = found if several and isinstance(found, tuple) else (None,) if several else (found,)
        if key in known and not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise ValueError(f"{where}: {key}: expected {'a list of numbers' if several else 'a number'}, found {found!r}")
    try:
        return KINDS[kind](**settings)
    except OverflowError:
        raise ValueError(f"{where}: a number is too large") from None
