"""The name that the user may have meant, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest"]

CLOSE = 0.6
"""Least similarity (see `difflib.SequenceMatcher.ratio`)."""


def nearest(name: str, known: Iterable[str], close: float = CLOSE) -> str | None:
    """The most similar of several names, None if no name is similar; one that differs by case or blanks only comes first.

    Names with other digits are not similar: file 12 is not file 72.

    >>> nearest("smiling", ["Smiling", "Male"]), nearest("hat", ["Smiling", "Male"])
    ('Smiling', None)
    """
    digits = digits_of(name)
    names = [other for other in known if digits_of(other) == digits]
    same = [other for other in names if plain(other) == plain(name)]
    near = same or get_close_matches(name, names, 1, cutoff=close)
    return near[0] if near else None


def did_you_mean(name: object, known: Iterable[object], close: float = CLOSE) -> str:
    """The nearest name in parentheses, with a blank before it; empty if no name is near. Numbers are near to none.

    >>> did_you_mean("Smilng", ["Smiling", "Male"])
    " (did you mean 'Smiling'?)"
    """
    text = str(name).strip()
    if not any(character.isalpha() for character in text):
        return ""
    near = nearest(text, map(str, known), close)
    return "" if near is None else f" (did you mean {near!r}?)"


def digits_of(name: str) -> str:
    """The digits in a name."""
    return "".join(character for character in name if character.isdigit())


def plain(name: str) -> str:
    """A name without regard to case, blanks, underscores and hyphens."""
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())
