"""Input columns of dates and times: days, standardised, and given back as dates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ccvae.labels.cells import first_few, text_of
from ccvae.model.inputs.missing_cells import USUAL_RULE, MissingRule
from ccvae.model.inputs.standardised import Standardised

__all__ = ["Date", "all_ambiguous", "all_dates", "fitted_dates", "is_date"]

ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?")
"""Texts that are dates wherever they are written: 2024-05-17, with or without a time of day and a zone."""
OTHER_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}( \d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?)?")
"""Texts that are dates, but do not say which part is the day."""
SECONDS_OF_DAY = 86_400
EPOCH = datetime.datetime(1970, 1, 1)
LEAST, MOST = (int((moment - EPOCH).total_seconds()) for moment in (datetime.datetime.min, datetime.datetime.max))


@dataclass(frozen=True)
class Date(Standardised):
    """A column of dates, which becomes one feature of mean 0 and variance 1.

    Args:
        name: the column's name.
        mean: days since 1970-01-01 that are taken away.
        scale: days that the rest is divided by, unless it is 0, as for a column that is constant.
        time: whether dates have times of day; without, results are whole days.
        zone: whether they have time zones; results are in UTC then.
        rule: which cells are missing.
    """

    time: bool = False
    zone: bool = False
    rule: MissingRule = USUAL_RULE

    def encode(self, cells: Sequence[Any], missing: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Features `(rows, 1)`, 0 (the mean) where missing; and what is wrong, by row."""
        days, wrong = np.zeros(len(cells)), {}
        known: dict[str, tuple[float, bool] | None] = {}
        for row in np.flatnonzero(~missing).tolist():
            found = known_moment(cells[row], known)
            if found is None:
                wrong[row] = f"expected a date such as 2024-05-17, found {cells[row]!r}"
            elif found[1] != self.zone:
                wanted = "with a time zone, such as 2024-05-17T12:00Z" if self.zone else "without a time zone"
                wrong[row] = f"expected a date {wanted}, found {cells[row]!r}"
            else:
                days[row] = found[0]
        return self.standardise(days, missing), wrong

    def decode(self, features: np.ndarray) -> pd.Series[Any]:
        """Dates of features `(rows, 1)`: whole days, or to the second."""
        days = self.quantities(features)
        seconds = np.rint(days * SECONDS_OF_DAY) if self.time else np.rint(days) * SECONDS_OF_DAY
        seconds = np.clip(seconds, LEAST, MOST - SECONDS_OF_DAY)
        found = pd.Series(seconds.astype(np.int64).view("datetime64[s]"))
        return found.dt.tz_localize("UTC") if self.zone else found

    def to_entry(self) -> dict[str, Any]:
        """Its JSON, for `from_entry`."""
        entry = {name: value for name, value in asdict(self).items() if name != "rule"}
        return {**entry, "unit": "days since 1970-01-01", **self.rule.to_entry()}


def known_moment(cell: Any, known: dict[str, tuple[float, bool] | None]) -> tuple[float, bool] | None:
    """What `moment` says of a cell; of each text it is found once."""
    if not isinstance(cell, str):
        return moment(cell)
    if cell not in known:
        known[cell] = moment(cell)
    return known[cell]


def moment(cell: Any) -> tuple[float, bool] | None:
    """Days of a cell since 1970-01-01 in UTC, and whether it has a time zone; None if it is no date."""
    if isinstance(cell, np.datetime64):
        cell = pd.Timestamp(cell)
    if isinstance(cell, pd.Timestamp):
        cell = cell.to_pydatetime(warn=False)
    elif isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        cell = datetime.datetime.combine(cell, datetime.time())
    if not isinstance(cell, datetime.datetime):
        try:
            cell = datetime.datetime.fromisoformat(re.sub(r" (?=Z|[+-])", "", text_of(cell)))
        except ValueError:
            return None
    zone = cell.utcoffset()
    return (
        cell.replace(tzinfo=None) - EPOCH - (zone or datetime.timedelta())
    ).total_seconds() / SECONDS_OF_DAY, zone is not None


def is_date(cell: Any, known: dict[str, tuple[float, bool] | None]) -> bool:
    """Whether a cell is a date: a value, or a text such as 2024-05-17."""
    if isinstance(cell, str) and not ISO_DATE.fullmatch(cell.strip()):
        return False
    return isinstance(cell, str | datetime.date | np.datetime64) and known_moment(cell, known) is not None


def all_dates(cells: Sequence[Any], missing: np.ndarray) -> bool:
    """Whether all cells that are not missing are dates."""
    known: dict[str, tuple[float, bool] | None] = {}
    return all(is_date(cells[row], known) for row in np.flatnonzero(~missing).tolist())


def all_ambiguous(texts: Sequence[str]) -> bool:
    """Whether texts are dates that do not say which part is the day, such as 03/04/2024."""
    return bool(texts) and all(OTHER_DATE.fullmatch(text) and not ISO_DATE.fullmatch(text) for text in texts)


def fitted_dates(name: str, cells: Sequence[Any], missing: np.ndarray, rows: np.ndarray, rule: MissingRule) -> Date:
    """A column of dates: its mean and scale from those of some rows.

    Raises:
        ValueError: a cell is no date, or only some have a time zone.
    """
    known: dict[str, tuple[float, bool] | None] = {}
    found = {row: known_moment(cells[row], known) for row in np.flatnonzero(~missing).tolist()}
    odd = sorted({repr(text_of(cells[row])) for row, each in found.items() if each is None})
    if odd:
        raise ValueError(f"is to be dates, such as 2024-05-17, but holds {first_few(odd)}; empty these cells")
    moments = {row: each for row, each in found.items() if each is not None}
    zones = {zone for _, zone in moments.values()}
    if len(zones) > 1:
        raise ValueError("holds dates with and without a time zone; write all of them in one way")
    days = np.array([moments[row][0] for row in rows.tolist()])
    scale = float(days.std())
    time = any(not float(each[0]).is_integer() for each in moments.values())
    return Date(name, float(days.mean()), scale if scale > 1 / SECONDS_OF_DAY else 0.0, time, zones == {True}, rule)
