"""Arguments of the scripts in scripts/: positional arguments, flags, environment variables, configuration.

The first source of a value counts: positional argument, flag, environment variable, file of --config_path,
default_config.yaml. All missing values are listed together.
"""
from __future__ import annotations

import argparse
import configparser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centernet.config.declared import SETTINGS
from centernet.config.flags import without_aliases
from centernet.config.launcher import FOREGROUND, GROUP_OPTIONS, OPTIONS
from centernet.config.load import load_config
from centernet.config.schema import Config
from centernet.config.shorthands import OWN_LAYOUT, shorthands_of, targets
from centernet.config.values import is_list
from centernet.documents import whole_number
from centernet.errors import UserError, bullets, nonempty, shown
from centernet.files import MOST_YAML_BYTES, read_bytes
from centernet.group import MOST_PROCESSES
from centernet.jobs.launch.devices import ascend_devices


@dataclass(frozen=True)
class Argument:
    """A positional argument."""

    name: str
    key: str             # name of the setting and the flag
    what: str            # description for messages
    needed: bool = True
    instead: tuple[str, ...] = ()  # keys that together replace it

    @property
    def variable(self) -> str:
        """Return the name of its environment variable."""
        return self.key.upper()


MODES, TARGETS = SETTINGS["run_mode"].choices, SETTINGS["device_target"].choices
FILES = "default_config.yaml or the file of --config_path"
DEVICE = Argument("DEVICE_ID", "device_id", "the device's number")
SHARDS = Argument("MINDRECORD_DIR", "mindrecord_dir", "the folder of the shards")
START = Argument("LOAD_CHECKPOINT_PATH", "load_checkpoint_path", "a checkpoint to start from", needed=False)
TABLE = Argument("RANK_TABLE_FILE", "rank_table_file", "the rank table", needed=False)


@dataclass(frozen=True)
class Kind:
    """One of the scripts: the entry that it starts, and its positional arguments in order."""

    entry: str
    arguments: tuple[Argument, ...]


KINDS = {
    "convert": Kind("dataset", (
        Argument("COCO_DATASET_DIR", "coco_data_dir", "the folder of the COCO-format data set", instead=OWN_LAYOUT),
        Argument("MINDRECORD_DATASET_DIR", "mindrecord_dir", "the folder for the shards"))),
    "train": Kind("train", (DEVICE, SHARDS, START)),
    "distribute": Kind("train", (SHARDS, TABLE, START)),
    "eval": Kind("eval", (
        DEVICE, Argument("RUN_MODE", "run_mode", " or ".join(MODES)),
        Argument("DATA_DIR", "data_dir", "the folder of the COCO-format data set", instead=OWN_LAYOUT),
        Argument("LOAD_CHECKPOINT_PATH", "load_checkpoint_path", "the checkpoint to evaluate"))),
}


@dataclass(frozen=True)
class Arguments:
    """The arguments of a script, after the checks."""

    config: Config
    flags: tuple[str, ...]            # flags for the entry, including positional arguments and variables
    options: dict[str, str | int]     # the given flags of the launcher itself
    foreground: bool
    variables: frozenset[str] = frozenset()  # names of the options that are environment variables

    def named(self, name: str, value: object) -> str:
        """Return an option with its value for messages: "--node_rank 1", or "NODE_RANK=1" of the environment."""
        return f"{name.upper()}={value}" if name in self.variables else f"--{name} {value}"


def read_arguments(name: str, words: list[str], environment: Mapping[str, str]) -> Arguments:
    """Read the words after a script's name.

    Args:
        name: a key of KINDS.
        words: positional arguments, then flags.
        environment: environment variables of the process.

    Raises:
        UserError: arguments are wrong, contradict each other, or are missing.
    """
    kind = KINDS[name]
    accepted = OPTIONS | GROUP_OPTIONS if name == "distribute" else OPTIONS
    options, variables, foreground, words = _split_options(words, environment, accepted)
    placed, flags = _split_places(kind, words)
    flags = without_aliases(kind.entry, flags)
    if TABLE.key in placed and TABLE in kind.arguments:
        options[TABLE.key] = placed.pop(TABLE.key)
        variables -= {TABLE.key}
    path = str(options.pop("hyper_parameter_config_dir", ""))
    from_file = [f"--{key}" for key in _read_ini(path)] if path else []
    leading = []
    for argument in (*kind.arguments, Argument("DEVICE_TARGET", "device_target", " or ".join(TARGETS))):
        if argument == TABLE:
            continue
        value = placed.get(argument.key, "")
        if value and is_given(flags, argument.key):
            raise UserError(f"{argument.name} is given twice: as the argument {value} and as --{argument.key}")
        first = any(is_given([*flags, *from_file], key) for key in (argument.key, *argument.instead))
        value = value or ("" if first else environment.get(argument.variable, ""))
        if value:
            leading += [f"--{argument.key}", value]
    if path:
        flags = [*read_hyper_parameters(path, [*leading, *flags]), *flags]
    config = load_config(kind.entry, [*leading, *flags], "")
    _require(kind, config, options)
    return Arguments(config, (*leading, *flags), options, foreground, variables)


def is_given(flags: list[str] | tuple[str, ...], key: str) -> bool:
    """Return whether --key is in the words of a command line."""
    return any(word == f"--{key}" or word.startswith(f"--{key}=") for word in flags)


class _CaseSensitive(configparser.ConfigParser):
    """A parser that keeps upper case in keys, such as train_config.Adam.weight_decay."""

    def optionxform(self, optionstr: str) -> str:
        """Return the key unchanged."""
        return optionstr


