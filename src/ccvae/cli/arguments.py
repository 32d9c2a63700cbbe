"""Arguments of a command, parsed from its signature. Settings files give plain values and never classes to import."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ccvae.storage.yaml_text import parse_yaml, read_yaml

__all__ = ["parsed_arguments"]

MODE = "ccvae settings"
"""What jsonargparse calls our way of reading settings files."""
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    type(None): "null",
}
"""Types of arguments in words."""
RENAMED = {"--from": "--start_from"}
"""Flags that cannot be names of arguments in Python."""
NEGATIVE = re.compile(r"-[\d.]")
"""How values begin that are no flags, such as -1,Unknown."""
CLASS_PATHS = ("encoder", "decoder")
TYPED_ONLY = ("allow_class_paths", "allow_download")
"""What the user must type: a settings file cannot allow itself anything."""


def parsed_arguments(verb: str, command: Callable[..., Any], arguments: list[str]) -> dict[str, Any]:
    """Arguments of a command by name, as its signature has them.

    Args:
        verb: what the user typed, such as "train".
        command: function that the verb stands for.
        arguments: what the user typed after it; `--config FILE` reads a settings file.

    Raises:
        ValueError: an argument or settings file is wrong, or names a class to import that the user did not allow.
        SystemExit: help was asked for.
    """
    from jsonargparse import ArgumentError, ArgumentParser, set_loader

    # jsonargparse imports and calls whatever a mapping names as "class_path"; no mapping in a text has such a key here
    set_loader(MODE, plain_values, exceptions=(ValueError,))
    parser = ArgumentParser(prog=f"ccvae {verb}", allow_abbrev=False, parser_mode=MODE, exit_on_error=False)
    parser.add_argument("--config", action="config", help="settings file (YAML) with values of the arguments below")
    parser.add_function_arguments(command, as_group=False, as_positional=True, fail_untyped=True, sub_configs=True)
    parser.description = (command.__doc__ or "").partition("\n\n")[0]
    words = spelled_out(command, arguments)
    try:
        found = parser.parse_args(words)
    except ArgumentError as error:
        raise ValueError(f"{explained(str(error), command)}; for help: ccvae {verb} --help") from None
    values = {key: value for key, value in vars(parser.instantiate(found)).items() if key != "config"}
    check_class_paths(values, words)
    return values


def explained(message: str, command: Callable[..., Any]) -> str:
    """A parser's message on one line; a wrong value is shown with its argument and what is expected there."""
    from ccvae.labels.nearest import did_you_mean, nearest  # not for every command: it takes as long as importing pandas

    words = " ".join(message.split())
    unknown = re.search(r"(?:[Uu]nrecognized arguments|not accepted|does not accept)\D*?(--[\w.-]+)", words)
    if unknown:
        near = nearest(unknown[1], flags_of(command))
        return f"no argument {unknown[1]}" + (f"; did you mean {near}?" if near else "")
    surplus = re.search(r"[Uu]nrecognized arguments: (.*)", words)
    if surplus:
        advice = "most have a flag, such as --out, and several values are joined with commas, as in a=1,b=2"
        return f"{surplus[1].rstrip('.')}: more arguments than expected; {advice}"
    missing = re.search(r"arguments are required: (.*)|Key ['\"]?([\w.]+)['\"]? is required", words)
    if missing:
        return f"expected the argument {(missing[1] or missing[2]).upper()}"
    wrong = re.search(r'(?:Parser key|argument) "?(?:--)?([\w.]+)"?:', words)
    found = re.search(r"(?:Got value|Given value): (.*)$", words)
    expected = description_of(annotation_at(command, wrong[1])) if wrong else ""
    if wrong and found and expected:
        hint = did_you_mean(found[1], choices_of(annotation_at(command, wrong[1])))
        return f"{shown_name(command, wrong[1])}: expected {expected}, found {found[1]!r}{hint}"
    return words[:1].lower() + words[1:].rstrip(".")


def flags_of(command: Callable[..., Any]) -> list[str]:
    """All flags of a command, those of its sections too."""
    flags = [f"--{name}" for name in inspect.signature(command).parameters]
    for name, kind in get_type_hints(command).items():
        if is_dataclass(kind):
            flags += [f"--{name}.{setting.name}" for setting in fields(kind)]
    return flags


def shown_name(command: Callable[..., Any], key: str) -> str:
    """A flag, or the name of an argument without one."""
    parameter = inspect.signature(command).parameters.get(key)
    return key if parameter is not None and parameter.default is inspect.Parameter.empty else f"--{key}"


def annotation_at(command: Callable[..., Any], key: str) -> Any:
    """The type of an argument such as "seed", or of a field of a section such as "training.seed"; None if there is no such."""
    name, _, field = key.partition(".")
    annotation = get_type_hints(command).get(name)
    return get_type_hints(annotation).get(field.partition(".")[0]) if field and annotation is not None else annotation


def description_of(annotation: Any) -> str:
    """A type in words, such as "a whole number"; empty if there are none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(filter(None, map(description_of, arguments)))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return "a list such as [a, b]"
    if origin is dict:
        return "a mapping such as {name: value}"
    return WORDS.get(annotation, "")


def choices_of(annotation: Any) -> list[Any]:
    """The values that a type allows, where it names them."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for each in get_args(annotation) for choice in choices_of(each)]


def plain_values(text: str) -> Any:
    """The value of a settings file or of a part of one, without a mapping that names a class."""
    from jsonargparse import get_loader

    value = parse_yaml(text, "settings")
    if names_a_class(value):
        raise ValueError("settings: found the key class_path; settings have plain values only")
    return get_loader("yaml")(text)  # the same value, but for numbers such as 1e-3, which this reads as such


