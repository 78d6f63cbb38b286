"""The declarations of schema.py by dotted name, such as train_config.batch_size."""
from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from centernet.config.schema import Config
from centernet.config.setting import ENTRIES, Setting, Use


@dataclass(frozen=True)
class Declared(Setting):
    """A setting with its dotted name, its type, its default and all entries that have it as a flag."""

    name: str = ""
    kind: Any = None
    default: Any = None

    @property
    def section(self) -> str:
        """Return the name of its top-level section, or ""."""
        return self.name.partition(".")[0] if "." in self.name else ""


def _walk(kind: type, prefix: str = "", uses: Mapping[str, Use] | None = None) -> Iterator[Declared]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        said, hint, name = field.metadata.get("setting"), hints[field.name], prefix + field.name
        if said is None:
            continue  # Config.preset, Config.given and Config.named are no settings: load_config derives them
        if dataclasses.is_dataclass(hint):
            yield from _walk(typing.cast(type, hint), f"{name}.", uses or said.uses)
        else:
            yield Declared(said.help, uses or said.uses, said.choices, said.limits, name, hint, field.default)


SETTINGS = {declared.name: declared for declared in _walk(Config)}


def flags_of(entry: str) -> list[Declared]:
    """Return the settings that are flags of an entry.

    Order: its own settings (first those that it needs, then those with an alias), the settings of every entry, the
    settings of the sections.
    """
    taken = [declared for declared in SETTINGS.values() if entry in declared.uses]
    return sorted(taken, key=lambda declared: (bool(declared.section), len(declared.uses) == len(ENTRIES),
                                               not declared.uses[entry].need, not declared.uses[entry].alias))


def aliases(entry: str) -> dict[str, str]:
    """Return the flags --model, --data and --out of an entry: alias -> name of the setting."""
    return {declared.uses[entry].alias: declared.name for declared in flags_of(entry) if declared.uses[entry].alias}


def paths(entry: str, role: str) -> dict[str, Use]:
    """Return an entry's path settings that have one role in a ModelArts job: "data", "output" or "model"."""
    return {declared.name: declared.uses[entry] for declared in flags_of(entry) if declared.uses[entry].role == role}


def completed_in_job(entry: str, values: Mapping[str, Any]) -> set[str]:
    """Return the settings that may be empty in a ModelArts job.

    The job completes paths that have a default, and the main setting for a model if there is a checkpoint_url. It says
    itself what a missing data_url or train_url is needed for.

    Args:
        entry: one of setting.ENTRIES.
        values: values of all settings, by dotted name.
    """
    places = {**paths(entry, "data"), **paths(entry, "output")}
    found = {name for name, use in places.items() if use.default is not None or SETTINGS[name].kind is not str}
    models = paths(entry, "model")
    if values["checkpoint_url"] and not any(values[name] for name in models):
        found |= {name for name, use in models.items() if use.alias}
    return {*found, "data_url", "train_url"}


def read(config: Any, name: str) -> Any:
    """Return the value of a setting by its dotted name."""
    for key in name.split("."):
        config = getattr(config, key)
    return config
