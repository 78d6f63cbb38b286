"""Command-line flags of an entry, derived from the declarations: --help, aliases, and messages for typing errors."""
from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from centernet.config.declared import SETTINGS, Declared, aliases, flags_of
from centernet.config.setting import ENTRIES
from centernet.config.values import is_list, plain
from centernet.errors import UserError, shown

WITHOUT_FILE = ("import_dataset", "check_data")  # commands without a file such as train.py at the top of a checkout
# Second names of settings in one entry: entry -> name of the setting -> flag.
SHORT = {"infer": {"eval_config.score_thresh": "score_thresh", "eval_config.K": "max_det"}}


def program(entry: str) -> str:
    """Return the command in the form that the user started: "centernet eval" or "eval.py"."""
    started = Path(sys.argv[0])
    module = started.name == "__main__.py" and started.parent.name == "centernet"
    if entry in WITHOUT_FILE or started.name == "centernet" or module:
        return "centernet " + ("convert-dataset" if entry == "dataset" else entry.replace("_", "-"))
    return f"{entry}.py"


def split_config_path(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the value of --config_path ("" without it) and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config_path", default="")
    try:
        known, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}") from error
    return known.config_path, rest


def without_aliases(entry: str, words: Sequence[str]) -> list[str]:
    """Return a command line with --model, --data and --out replaced by the entry's own flags.

    Raises:
        UserError: an alias and its flag are both given.
    """
    known, found, given = aliases(entry), [], {word.partition("=")[0] for word in words}
    for alias, name in known.items():
        if {f"--{alias}", f"--{name}"} <= given:
            raise UserError(f"--{alias} and --{name} are the same flag of {program(entry)}: give only one of them")
    for word in words:
        flag, equals, value = word.partition("=")
        own_name = known.get(flag[2:]) if flag.startswith("--") else None
        found.append(f"--{own_name}{equals}{value}" if own_name else word)
    return found


def parse_flags(entry: str, argv: Sequence[str], description: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags in argv: name of the setting -> raw string, or list of strings.

    Args:
        entry: one of ENTRIES.
        argv: the command line without --config_path.
        description: text for --help.
        defaults: values without flags, for --help.

    Raises:
        UserError: a flag is unknown, or has no value.
    """
    parser = _parser(entry, description, defaults)
    try:
        given, unknown = parser.parse_known_args(without_aliases(entry, argv))
    except argparse.ArgumentError as error:
        raise UserError(f"{error}. `{program(entry)} --help` lists the flags.") from error
    if unknown:
        flag = next((word for word in unknown if word.startswith("-")), unknown[0])
        hint = _nearest_flag(flag.lstrip("-").split("=")[0][:80], entry)
        raise UserError(f"{program(entry)}: unknown argument {shown(flag)}{hint} `{program(entry)} --help` lists all "
                        "flags.")
    return vars(given)


def _parser(entry: str, description: str, defaults: Mapping[str, Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program(entry), usage="%(prog)s [flags]", description=description,
                                     allow_abbrev=False, exit_on_error=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_path", metavar="FILE",
                        help="a preset's name (configs/), or a YAML file with the keys that differ")
    groups = {}
    for declared in flags_of(entry):
        common = len(declared.uses) == len(ENTRIES)
        title = declared.section or ("flags of every command" if common else f"flags of {program(entry)}")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        alias = declared.uses[entry].alias
        names = [f"--{name}" for name in (declared.name, alias, SHORT.get(entry, {}).get(declared.name)) if name]
        groups[title].add_argument(*names, default=argparse.SUPPRESS,
                                   metavar="PATH" if alias else declared.name.split(".")[-1].upper(),
                                   nargs="+" if is_list(declared) else "?" if declared.kind is bool else None,
                                   const="true" if declared.kind is bool else None,
                                   help=_help(declared, defaults[declared.name]).replace("%", "%%"))
    return parser


def _help(declared: Declared, default: Any) -> str:
    allowed = declared.choices or (("true", "false") if declared.kind is bool else ())
    listed = f"; choices: {', '.join(allowed)}" if allowed else ""
    return f"{declared.help} (default: {_shown(plain(default))}{listed})"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    text = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    return (text if len(text) <= 60 else text[:57] + "...") or "none"


def _nearest_flag(name: str, entry: str) -> str:
    known, own = [declared.name for declared in flags_of(entry)], aliases(entry)
    uses = [(declared.name, use.alias) for declared in SETTINGS.values() for use in declared.uses.values()]
    if name in {alias for _, alias in uses}:
        return f": there is no {name} for {program(entry)}."
    if (name, "model") in uses and "model" in own:  # the flag of the model in another entry
        return f"; did you mean --{own['model']}?"
    return nearest(name, [*known, *own], "--")


def nearest(name: str, known: Sequence[str], dashes: str = "") -> str:
    """Return "; did you mean NAME?" with the closest valid name, or ".". It also compares the last part of names."""
    by_tail = [full for full in known if full.split(".")[-1] == name]
    close = by_tail or difflib.get_close_matches(name, known, 1, 0.5)
    tails = {full.split(".")[-1]: full for full in known}
    close = close or [tails[tail] for tail in difflib.get_close_matches(name, list(tails), 1, 0.6)]
    return f"; did you mean {dashes}{close[0]}?" if close else "."
