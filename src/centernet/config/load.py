"""Configuration as a value: YAML files and flags in, one frozen Config out.

default_config.yaml holds three documents (values, help, choices). A file given
with --config_path overlays it, flags overlay both. Everything is typed from the
dataclasses of settings.py and validated once; all problems are reported together.
Nothing here imports mindspore, so that `--help` is quick.
"""
from __future__ import annotations

import argparse
import dataclasses
import difflib
import typing
from pathlib import Path
from typing import Any

import yaml

from centernet.config.checks import find_problems
from centernet.config.schema import Config
from centernet.errors import UserError
from centernet.files import write_text

PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has the settings inside the package; a checkout, a ModelArts code folder and an editable installation have
# the same files at the top.
HOME = PACKAGE if (PACKAGE / "default_config.yaml").is_file() else PACKAGE.parents[1]
DEFAULT_CONFIG = HOME / "default_config.yaml"
PRESETS = HOME / "configs"


# Flags of each entry. COMMON and the sections named last are added to them.
COMMON = ("device_target", "device_id", "seed", "log_file", "enable_modelarts", "data_url", "train_url",
          "checkpoint_url", "data_path", "output_path", "load_path", "download_timeout")
ENTRY_FLAGS = {
    "dataset": ("coco_data_dir", "mindrecord_dir", "mindrecord_prefix", "annotation_file", "image_dir",
                "shard_num", "keep_empty", "strict"),
    "train": ("distribute", "need_profiler", "profiler_path", "epoch_size", "train_steps", "device_num",
              "do_shuffle", "enable_lossscale", "enable_data_sink", "data_sink_steps", "enable_save_ckpt",
              "save_checkpoint_path", "load_checkpoint_path", "resume", "fine_tune", "backbone_checkpoint",
              "save_checkpoint_steps", "save_checkpoint_num", "mindrecord_dir", "mindrecord_prefix",
              "save_result_dir", "num_workers", "eval_interval", "data_dir", "annotation_file", "image_dir",
              "dataset_config", "net_config", "train_config", "eval_config"),
    "eval": ("distribute", "device_num", "load_checkpoint_path", "backend", "data_dir", "run_mode", "visual_image",
             "enable_eval", "save_result_dir", "annotation_file", "image_dir", "num_workers", "dataset_config",
             "net_config", "eval_config"),
    "export": ("export_load_ckpt", "export_format", "export_name", "export_decode", "export_deform",
               "export_batch_size", "input_res", "precision", "calibration_data", "calibration_images",
               "calibration_method", "calibration_percentile", "quantize_first_layer", "quantize_heads",
               "quantize_reduce_range", "max_ap_drop", "data_dir", "annotation_file", "image_dir", "num_workers",
               "dataset_config", "net_config", "eval_config"),
    "convert_weights": ("source", "input", "output", "reverse", "category_file", "dataset_config", "net_config"),
    "preprocess": ("model_path", "val_data_dir", "annotation_file", "image_dir", "predict_dir"),
    "infer": ("model_path", "backend", "image", "predict_dir", "result_path", "save_result_dir", "eval_config"),
    "postprocess": ("model_path", "result_path", "meta_path", "label_path", "save_path", "eval_config"),
}

# The flag that names the checkpoint or model; each entry has one of them.
MODEL_FLAGS = ("load_checkpoint_path", "export_load_ckpt", "model_path")


def load_config(entry: str, argv: list[str], description: str) -> Config:
    """Build the Config of an entry from default_config.yaml, --config_path and flags.

    Args:
        entry: a key of ENTRY_FLAGS.
        argv: the command line without the program's name.
        description: shown by --help.

    Raises:
        UserError: unknown flags or keys, values of a wrong type or outside
            their range, unreadable files; all of one kind listed together.
    """
    path, rest = _split_config_path(argv)
    values, helps, choices = _read_documents(DEFAULT_CONFIG)
    preset = ""
    if path:
        preset = path.stem if path.resolve() != DEFAULT_CONFIG else ""
        for base, overlay in zip((values, helps, choices), _read_documents(path)):
            _overlay(base, overlay, str(path), strict=base is values)
    flags = {name: default for name in (*COMMON, *ENTRY_FLAGS[entry]) for name, default in _leaves(name, values[name])}
    for name, value in _parse_flags(entry, rest, description, flags, helps, choices).items():
        _assign(values, name, value)
    return build_config(values, choices, preset)


