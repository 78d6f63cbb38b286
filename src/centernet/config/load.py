"""Loading of the configuration: from YAML files and flags to one frozen Config.

default_config.yaml holds three documents: values, help and choices. Its values are read. A file given with
--config_path overrides them, and flags override both. Help and choices are there for the reader: they are declared
with the types in schema.py, and a test compares them. All settings are validated once, and all problems are reported
together. Nothing here imports MindSpore, so that `--help` is fast.
"""
from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from centernet.config.checks import find_idle, find_problems
from centernet.config.declared import SETTINGS, aliases, completed_in_job
from centernet.config.documented import along_with, find_misuse
from centernet.config.flags import parse_flags, split_config_path, typed_aliases
from centernet.config.near_flags import nearest
from centernet.config.schema import Config
from centernet.config.shorthands import expanded, typed_shorthands
from centernet.config.values import build, canonical, plain, typed_values
from centernet.errors import LISTED_PROBLEMS, UserError, bullets, is_empty, printable, shown, together
from centernet.files import exists, read_yaml, write_text

PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has the settings inside the package; a checkout, a ModelArts code folder and an editable installation have
# the same files at the top.
HOME = PACKAGE if (PACKAGE / "default_config.yaml").is_file() else PACKAGE.parents[1]
DEFAULT_CONFIG = HOME / "default_config.yaml"
PRESETS = HOME / "configs"


def load_config(entry: str, argv: list[str], description: str) -> Config:
    """Build the Config of an entry from default_config.yaml, --config_path and flags.

    Args:
        entry: one of setting.ENTRIES.
        argv: the command line without the program's name.
        description: text for --help.

    Raises:
        UserError: a flag or key is unknown, a value has a wrong type or is out of range, or a file cannot be read. All
            wrong values are listed together.
    """
    word, rest = split_config_path(argv)
    values: dict[str, Any] = {name: declared.default for name, declared in SETTINGS.items()}
    _add(values, _read_values(DEFAULT_CONFIG))
    preset, chosen = "", dict[str, Any]()
    if word and not is_empty(word):
        path = find_config(word, "--config_path ")
        preset = path.stem if path.resolve() != DEFAULT_CONFIG else ""
        chosen = _read_values(path)
        _add(values, chosen)
    flags = parse_flags(entry, rest, description, values)
    given = expanded(entry, flags, values)
    typed = {**typed_aliases(entry, rest), **typed_shorthands(entry, flags, values)}
    _add(values, given)
    completed = completed_in_job(entry, values) if str(values["enable_modelarts"]).lower() == "true" else set[str]()
    named = flags if word is None else {**flags, "config_path": word}
    _refuse_empty(entry, {name: value for name, value in named.items() if name not in completed}, chosen, typed)
    config = build_config(values, preset, tuple(sorted(given)), typed)
    _refuse(find_idle(entry, config), typed)
    return dataclasses.replace(config, named=(*chosen, *given))


