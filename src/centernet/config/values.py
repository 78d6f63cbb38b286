"""Conversion of user input (YAML values, command-line words) to typed values."""
from __future__ import annotations

import dataclasses
import math
import os
import re
import typing
from collections.abc import Mapping
from typing import Any

from centernet.config.declared import SETTINGS, Declared
from centernet.documents import HIGHEST, LOWEST, is_text, parse_yaml
from centernet.errors import UserError, shown, without_commas

CANNOT = (ValueError, TypeError, UserError)  # exceptions of convert()
# Linux allows 4096 and 255. Names of files are still added to the paths of folders.
MOST_PATH_BYTES, MOST_NAME_BYTES = 3500, 255


class Refused(ValueError):
    """The value has the right type, but cannot be used; the text says why."""


def build(kind: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Build a dataclass of settings from typed values by dotted name. Fields without a value keep their default."""
    given = {}
    for key, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            given[key] = build(typing.cast(type, hint), values, f"{prefix}{key}.")
        elif prefix + key in values:
            given[key] = values[prefix + key]
    return kind(**given)


def typed_values(raw: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Convert the values of all settings. Append a message to problems for each value that is missing or invalid."""
    values = {}
    for name, declared in SETTINGS.items():
        if name not in raw:
            problems.append(f"{name} is missing")
            continue
        try:
            values[name] = convert(declared.kind, raw[name])
        except CANNOT as error:
            reason = f" ({error})" if isinstance(error, Refused) else ""
            problems.append(f"{name} must be {type_name(declared.kind)}, found {shown(raw[name])}{reason}"
                            f"{comma_hint(declared, raw[name])}")
            continue
        if declared.choices and values[name] not in declared.choices:
            problems.append(f"{name} must be one of {', '.join(declared.choices)}; found {shown(values[name])}"
                            + ". The file of a model is --model" * (name == "weights"))
    return values


def canonical(name: str, raw: Any) -> Any:
    """Return a raw value; for a setting with choices, the choice that differs from it only in upper and lower case."""
    choices = SETTINGS[name].choices
    return next((choice for choice in choices if choice.lower() == raw.strip().lower()), raw) if isinstance(
        raw, str) and choices else raw


def convert(kind: Any, raw: Any) -> Any:
    """Convert a raw value to a type. Raise one of CANNOT if that is not possible."""
    if kind is bool:
        words = {"true": True, "false": False}
        if isinstance(raw, bool):
            return raw
        if str(raw).lower() not in words:
            raise ValueError(raw)
        return words[str(raw).lower()]
    if typing.get_origin(kind) is tuple:
        return _convert_tuple(typing.get_args(kind), raw)
    if kind is str:
        if isinstance(raw, (dict, list)):
            raise ValueError(raw)
        return "" if raw is None else _usable_text(_at_home(str(raw)))
    if isinstance(raw, (bool, list, dict)) or raw is None or (kind is int and isinstance(raw, float)):
        raise ValueError(raw)
    value = kind(raw)
    if kind is int and not LOWEST <= value <= HIGHEST:
        raise Refused("it has more than 64 bits")
    if kind is float and not math.isfinite(value):
        raise Refused("it is not finite")
    return value


def _at_home(text: str) -> str:
    """Return a path with ~ replaced by the home folder: shells leave it alone in --flag=~/x, in quotes and in files."""
    return os.path.expanduser(text) if text == "~" or text.startswith("~/") else text


def _usable_text(text: str) -> str:
    """Return a text. Raise Refused if it cannot be a path: longer names and a byte 0 fail in each system call."""
    if "\0" in text or not is_text(text):
        raise Refused("it has a byte 0, or it is not UTF-8")
    if len(text.encode()) > MOST_PATH_BYTES or any(len(part.encode()) > MOST_NAME_BYTES for part in text.split("/")):
        raise Refused(f"at most {MOST_PATH_BYTES} bytes are allowed, and {MOST_NAME_BYTES} between two /")
    return text


def _convert_tuple(items: tuple[Any, ...], raw: Any) -> tuple[Any, ...]:
    if isinstance(raw, str):
        raw = [raw]
    single = isinstance(raw, list) and len(raw) == 1 and isinstance(raw[0], str)
    if single and re.match(r"\s*\[.*\]\s*$", raw[0], re.DOTALL):  # a glob such as [ab]*.jpg is none
        raw = next(iter(parse_yaml(raw[0], "")), None)  # ModelArts passes a list as one word: --flag=[512,512]
    if not isinstance(raw, (list, tuple)):
        raise ValueError(raw)
    if items[0] is str and (other := [item for item in raw if isinstance(item, (bool, float))]):
        raise Refused(f"{shown(other[0])} is no text in YAML: write it in quotes")  # yes is True, 1.0 a number
    open_ended = len(items) == 2 and items[1] is Ellipsis
    if not open_ended and len(raw) != len(items):
        raise ValueError(raw)
    return tuple(convert(items[0] if open_ended else kind, item) for kind, item in
                 zip([items[0]] * len(raw) if open_ended else items, raw))


def comma_hint(declared: Declared, value: Any) -> str:
    """Return the end of a message about a wrong value in which a comma stands for a space or a point; else ""."""
    if is_list(declared):
        items = value if isinstance(value, (list, tuple)) else [value]
        return without_commas(" ".join(item for item in items if isinstance(item, str)), "values")
    number = isinstance(value, str) and re.fullmatch(r"-?\d+,\d+", value)
    return ". Write decimals with a point" if number else ""


def is_list(declared: Declared) -> bool:
    """Return whether a setting is a list of values."""
    return typing.get_origin(declared.kind) is tuple


def type_name(kind: Any) -> str:
    """Return the name of a type in messages, such as "a list of 3 numbers"."""
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        count = "" if items[-1] is Ellipsis else f"{len(items)} "
        one = type_name(items[0]).removeprefix("a ").removeprefix("an ")
        return f"a list of {count}{one.replace('list', 'lists', 1) if one.startswith('list') else one + 's'}"
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}[kind]


def flag_words(value: Any) -> list[str]:
    """Return the words that a flag takes for a value: true or false, the items of a list, [] for an empty list."""
    value = plain(value)
    items = value if isinstance(value, list) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in items] or ["[]"]


def as_flag(value: Any) -> str:
    """Return flag_words as one text, for messages."""
    return " ".join(flag_words(value))


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted name; each name begins with the prefix."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found.update(dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return found


def plain(value: Any) -> Any:
    """Convert tuples to lists, for YAML and JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value
