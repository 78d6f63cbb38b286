"""Command-line flags of an entry, derived from the declarations: --help, aliases, and messages for typing errors."""
from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from centernet.config.declared import Declared, aliases, flags_of
from centernet.config.near_flags import nearest_flag
from centernet.config.setting import ENTRIES
from centernet.config.shorthands import shorthands_of
from centernet.config.values import as_flag, is_list
from centernet.errors import LISTED_PROBLEMS, UserError, shown, together
from centernet.program import command, program

HELP_ALL = "--help-all"
NEGATIVE = re.compile(r"-\.?\d")  # the value of a flag
LONG_DASHES = "\u2012\u2013\u2014\u2015\u2212"  # what text editors make of --
EXAMPLES = {
    "import_dataset": "--data photographs --val_share 0.2",
    "check_data": "--data coco --out checked",
    "dataset": "--coco_data_dir coco --mindrecord_dir shards",
    "train": "--device_target CPU --config_path plus_res18 --mindrecord_dir shards --recipe scratch --out run",
    "eval": "--device_target CPU --config_path plus_res18 --model run/last.ckpt --data coco --visual_image",
    "export": "--device_target CPU --config_path plus_res18 --model run/last.ckpt --export_format ONNX --out detector",
    "convert_weights": "--source torchvision --config_path official_res18 --model resnet18.pth --out resnet18.ckpt",
    "preprocess": "--config_path plus_res18 --model_path detector.mindir --val_data_dir coco --predict_dir prepared",
    "infer": "--device_target CPU --model run/last.ckpt --image photographs --out found",
    "postprocess": "--config_path plus_res18 --model_path detector.mindir --result_path result_Files "
                   "--meta_path prepared/meta --label_path labels.json --save_path ap",
}


def split_config_path(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the value of --config_path (None without it) and the other words. Raise UserError if it has no value."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config_path")
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
        UserError: flags are unknown (the message lists all of them), or a flag has no value.
    """
    parser = _parser(entry, description, defaults, complete=HELP_ALL in argv)
    try:
        given, unknown = parser.parse_known_args(without_aliases(entry, argv))
    except argparse.ArgumentError as error:
        raise UserError(f"{error}. `{program(entry)} --help` lists the flags.") from error
    if unknown:
        problems = _unknown(entry, unknown, {**defaults, **vars(given)})
        end = "\n" if len(problems) > 1 else " "
        raise UserError(f"{together(program(entry), problems)}{end}`{program(entry)} {HELP_ALL}` lists all flags.")
    return vars(given)


def typed_aliases(entry: str, argv: Sequence[str]) -> dict[str, str]:
    """Return the settings that argv sets by --model, --data or --out: name of the setting -> alias."""
    given = {word.partition("=")[0] for word in argv}
    return {name: alias for alias, name in aliases(entry).items() if f"--{alias}" in given}


def _unknown(entry: str, words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Return a message for each unknown flag; the other words are probably their values. Or one for the first word."""
    flags = [word for word in dict.fromkeys(words) if word.startswith("-") and not NEGATIVE.match(word)]
    if not flags and words[0].startswith(tuple(LONG_DASHES)):
        return [f"unknown argument {shown(words[0])}: it begins with a long dash. Flags begin with two short ones: "
                f"--{words[0].lstrip(LONG_DASHES + '-')}"]
    if not flags:
        return [f"unknown argument {shown(words[0])}: it belongs to no flag. Paths have flags, too: "
                f"{required_words(entry).strip()}."]
    hints = [nearest_flag(flag.lstrip("-").split("=")[0][:80], entry, values) for flag in flags[:LISTED_PROBLEMS]]
    return [f"unknown argument {shown(flag)}{hint}" for flag, hint in zip_longest(flags, hints, fillvalue="")]


def _parser(entry: str, description: str, defaults: Mapping[str, Any], complete: bool) -> argparse.ArgumentParser:
    """Return the parser; its --help leaves out most settings unless `complete`. It takes all of them in any case."""
    parser = argparse.ArgumentParser(prog=program(entry), usage=f"%(prog)s {required_words(entry)}[flags]",
                                     description=description, allow_abbrev=False, exit_on_error=False,
                                     epilog=_epilog(entry, complete),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(HELP_ALL, action="help", help="the same with all flags")
    parser.add_argument("--config_path", metavar="FILE", default=argparse.SUPPRESS,
                        help="a preset's name (configs/), or a YAML file with the keys that differ")
    for item in shorthands_of(entry):
        parser.add_argument(f"--{item.name}", metavar=item.metavar, nargs=item.words, default=argparse.SUPPRESS,
                            help=item.help)
    groups = {}
    for declared in flags_of(entry):
        common = len(declared.uses) == len(ENTRIES)
        title = declared.section or ("flags of every command" if common else f"flags of {program(entry)}")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        alias = declared.uses[entry].alias
        groups[title].add_argument(f"--{declared.name}", *[f"--{alias}"] * bool(alias), default=argparse.SUPPRESS,
                                   metavar=_metavar(declared, alias), **_words(declared),
                                   help=_help(declared, defaults[declared.name], entry).replace("%", "%%")
                                   if complete or _is_common(declared) else argparse.SUPPRESS)
    return parser


def _is_common(declared: Declared) -> bool:
    """Return whether the short --help has a setting: not those of sections and of ModelArts jobs."""
    return not declared.section and not declared.help.startswith(("ModelArts", "run as a ModelArts job"))


def _epilog(entry: str, complete: bool) -> str:
    sections: dict[str, int] = {}
    for declared in flags_of(entry):
        if declared.section:
            sections[declared.section] = sections.get(declared.section, 0) + 1
    counts = ", ".join(f"--{name}.* ({count})" for name, count in sections.items())
    hidden = f"further flags: {counts}{', ' * bool(counts)}ModelArts: {program(entry)} {HELP_ALL}"
    example = f"example:\n  {command(entry)} {EXAMPLES[entry]}"
    return "" if complete else f"{hidden}\n\n{example}"


def _metavar(declared: Declared, alias: str) -> str:
    if declared.kind is bool:
        return "true|false"
    return "PATH" if alias else declared.name.split(".")[-1].upper()


def _words(declared: Declared) -> dict[str, Any]:
    """Return how many words a flag takes, as arguments of add_argument. A bare boolean flag means true."""
    if declared.kind is bool:
        return {"nargs": "?", "const": "true"}
    return {"nargs": "+"} if is_list(declared) else {}


def required_words(entry: str) -> str:
    """Return the flags that a command needs, with a space behind them: "--data PATH "."""
    needed = [(declared.uses[entry].alias or declared.name, _metavar(declared, declared.uses[entry].alias))
              for declared in flags_of(entry) if declared.uses[entry].need]
    return "".join(f"--{name} {value} " for name, value in needed)


def _help(declared: Declared, default: Any, entry: str) -> str:
    allowed, use = declared.choices, declared.uses[entry]
    if use.need:
        return f"[{use.need}] {declared.help}"
    if use.role == "output" and not default:  # the command chooses a folder; a text may say which
        return f"{declared.help} (default: {use.default})" if use.default else declared.help
    listed = f"; choices: {', '.join(allowed)}" if allowed else ""
    return f"{declared.help} (default: {_shown(default)}{listed})"


def _shown(default: Any) -> str:
    text = "none" if default in ((), []) else as_flag(default)
    return (text if len(text) <= 60 else text[:57] + "...") or "none"
