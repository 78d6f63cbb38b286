"""How a setting is declared: the field of a dataclass holds all that there is to say about it.

    epoch_size: int = setting(1, "number of epochs", ["train"], limits=POSITIVE)

Flags, --help, checks and the paths of ModelArts jobs are derived from these fields (declared.py). This file and those
that declare settings (sections.py, schema.py) run on Python 3.7 with the standard library alone: see
tools/export_in_mindspore20.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ENTRIES = ("dataset", "train", "eval", "export", "convert_weights", "preprocess", "infer", "postprocess")


@dataclass(frozen=True)
class Limits:
    """The values that are allowed."""

    wanted: str  # continues the sentence "NAME must ..."
    hold: Callable[[Any], bool]


POSITIVE = Limits("be greater than 0", lambda value: value > 0)
NOT_NEGATIVE = Limits("be 0 or greater", lambda value: value >= 0)
FRACTION = Limits("be between 0 and 1", lambda value: 0 <= value <= 1)


@dataclass(frozen=True)
class Use:
    """What a setting is to one of the entries that take it."""

    alias: str = ""  # a second name of its flag: "model", "data" or "out", which mean the same in every entry
    role: str = ""  # of a path in a ModelArts job: "data" or "model" (read), "output" (written)
    default: str | None = None  # data and output: the path where none is given; "": the folder itself; None: unset
    suffixes: tuple[str, ...] = ()  # model: endings of the files to look for


def reads(default: str | None = None, alias: str = "") -> Use:
    """A path of data; ModelArts copies it from data_url."""
    return Use(alias, "data", default)


def writes(default: str | None = None, alias: str = "") -> Use:
    """A path of results; ModelArts copies it to train_url."""
    return Use(alias, "output", default)


def loads(*suffixes: str, alias: str = "") -> Use:
    """A path of a model; ModelArts copies it from checkpoint_url."""
    return Use(alias, "model", None, suffixes)


def each(use: Use, *entries: str) -> dict[str, Use]:
    """The same use in several entries."""
    return dict.fromkeys(entries, use)


@dataclass(frozen=True)
class Setting:
    """What is said of a setting beside its name, its type and its default value."""

    help: str
    uses: Mapping[str, Use]  # by entry; empty in a section: the section's own counts
    choices: tuple[str, ...] = ()
    limits: Limits | None = None


def setting(default: Any, text: str, entries: Iterable[str] | Mapping[str, Use] = (), *,
            choices: tuple[str, ...] = (), limits: Limits | None = None) -> Any:
    """A field of a dataclass that is a setting.

    Args:
        default: its value where nobody says otherwise.
        text: the help; starts with a lower-case letter and has no full stop.
        entries: the entries that take it, of ENTRIES; a mapping says how.
        choices: the allowed values; none: any of the type.
        limits: what else its value must obey, whatever the other settings are (rules of several: checks.py).
    """
    return field(default=default, metadata={"setting": Setting(text, _uses(entries), choices, limits)})


def section(kind: type, entries: Iterable[str] = ()) -> Any:
    """A field of a dataclass that holds further settings, in a dataclass of their own."""
    return field(default_factory=kind, metadata={"setting": Setting("", _uses(entries))})


def _uses(entries: Iterable[str] | Mapping[str, Use]) -> Mapping[str, Use]:
    return entries if isinstance(entries, Mapping) else dict.fromkeys(entries, Use())