def read_hyper_parameters(path: str, line: Sequence[str] = ()) -> list[str]:
    """Read flags of train.py from the section [config] of an .ini file, without quotes and without empty values.

    Args:
        path: the file.
        line: words of the command line. A key of the file is left out if they set the same value, also if they have
            another name for it.

    Raises:
        UserError: the file cannot be read, has no such section, or has a key that train.py does not have; or a value
            is wrong, alone or together with the command line.
    """
    given = {name for word in line if word.startswith("--") for name in targets(word[2:].partition("=")[0])}
    flags = [word for key, words in _read_ini(path).items() if not targets(key) <= given
             for word in (f"--{key}", *words)]
    try:
        load_config("train", [*flags, *line], "")
    except UserError as error:
        raise UserError(f"{path}{' with the command line' if line else ''}: {error}") from error
    return flags


def _read_ini(path: str) -> dict[str, list[str]]:
    """Return the keys of read_hyper_parameters with the words of their values. Aliases become the settings' names."""
    parser = _CaseSensitive(interpolation=None)
    try:
        data = read_bytes(Path(path), MOST_YAML_BYTES, f"--hyper_parameter_config_dir {path}")
        parser.read_string(data.decode("utf-8-sig"), path)
        values = dict(parser["config"])
    except (configparser.Error, UnicodeDecodeError, KeyError) as error:
        raise UserError(f"--hyper_parameter_config_dir {path} is not an .ini file with a section [config]: "
                        f"{str(error).splitlines()[0]}") from error
    flags: dict[str, list[str]] = {}
    for key, raw in values.items():
        value = raw.strip("'\"")
        if key in ("distribute", "device_id", "device_num") and (key, value.lower()) != ("distribute", "true"):
            raise UserError(f"{path}: {key} is set by the launcher: remove it")
        if value and key != "distribute":
            flags[key] = value.split() if _takes_words(key) else [value]
    try:
        names = without_aliases("train", [f"--{key}" for key in flags])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return {name[2:]: words for name, words in zip(names, flags.values())}


def _takes_words(key: str) -> bool:
    """Return whether a flag takes several words. Others take one, which may be a path with spaces."""
    several = [item.name for item in shorthands_of("train") if item.words]
    return key in several or key in SETTINGS and is_list(SETTINGS[key])


def _split_options(words: list[str], environment: Mapping[str, str], options: dict[str, type]
                   ) -> tuple[dict[str, str | int], frozenset[str], bool, list[str]]:
    """Return the launcher's own flags or variables, the names of the variables, --foreground, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{FOREGROUND}", action="store_true")
    for name in options:
        parser.add_argument(f"--{name}", type=nonempty(f"--{name}"))
    try:
        known, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    typed = {name: getattr(known, name) for name in options if getattr(known, name) is not None}
    values = {name: typed.get(name) or environment.get(name.upper(), "") for name in options}
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    for name, value in given.items():
        if options[name] is int:
            number = whole_number(value, MOST_PROCESSES)
            if number is None:
                raise UserError(f"--{name} (or the environment variable {name.upper()}) must be a number, found "
                                f"{shown(value)}")
            given[name] = number
            if name in ("device_num", "worker_num", "local_worker_num") and not given[name]:
                raise UserError(f"--{name} (or the environment variable {name.upper()}) must be at least 1, found 0")
    return given, frozenset(given.keys() - typed.keys()), known.foreground, rest


def _split_places(kind: Kind, words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the words before the first flag by key, without those that are "" (not given), and the flags."""
    count = next((number for number, word in enumerate(words) if word.startswith("--")), len(words))
    values, places = words[:count], list(kind.arguments)
    if values and values[0] in MODES and places[0] == DEVICE:
        places = places[1:]  # short form: the mode without the device
    if len(values) > len(places):
        raise UserError(f"there are too many arguments: {' '.join(values[len(places):])!r} comes after "
                        f"{' '.join(argument.name for argument in places)}. Flags start with --")
    if values and not values[-1] and places[len(values) - 1] != TABLE:  # a "" before others keeps their places
        last = places[len(values) - 1]
        raise UserError(f"{last.name} is empty: give {last.what}, or leave the argument out")
    placed = {argument.key: value for argument, value in zip(places, values) if value}
    device, mode = placed.get("device_id", "0"), placed.get("run_mode", "val")
    if not device.isdecimal():
        raise UserError(f"DEVICE_ID must be a number, found {device!r}; the arguments are "
                        f"{' '.join(argument.name for argument in kind.arguments)}")
    if mode not in MODES:
        raise UserError(f"RUN_MODE must be {' or '.join(MODES)}, found {mode!r}; the arguments are "
                        f"{' '.join(argument.name for argument in kind.arguments)}")
    return placed, words[count:]


def _require(kind: Kind, config: Config, options: dict[str, str | int]) -> None:
    """Raise UserError with all required values that are missing."""
    missing = []
    for position, argument in enumerate(kind.arguments, 1):
        if not argument.needed or argument == TABLE or getattr(config, argument.key) != "":
            continue
        if argument.instead and all(getattr(config, key) for key in argument.instead):
            continue
        missing.append(f"{argument.name}, {argument.what}: argument {position}, or --{argument.key}, or the "
                       f"environment variable {argument.variable}, or {argument.key} in {FILES}")
    if TABLE in kind.arguments and not (options.keys() & {TABLE.key, "worker_num", "device_num"}
                                        or config.device_num > 1 or ascend_devices()):
        missing.append("the number of devices, because this server has no Ascend device to count: --device_num, or the "
                       f"environment variable DEVICE_NUM, or device_num above 1 in {FILES}. Or give a rank table: "
                       f"argument 2, or the environment variable {TABLE.name} (on CPU also set DEVICE_TARGET=CPU)")
    if missing:
        raise UserError(f"{len(missing)} thing{'s are' if len(missing) > 1 else ' is'} missing:{bullets(missing)}")