def names_a_class(value: Any) -> bool:
    """Whether a value, or one within it, is a mapping that jsonargparse would make an object of."""
    if isinstance(value, dict):
        return "class_path" in value or any(map(names_a_class, value.values()))
    return isinstance(value, list) and any(map(names_a_class, value))


def check_class_paths(values: dict[str, Any], words: list[str]) -> None:
    """Raise `ValueError` if a settings file names an encoder or decoder to import, which the user did not type."""
    if values.get("allow_class_paths") or "model" not in values:
        return
    for name in CLASS_PATHS:
        path, flag = getattr(values["model"], name), f"--model.{name}"
        typed = f"{flag}={path}" in words or any(word == flag and after == path for word, after in pairwise(words))
        if path is not None and not typed:
            raise ValueError(
                f"model.{name}: a settings file names the class {path!r}; importing it runs its code. If you trust the author "
                f"of the file, add --allow_class_paths, or name the class yourself: {flag} {path}"
            )


def spelled_out(command: Callable[..., Any], arguments: list[str]) -> list[str]:
    """Arguments as jsonargparse takes them.

    "true" follows every switch that stands alone, flags have underscores (--dry_run), values such as -1,Unknown are no flags,
    and settings files are replaced by their checked content as JSON.
    """
    parameters = inspect.signature(command).parameters
    switches = {f"--{name}" for name, parameter in parameters.items() if parameter.annotation is bool}
    sections = {f"--{name}" for name, parameter in parameters.items() if is_dataclass(parameter.annotation)}
    words: list[str] = []
    for argument in joined_lists(command, arguments):
        flag, equals, value = argument.partition("=")
        if flag.startswith("--"):
            flag = "--" + flag[2:].replace("-", "_")
        before = words[-1] if words else ""
        if before in {"--config", *sections}:
            words[-1] = f"{before}={checked_settings(command, before, argument)}"
            continue
        if before.startswith("--") and "=" not in before and before not in switches and NEGATIVE.match(argument):
            words[-1] = f"{before}={argument}"
            continue
        if before in switches and argument not in ("true", "false"):
            words.append("true")
        if equals and flag in {"--config", *sections}:
            value = checked_settings(command, flag, value)
        words.append(flag + equals + value if flag.startswith("--") else argument)
    return [*words, "true"] if words and words[-1] in switches else words


def joined_lists(command: Callable[..., Any], arguments: list[str]) -> list[str]:
    """Arguments in which several values of a flag that takes a list are one JSON list.

    They may follow the flag one after the other, as a shell makes of *.png, or each have the flag before it.
    """
    hints = get_type_hints(command)
    lists = {f"--{name}" for name, kind in hints.items() if any(get_origin(each) is list for each in (kind, *get_args(kind)))}
    needed = sum(parameter.default is inspect.Parameter.empty for parameter in inspect.signature(command).parameters.values())
    switches = {f"--{name}" for name, kind in hints.items() if kind is bool}
    words: list[str] = []
    values: dict[str, list[str]] = {}

    def positional(before: list[str]) -> int:
        """Number of words that are no flags, nor values of flags."""
        flags = ["", *before]
        return sum(
            not word.startswith("--") and (not flag.startswith("--") or flag in switches or "=" in flag)
            for flag, word in zip(flags, before, strict=False)
        )

    waiting = iter([*arguments, "--"])
    argument = next(waiting)
    for following in waiting:
        flag, equals, value = RENAMED.get(argument, argument).partition("=")
        if flag not in lists:
            words.append(flag + equals + value)
            argument = following
            continue
        found = values.setdefault(flag, [])
        found += [value] if equals else []
        alone = positional(words) < needed  # one of the values is not the flag's
        while not following.startswith("--") and not equals and not (alone and found):
            found.append(following)
            following = next(waiting)
        argument = following
    for flag, found in values.items():
        words += [flag] if not found else [flag, found[0] if len(found) == 1 else json.dumps(found)]
    return words


def checked_settings(command: Callable[..., Any], flag: str, given: str) -> str:
    """Settings for a command or for one of its sections, as JSON text.

    Args:
        command: the command.
        flag: "--config" for arguments of the command by name, or a section's, such as "--data".
        given: path of a YAML file, or YAML text.

    Raises:
        ValueError: there is no such file, it is not YAML, or it has unknown keys or something else than a mapping as a section.
    """
    try:
        file = Path(given).exists()
    except (OSError, ValueError):  # a text is too long for a path, or has characters that paths cannot have
        file = False
    if not file and "{" not in given:
        raise ValueError(f"{flag}: there is no file {given}")
    source = given if file else flag
    value = read_yaml(Path(given)) if file else parse_yaml(given, source)
    parameters = inspect.signature(command).parameters
    kinds = {name: parameter.annotation for name, parameter in parameters.items() if name not in TYPED_ONLY}
    if flag == "--config":
        check_keys(value, tuple(kinds), source)
        for name, section in value.items():
            if is_dataclass(kinds[name]):
                check_keys(section, tuple(field.name for field in fields(kinds[name])), f"{source}, {name}")
    else:
        check_keys(value, tuple(field.name for field in fields(kinds[flag[2:]])), source)
    return json.dumps(value, default=str)


def check_keys(section: Any, known: tuple[str, ...], where: str) -> None:
    """Raise `ValueError` unless a section of settings is a mapping with known keys."""
    if not isinstance(section, dict):
        raise ValueError(f"{where}: expected a mapping with the keys {', '.join(known)}, found {type(section).__name__}")
    unknown = [str(key) for key in section if key not in known]
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; the keys are {', '.join(known)}")