def _refuse_empty(entry: str, flags: Mapping[str, Any], chosen: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Raise UserError if a text or a word of a list is empty, as with an unset variable of a shell: --model "$MODEL".

    An empty text means "not set" in a file. So the command would do something else than the user meant: a training
    would start from random weights.

    Args:
        entry: one of setting.ENTRIES.
        flags: flags of the command line that nothing completes: name of the setting, or config_path -> what the user
            wrote.
        chosen: values of the file of --config_path.
        typed: that of build_config.
    """
    for name, value in flags.items():
        words = value if isinstance(value, list) else [value]
        if not _takes_texts(name) or not any(map(is_empty, words)):
            continue
        if len(words) > 1:
            raise UserError(f"{as_typed(f'--{name} has an empty word', typed)}: leave it out")
        wanted = "name where the results go" if name == aliases(entry).get("out") else "give a value"
        in_file = f", and {name} out of the file of --config_path, too" if chosen.get(name) else ""
        raise UserError(f"{as_typed(f'--{name} is empty', typed)}: {wanted}, or leave the flag out{in_file}")


def _takes_texts(name: str) -> bool:
    """Return whether a flag takes a text, or a list of texts, of any value."""
    declared = SETTINGS.get(name)
    return name == "config_path" or bool(declared and declared.kind in (str, tuple[str, ...]) and not declared.choices)


def find_config(word: str, flag: str = "") -> Path:
    """Return the YAML file for a word: a path or a preset's name, also in the form configs/NAME.yaml from any folder.

    Raises:
        UserError: the word is neither; the message begins with `flag`.
    """
    path = Path(os.path.expanduser(word) if word.startswith("~/") else word)
    if exists(path) and not path.is_dir():
        return path
    presets = sorted(found.stem for found in PRESETS.glob("*.yaml"))
    name = word.strip("'\"").removeprefix("configs/").removesuffix(".yaml")  # ModelArts' console keeps quotes
    if name in presets:
        return PRESETS / f"{name}.yaml"
    hint = nearest(Path(name).stem[:80], presets)
    raise UserError(f"{flag}{printable(path)} is neither a file nor a preset{hint} Presets are {', '.join(presets)}")


def preset_files(words: list[str]) -> list[Path]:
    """Return the YAML files for words; without words all presets. Raise UserError as find_config does."""
    return [find_config(word) for word in words] or sorted(PRESETS.glob("*.yaml"))


def build_config(values: Mapping[str, Any], preset: str = "", given: tuple[str, ...] = (),
                 typed: Mapping[str, str] | None = None) -> Config:
    """Convert and validate the values of all settings, by dotted name. Raise UserError with the first twenty problems.

    Args:
        values: values by dotted name, typed or as the user wrote them.
        preset: name of the preset.
        given: settings that flags name.
        typed: settings that the user named by another flag, such as epoch_size -> epochs: messages name this flag, too.
    """
    problems: list[str] = []
    config: Config = build(Config, {**typed_values(values, problems), "preset": preset, "given": given})
    _refuse(problems, typed)
    require_valid(config, typed)
    return config


def require_valid(config: Config, typed: Mapping[str, str] | None = None) -> None:
    """Raise UserError if settings contradict each other. `typed` is that of build_config."""
    _refuse([*find_problems(config), *find_misuse(config)], typed)


def _refuse(problems: list[str], typed: Mapping[str, str] | None = None) -> None:
    if problems:
        listed = bullets([as_typed(problem, typed or {}) for problem in problems])
        raise UserError(f"the configuration has {len(problems)} problem{'s' * (len(problems) > 1)}:{listed}")


def as_typed(problem: str, typed: Mapping[str, str]) -> str:
    """Return a message; if it begins with a setting that the user named by another flag, with this flag before it."""
    first, _, rest = problem.partition(" ")
    name = first.removeprefix("--")
    return f"--{typed[name]} ({name}) {rest}" if name in typed else problem


def replace_texts(config: Config, texts: Mapping[str, str | tuple[str, ...]]) -> Config:
    """Return config with other values for settings that are texts or lists of them: name -> value."""
    changes: dict[str, Any] = dict(texts)
    return dataclasses.replace(config, **changes)


def settings_of(config: Config) -> dict[str, Any]:
    """Return all settings as nested mappings, without what load_config derives about the call."""
    values = dataclasses.asdict(config)
    del values["preset"], values["given"], values["named"]
    return values


def write_config(config: Config, path: Path) -> None:
    """Write the effective values as a YAML file that --config_path can read. They contain what a recipe decided."""
    values = {**plain(settings_of(config)), "recipe": "none"}
    recipe = f"; recipe: {config.recipe}" if config.recipe != "none" else ""
    write_text(path, f"# Effective configuration; preset: {config.preset or 'none'}{recipe}\n"
               + yaml.safe_dump(values, sort_keys=False))


def _add(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Update values with those of one file or command line, and with the values that follow from them."""
    given = {name: canonical(name, value) for name, value in given.items()}
    values.update({**along_with(values, given), **given})


def _read_values(path: Path) -> dict[str, Any]:
    """Return the first document of a YAML file, by dotted name."""
    documents = [{} if document is None else document for document in read_yaml(path)]
    if len(documents) > 3 or not all(isinstance(document, dict) for document in documents):
        raise UserError(f"{printable(path)} must hold one to three YAML mappings: values, help, choices.")
    problems: list[str] = []
    found = _flat(documents[0], problems) if documents else {}
    if problems:
        raise UserError(together(printable(path), problems))
    return found


def _flat(document: Mapping[Any, Any], problems: list[str], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a mapping by dotted name. Append a message to problems for each unknown or repeated key."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if name in SETTINGS:
            problems += [_twice(name)] if name in found else []
            found[name] = value
            continue
        known = [other for other in SETTINGS if other.startswith(prefix)]
        if not any(other.startswith(f"{name}.") for other in known):
            siblings = dict.fromkeys(other[len(prefix):].split(".")[0] for other in known)
            hint = nearest(str(key)[:80], list(siblings)) if len(problems) < LISTED_PROBLEMS else ""
            problems.append(f"unknown key {shown(name)}{hint}")
        elif not isinstance(value, dict):
            problems.append(f"'{name}' is a section and needs a mapping of keys, found {shown(value)}")
        else:
            inner = _flat(value, problems, f"{name}.")
            problems.extend(_twice(key) for key in inner if key in found)
            found.update(inner)
    return found


def _twice(name: str) -> str:
    return f"{shown(name)} is there twice: in a section and outside of it. Keep one of the two"