def preset_files(words: list[str]) -> list[Path]:
    """The YAML files that words name, each a path or a preset's name; all presets without any word.

    Raises:
        UserError: a word is neither.
    """
    presets, found = sorted(PRESETS.glob("*.yaml")), []
    for word in words:
        fitting = [path for path in (Path(word), PRESETS / f"{word}.yaml") if path.is_file()]
        if not fitting:
            raise UserError(f"{word} is neither a file nor a preset; presets are "
                            f"{', '.join(path.stem for path in presets)}")
        found.append(fitting[0])
    return found or presets


def build_config(values: dict[str, Any], choices: dict[str, Any], preset: str = "") -> Config:
    """Type and validate a mapping of all keys; raises UserError with every problem found."""
    problems: list[str] = []
    config = _typed(Config, {**values, "preset": preset}, choices, "", problems)
    if not problems:
        problems = find_problems(config)
    if problems:
        listed = "\n  - ".join(problems)
        raise UserError(f"the configuration has {len(problems)} problem{'s' * (len(problems) > 1)}:\n  - {listed}")
    return config


def write_config(config: Config, path: Path) -> None:
    """Write the effective values as YAML that --config_path reads back."""
    values = yaml.safe_load(yaml.safe_dump(_plain(dataclasses.asdict(config))))
    values.pop("preset")
    write_text(path, f"# Effective configuration; preset: {config.preset or 'none'}\n"
               + yaml.safe_dump(values, sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _split_config_path(argv: list[str]) -> tuple[Path | None, list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config_path", default="")
    known, rest = parser.parse_known_args(argv)
    return (Path(known.config_path) if known.config_path else None), rest


def _read_documents(path: Path) -> list[dict[str, Any]]:
    """The values, help and choices documents of a YAML file; missing ones are empty."""
    try:
        documents = [document or {} for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    except OSError as error:
        preset = PRESETS / f"{path.stem}.yaml"
        hint = f"did you mean {preset}?" if preset.is_file() else f"presets are in {PRESETS}."
        raise UserError(f"--config_path {path}: {error.strerror or error}; {hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if len(documents) > 3 or not all(isinstance(document, dict) for document in documents):
        raise UserError(f"{path} must hold one to three YAML mappings: values, help, choices.")
    return documents + [{}] * (3 - len(documents))


def _overlay(base: dict[str, Any], overlay: dict[str, Any], source: str, strict: bool, prefix: str = "") -> None:
    """Replace the leaves of base that overlay names; unknown keys are errors when strict."""
    for key, value in overlay.items():
        if strict and key not in base:
            raise UserError(f"{source}: unknown key '{prefix}{key}'{_nearest(str(key), list(base))}")
        if isinstance(base.get(key), dict):
            if not isinstance(value, dict):
                raise UserError(f"{source}: '{prefix}{key}' is a section, found {value!r}")
            _overlay(base[key], value, source, strict, f"{prefix}{key}.")
        else:
            base[key] = value


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [leaf for key, item in value.items() for leaf in _leaves(f"{name}.{key}", item)]


def _lookup(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        tree = tree[section]
    tree[key] = value


def _parse_flags(entry: str, argv: list[str], description: str, flags: dict[str, Any],
                 helps: dict[str, Any], choices: dict[str, Any]) -> dict[str, Any]:
    """The flags given in argv, as raw strings or lists of strings."""
    parser = argparse.ArgumentParser(prog=f"{entry}.py", usage="%(prog)s [flags]", description=description,
                                     allow_abbrev=False, exit_on_error=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_path", metavar="FILE", help="YAML file with the keys that differ; see configs/")
    for name, default in flags.items():
        allowed = _lookup(choices, name) or (["true", "false"] if isinstance(default, bool) else None)
        listed = f"; choices: {', '.join(allowed)}" if allowed else ""
        text = f"{_lookup(helps, name) or ''} (default: {_shown(default)}{listed})"
        parser.add_argument(f"--{name}", metavar=name.split(".")[-1].upper(), default=argparse.SUPPRESS,
                            nargs="+" if isinstance(default, list) else None, help=text.replace("%", "%%"))
    try:
        given, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}. `{entry}.py --help` lists the flags.") from error
    if unknown:
        flag = next((word for word in unknown if word.startswith("-")), unknown[0])
        raise UserError(f"{entry}.py: unknown argument '{flag}'"
                        f"{_nearest(flag.lstrip('-').split('=')[0], list(flags), '--')} `{entry}.py --help` lists all.")
    return {name: value for name, value in vars(given).items() if name in flags}


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    text = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    return (text if len(text) <= 60 else text[:57] + "...") or "none"


def _nearest(name: str, known: list[str], dashes: str = "") -> str:
    """A sentence naming the closest valid name, also by the last part of a dotted one or by another entry's name."""
    by_tail = [full for full in known if full.split(".")[-1] == name]
    of_model = [flag for flag in MODEL_FLAGS if flag in known and name in MODEL_FLAGS]
    close = by_tail or of_model or difflib.get_close_matches(name, known, 1, 0.5)
    tails = {full.split(".")[-1]: full for full in known}
    close = close or [tails[tail] for tail in difflib.get_close_matches(name, list(tails), 1, 0.6)]
    return f"; did you mean {dashes}{close[0]}?" if close else "."


def _typed(kind: Any, raw: Any, choices: Any, name: str, problems: list[str]) -> Any:
    """Convert raw (YAML value, or flag string) to the annotation kind, collecting problems."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {key: _typed(hint, raw[key], (choices or {}).get(key), f"{name}{key}.", problems)
                  for key, hint in hints.items() if key in raw}
        problems += [f"{name}{key} is missing" for key in hints if key not in raw]
        return kind(**fields) if set(fields) == set(hints) else None
    label = name.rstrip(".")
    try:
        value = _convert(kind, raw)
    except (ValueError, TypeError):
        problems.append(f"{label} must be {_type_name(kind)}, found {raw!r}")
        return None
    if choices and value not in choices:
        problems.append(f"{label} must be one of {', '.join(map(str, choices))}; found {value!r}")
    return value


def _convert(kind: Any, raw: Any) -> Any:
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
        return "" if raw is None else str(raw)
    if isinstance(raw, (bool, list, dict)) or raw is None or (kind is int and isinstance(raw, float)):
        raise ValueError(raw)
    return kind(raw)


def _convert_tuple(items: tuple[Any, ...], raw: Any) -> tuple[Any, ...]:
    if isinstance(raw, str):
        raw = [raw]
    if isinstance(raw, list) and len(raw) == 1 and isinstance(raw[0], str) and raw[0].lstrip().startswith("["):
        raw = yaml.safe_load(raw[0])  # ModelArts passes a list as one word: --flag=[512,512]
    if not isinstance(raw, (list, tuple)):
        raise ValueError(raw)
    open_ended = len(items) == 2 and items[1] is Ellipsis
    if not open_ended and len(raw) != len(items):
        raise ValueError(raw)
    return tuple(_convert(items[0] if open_ended else kind, item) for kind, item in
                 zip([items[0]] * len(raw) if open_ended else items, raw))


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        count = "" if items[-1] is Ellipsis else f"{len(items)} "
        return f"a list of {count}{_type_name(items[0]).removeprefix('a ').removeprefix('an ')}s"
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}[kind]
