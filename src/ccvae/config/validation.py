"""Checks of settings: types, ranges, and sections of files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from operator import ge, gt, le, lt
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "check_input_shape",
    "check_range",
    "check_seed",
    "check_type",
    "check_types",
    "check_whole",
    "settings_from",
]

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping of names to values",
    Mapping: "a mapping of names to values",
    type(None): "null",
    Any: "any value",
}
"""Types of settings in words."""

LARGEST_SEED = 2**31 - 1

LARGEST_COUNT = 10**9
"""Of whole numbers in settings, where no other limit is given."""
LARGEST_SIZE = 10**6
"""Dimensions of latent vectors and blocks, and width of networks."""
LARGEST_INPUT = 2**26
"""Elements of one input."""
LONGEST_VALUE_SHOWN = 80
"""Characters of a wrong value that a message shows."""

Settings = TypeVar("Settings", bound="DataclassInstance")


def settings_from(kind: type[Settings], section: Any, where: str) -> Settings:
    """Settings of a section of a file.

    Args:
        kind: class of the settings.
        section: what the file has, which may be anything.
        where: what messages call the section, such as "config.yaml: model".

    Raises:
        ValueError: the section is not a mapping, has unknown keys, or has values of wrong type or range.
    """
    known = [setting.name for setting in fields(kind)]
    if not isinstance(section, Mapping):
        raise ValueError(f"{where}: expected a mapping with keys such as {', '.join(known[:3])}, found {first_of(section)}")
    unknown = [str(key) for key in section if key not in known]
    if unknown:
        shown = ", ".join(unknown)[:LONGEST_VALUE_SHOWN]
        raise ValueError(
            f"{where}: unknown key {shown} (written by another version of this package, or changed); "
            f"the keys are {', '.join(known)}"
        )
    try:
        return kind(**section)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def check_input_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """An input's shape as a tuple.

    Raises:
        ValueError: it is neither (channels, height, width) nor (features,), in whole numbers above 0, or is too large.
    """
    whole = isinstance(shape, Sequence) and all(
        isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in shape
    )
    if not whole or len(shape) not in (1, 3):
        raise ValueError(f"input_shape: expected [channels, height, width] or [features], found {first_of(shape)}")
    if math.prod(shape) > LARGEST_INPUT:
        raise ValueError(f"input_shape: an input has at most {LARGEST_INPUT:,} elements, found {first_of(shape)}")
    return tuple(map(int, shape))


def first_of(value: object) -> str:
    """A value as text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[:LONGEST_VALUE_SHOWN]}…"


def check_types(settings: Any) -> None:
    """Raise `ValueError` unless settings have the types of their fields; numbers are checked where their ranges are known."""
    hints = get_type_hints(type(settings))
    for setting in fields(settings):
        check_type(setting.name, getattr(settings, setting.name), hints[setting.name], numbers=False)


def check_type(name: str, value: Any, hint: Any, numbers: bool = True) -> None:
    """Raise `ValueError` unless a value has the type of a type hint.

    Args:
        name: what messages call the value.
        value: the value, from a file or the command line.
        hint: a type, or a union, literal, list or mapping of types; classes of other kinds are not checked.
        numbers: whether numbers are told from texts; otherwise both are accepted for a number.
    """
    expected = alternatives(hint)
    if not any(matches(value, kind, numbers) for kind in expected):
        from ccvae.labels.nearest import did_you_mean  # not whenever settings are made: it takes as long as importing pandas

        hint = did_you_mean(value, [kind for kind in expected if isinstance(kind, str)])
        raise ValueError(f"{name}: expected {' or '.join(in_words(expected))}, found {first_of(value)}{hint}")


def alternatives(hint: Any) -> list[Any]:
    """The types that a type hint allows: those of a union, and the values of literals."""
    if get_origin(hint) in (Union, UnionType, Literal):
        return [kind for part in get_args(hint) for kind in alternatives(part)]
    return [hint]


def matches(value: Any, kind: Any, numbers: bool) -> bool:
    """Whether a value has a type without alternatives (see `check_type`)."""
    if isinstance(kind, str | int) or kind is None:  # of a literal
        return type(value) is type(kind) and bool(value == kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and any(matches(part, kind, numbers) for kind in alternatives(inner[1]))
            for name, part in value.items()
        )
    if origin in (list, tuple, Sequence):
        kinds = [kind for part in inner if part is not Ellipsis for kind in alternatives(part)]
        fixed = origin is tuple and Ellipsis not in inner
        return (
            isinstance(value, list | tuple)
            and (not fixed or len(value) == len(inner))
            and all(any(matches(part, kind, numbers) for kind in kinds) for part in value)
        )
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number if numbers else not isinstance(value, Mapping | list | tuple | None)
    return isinstance(value, kind) if kind in WORDS and kind is not Any else True


def in_words(kinds: list[Any]) -> list[str]:
    """Types in words; the values of literals together."""
    values = [str(kind) for kind in kinds if isinstance(kind, str | int)]
    words = [f"one of {', '.join(values)}"] if values else []
    known = [get_origin(kind) or kind for kind in kinds if not isinstance(kind, str | int)]
    return words + list(dict.fromkeys(WORDS[kind] for kind in known if kind in WORDS))


def check_seed(seed: int) -> None:
    """Raise `ValueError` unless a seed is a whole number that all random number generators take."""
    check_whole("seed", seed, least=0, most=LARGEST_SEED)


def check_range(
    name: str,
    value: float,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raise `ValueError` unless a setting is a finite number in its range."""
    bounds = (("at least", least, ge), ("above", above, gt), ("at most", most, le), ("below", below, lt))
    given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
    number = isinstance(value, Real) and not isinstance(value, bool) and is_finite(value)
    if not number or not all(holds(value, bound) for _, bound, holds in given):
        wanted = " and ".join(f"{words} {bound}" for words, bound, _ in given)
        raise ValueError(f"{name}: expected a number {wanted}, found {first_of(value)}")


def is_finite(value: float) -> bool:
    """Whether a number is finite as a float; a whole number may be too large to be one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_whole(name: str, value: int, least: int, most: int = LARGEST_COUNT) -> None:
    """Raise `ValueError` unless a setting is a whole number, neither too small nor too large."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number, at least {least}, found {first_of(value)}")
    if value > most:
        raise ValueError(f"{name}: expected a whole number, at most {most:,}, found {first_of(value)}")
