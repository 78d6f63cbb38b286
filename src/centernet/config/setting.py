"""Declaration of a setting: one field of a dataclass holds all information about it.

    epoch_size: int = setting(1, "number of epochs", ["train"], limits=POSITIVE)

Flags, --help, checks and the paths of ModelArts jobs are derived from these fields (declared.py). This file and the
files that declare settings (sections.py, schema.py) must run on Python 3.7 with only the standard library: see
tools/export_in_mindspore20.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ENTRIES = ("dataset", "train", "eval", "export", "convert_weights", "preprocess", "infer", "postprocess",
           "import_dataset", "check_data")
REQUIRED = "required"
UNLESS_FILES = REQUIRED + ", or --annotation_file and --image_dir"
COMPUTING = ("train", "eval", "export", "infer")  # the entries that compile a network


@dataclass(frozen=True)
class Limits:
    """A condition for allowed values."""

    wanted: str  # continues the sentence "NAME must ..."
    hold: Callable[[Any], bool]


POSITIVE = Limits("be greater than 0", lambda value: value > 0)
NOT_NEGATIVE = Limits("be 0 or greater", lambda value: value >= 0)
FRACTION = Limits("be between 0 and 1", lambda value: 0 <= value <= 1)


@dataclass(frozen=True)
class Use:
    """The use of a setting in one of its entries."""

    alias: str = ""  # second name of its flag: "model", "data" or "out", with the same meaning in every entry
    role: str = ""  # of a path in a ModelArts job: "data" or "model" (read), "output" (written)
    default: str | None = None  # data, output: path if none is given, in the local folder; "": that folder; None: unset
    suffixes: tuple[str, ...] = ()  # model: suffixes of the files to search for
    need: str = ""  # for --help: REQUIRED, or a text that begins so and names what can take its place; "": optional


def reads(default: str | None = None, alias: str = "", need: str = "") -> Use:
    """Declare a path of input data. A ModelArts job copies it from data_url."""
    return Use(alias, "data", default, need=need)


def writes(default: str | None = None, alias: str = "", need: str = "") -> Use:
    """Declare a path of results. A ModelArts job copies it to train_url."""
    return Use(alias, "output", default, need=need)


def loads(*suffixes: str, alias: str = "", need: str = "") -> Use:
    """Declare a path of a model. A ModelArts job copies it from checkpoint_url."""
    return Use(alias, "model", None, suffixes, need)


def each(use: Use, *entries: str) -> dict[str, Use]:
    """Declare the same use for several entries."""
    return dict.fromkeys(entries, use)


@dataclass(frozen=True)
class Setting:
    """Information about a setting besides its name, its type and its default value."""

    help: str
    uses: Mapping[str, Use]  # by entry; empty inside a section: then the uses of the section apply
    choices: tuple[str, ...] = ()
    limits: Limits | None = None


def setting(default: Any, text: str, entries: Iterable[str] | Mapping[str, Use] = (), *,
            choices: tuple[str, ...] = (), limits: Limits | None = None) -> Any:
    """Declare a setting as a field of a dataclass.

    Args:
        default: default value.
        text: help text; it starts with a lower-case letter and has no full stop.
        entries: entries (of ENTRIES) that have this setting as a flag; a mapping gives the use in each entry.
        choices: allowed values; empty: any value of the type.
        limits: a condition for the value alone. Rules between several settings are in checks.py.
    """
    return field(default=default, metadata={"setting": Setting(text, _uses(entries), choices, limits)})


def section(kind: type, entries: Iterable[str] = ()) -> Any:
    """Declare a section: a field whose value is another dataclass of settings."""
    return field(default_factory=kind, metadata={"setting": Setting("", _uses(entries))})


def _uses(entries: Iterable[str] | Mapping[str, Use]) -> Mapping[str, Use]:
    return entries if isinstance(entries, Mapping) else dict.fromkeys(entries, Use())
