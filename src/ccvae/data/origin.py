"""Where data came from: kept in the run folder, so that a run's own data can be read again from any working directory."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np

from ccvae.config import DataConfig
from ccvae.data.dataset import Dataset

__all__ = ["Origin", "fingerprint", "located", "recorded", "settings_of"]

Arguments = ParamSpec("Arguments")
ROWS_LOOKED_AT = 256
"""Rows whose inputs are part of the fingerprint."""
NOT_SETTINGS = ("space", "columns")
"""Arguments of readers that are a trained model's: the run folder has them already."""


@dataclass(frozen=True)
class Origin:
    """How data were read.

    Args:
        settings: fields of `DataConfig`, and "source".
        fingerprint: of the data as they were read (see `fingerprint`); data that were changed since came from elsewhere.
    """

    settings: Mapping[str, Any]
    fingerprint: str


def fingerprint(data: Dataset) -> str:
    """Text that changes with labels, ids and inputs, of which a few rows are looked at: data can be larger than memory."""
    digest = hashlib.sha256(repr((data.inputs.shape, str(data.inputs.dtype), data.space.names)).encode())
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), ROWS_LOOKED_AT)).astype(int))
    for part in (data.labels, *(data.soft[name] for name in sorted(data.soft)), data.inputs[rows]):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update("\0".join(map(str, data.ids.tolist())).encode())
    return digest.hexdigest()


def recorded(reader: Callable[Arguments, Dataset]) -> Callable[Arguments, Dataset]:
    """A reader whose data say how they were read, where all arguments can be written as plain values."""
    signature = inspect.signature(reader)
    first = next(iter(signature.parameters))

    @functools.wraps(reader)
    def read(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Dataset:
        data = reader(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        if any(given.get(name) is not None for name in NOT_SETTINGS):
            return data
        try:
            plain = {name: plain_value(value) for name, value in given.items() if value is not None}
        except TypeError:
            return data
        source = reader.__name__
        if first in ("folder", "source"):
            source = located(plain.pop(first, source))
        if "csv" in plain:
            plain["csv"] = located(plain["csv"])
        known = {field.name for field in fields(DataConfig)}
        settings = {name: value for name, value in plain.items() if name in known and fits(name, value)}
        options = {name: value for name, value in plain.items() if name not in settings}
        settings = {"source": source, "reader": reader.__name__, **settings, **({"options": options} if options else {})}
        return replace(data, origin=Origin(settings, fingerprint(data)))

    return read


def fits(name: str, value: Any) -> bool:
    """Whether a setting of `DataConfig` can have a value; others go into its options."""
    return name != "size" or isinstance(value, int)


def plain_value(value: Any) -> Any:
    """A value as JSON has it; raises `TypeError` if it is none."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return plain_value(value.item())
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(each) for each in value]
    raise TypeError(f"{type(value).__name__} is no plain value")


def located(source: str) -> str:
    """A path from the root, where a source is one; a built-in name or a name on the hub stays."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def settings_of(data: Dataset) -> dict[str, Any] | None:
    """The settings that read data again; None if they were made in memory, or changed since they were read."""
    if data.origin is None or data.origin.fingerprint != fingerprint(data):
        return None
    return dict(data.origin.settings)
