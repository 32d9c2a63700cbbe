"""YAML from files that anyone may have written: plain values only, of a bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ccvae.storage.files import read_text

__all__ = ["LARGEST_TEXT", "check_yaml", "parse_yaml", "read_yaml"]

LARGEST_TEXT = 1_000_000
"""Characters of a settings file."""
LARGEST_DEPTH = 50
LARGEST_COUNT = 50_000
"""Values in a file, where every use of an alias counts as all the values that it stands for."""
LONGEST_NUMBER = 100
"""Characters of a number: converting far longer ones takes a long time."""

EventLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text, made of mappings, lists, texts, numbers, dates, booleans and null only.

    Args:
        text: the text.
        source: what error messages call it.

    Raises:
        ValueError: the text is not YAML, or exceeds a limit (see `check_yaml`).
    """
    check_yaml(text, source)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not valid YAML: {in_one_line(error)}") from None


def read_yaml(path: Path) -> Any:
    """Value of a YAML file, as `parse_yaml` gives it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a regular file, not UTF-8 or not YAML, or exceeds a limit.
    """
    return parse_yaml(read_text(path, 4 * LARGEST_TEXT), str(path))  # a character has at most four bytes


def check_yaml(text: str, source: str) -> None:
    """Raise `ValueError` unless a text is YAML without tags and within this module's limits, before any value is made."""
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"{source} has {len(text):,} characters; settings have at most {LARGEST_TEXT:,}")
    sizes: dict[str, int] = {}
    """How many values each anchor stands for."""
    opened: list[tuple[str | None, int]] = []
    """Anchors of the collections that are not closed yet, and how many values came before each."""
    count = 0
    try:
        for event in yaml.parse(text, Loader=EventLoader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            tag = getattr(event, "tag", None)
            if tag:
                raise ValueError(f"{source}, line {line}: found the tag {tag}; settings have no tags")
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    raise ValueError(f"{source}: the alias *{event.anchor} refers to itself or to nothing")
                count += sizes[event.anchor]
            elif isinstance(event, yaml.ScalarEvent):
                count += 1
                if event.anchor:
                    sizes[event.anchor] = 1
                if event.implicit[0] and len(event.value) > LONGEST_NUMBER and event.value[:1] in "+-.0123456789":
                    raise ValueError(f"{source}, line {line}: a number has {len(event.value):,} characters")
            elif isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, count))
                count += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = opened.pop()
                if anchor:
                    sizes[anchor] = count - before
            if count > LARGEST_COUNT:
                raise ValueError(f"{source} stands for more than {LARGEST_COUNT:,} values; settings have far fewer")
            if len(opened) > LARGEST_DEPTH:
                raise ValueError(f"{source} is nested more than {LARGEST_DEPTH} levels deep")
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {in_one_line(error)}") from None


def in_one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())
