"""Is the file of a model there, and of the right kind? This needs no MindSpore, whose import takes seconds."""
from __future__ import annotations

import shlex
from pathlib import Path

from centernet.config.declared import paths, read
from centernet.config.schema import Config
from centernet.errors import UserError
from centernet.files import exists, is_file
from centernet.program import command, program

EXPORTED = (".mindir", ".onnx")
FOREIGN = (".pth", ".pt", ".safetensors")  # of the programs whose weights convert_weights reads
RUNS_EXPORTED = ("eval", "infer")  # besides preprocess and postprocess, which take nothing else


def require_models(entry: str, config: Config) -> None:
    """Raise UserError if a model that an entry (of config.setting) is to read does not exist, or is a folder."""
    for name in paths(entry, "model"):
        path = read(config, name)
        if not path:
            continue
        if entry == "convert_weights" and not config.reverse:
            require_weight_file(Path(path))
        elif entry in ("preprocess", "postprocess") or entry in RUNS_EXPORTED and path.endswith(EXPORTED):
            require_exported(Path(path), f"--{name}")
        elif entry in RUNS_EXPORTED and config.backend != "auto":
            _require_there(Path(path), entry)  # runtimes.exported compares its kind with --backend
        else:
            require_checkpoint(Path(path), entry)


def require_checkpoint(path: Path, entry: str = "") -> None:
    """Raise UserError unless a checkpoint is a file NAME.ckpt; entry, one of config.setting, is the command."""
    _require_there(path, entry)
    if path.suffix != ".ckpt":
        raise UserError(f"checkpoint {path}{_other_kind(path, entry)}")


def _require_there(path: Path, entry: str) -> None:
    suffixes = (".ckpt", *EXPORTED) if entry in RUNS_EXPORTED else (".ckpt",)
    if exists(path) and path.is_dir():
        raise UserError(f"checkpoint {path} is a folder: name one file; it has {_models_in(path, suffixes)}")
    if not is_file(path):
        raise UserError(f"checkpoint {path}: there is no such file; {path.parent} has "
                        f"{_models_in(path.parent, suffixes)}")


def _other_kind(path: Path, entry: str) -> str:
    """Return what a file is that is no checkpoint by its name, and what to do with it."""
    if path.suffix in EXPORTED:
        reader = f"{program(entry)} needs one" if entry else "one is needed"
        return (f" is an exported model and no checkpoint, but {reader}: use the checkpoint (.ckpt) that it was "
                "exported from")
    if path.suffix in FOREIGN:
        return (f" has the weights of another program. Convert them first: {command('convert_weights')} --source NAME "
                f"--config_path PRESET --model {shlex.quote(str(path))} --out {shlex.quote(f'{path.stem}.ckpt')}")
    others = f", or an exported model ({', '.join(EXPORTED)})" if entry in RUNS_EXPORTED else ""
    return f": expected a MindSpore checkpoint with a name that ends in .ckpt{others}"


def require_exported(path: Path, subject: str) -> None:
    """Raise UserError unless an exported model is a file; subject is the name of the flag in the message."""
    if not is_file(path):
        raise UserError(f"{subject} {path}: there is no such file. {program('export')} writes NAME.mindir and "
                        "NAME.json, or NAME.onnx and NAME.onnx.json")


def require_weight_file(path: Path) -> None:
    """Raise UserError unless the weights of another program are a file."""
    if not is_file(path):
        folder = exists(path) and path.is_dir()
        raise UserError(f"--input {path}: {'is a folder: give a file' if folder else 'there is no such file'}")


def _models_in(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return the names of at most five models in a folder, or that it has none."""
    found = sorted(file.name for suffix in suffixes for file in folder.glob(f"*{suffix}")
                   if not file.name.startswith("."))
    return ", ".join(found[-5:]) or f"no {' or '.join(suffixes)} file"
