"""Flags that stand for other flags, as people type them: --lr, --epochs, --input_size, and --resume with a path."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from centernet.config.declared import SETTINGS
from centernet.config.values import CANNOT, canonical, convert
from centernet.errors import UserError, printable, refuse_empty, shown
from centernet.files import exists, is_file

CHOOSERS = ("train_config.optimizer", "train_config.lr_schedule")  # the section with the name of the choice is active
RESUME, CHECKPOINT = "resume", "load_checkpoint_path"
FOLDERS, OWN_LAYOUT = ("coco_data_dir", "data_dir", "val_data_dir"), ("annotation_file", "image_dir")
LAST = ("last.ckpt", "ckpt_0/last.ckpt", "checkpoints/last.ckpt")  # in the folder of a run


class Shorthand(NamedTuple):
    """A flag that stands for others. `words` is argparse's nargs."""

    name: str
    metavar: str
    words: str | None
    help: str
    entries: tuple[str, ...]


SHORTHANDS = (
    Shorthand("epochs", "N", None, "the same as --epoch_size", ("train",)),
    Shorthand("lr", "RATE", None, "learning rate of the active schedule (train_config.lr_schedule)", ("train",)),
    Shorthand("learning_rate", "RATE", None, "the same as --lr", ("train",)),
    Shorthand("input_size", "SIZE", "+", "height and width, or one number for both, of the network's input: "
              "dataset_config.input_res_test; train and check-data: input_res_train and output_res, too",
              ("check_data", "train", "eval", "export")),
    Shorthand("score_thresh", "SCORE", None, "the same as --eval_config.score_thresh", ("infer",)),
    Shorthand("max_det", "N", None, "most boxes of an image: the same as --eval_config.K", ("infer",)),
)
RENAMED = {"epochs": "epoch_size", "score_thresh": "eval_config.score_thresh", "max_det": "eval_config.K"}


def targets(flag: str) -> set[str]:
    """Return what a flag sets, so that flags with two names for the same value have the same set."""
    if flag == "input_size":
        return {"dataset_config.input_res_train", "dataset_config.input_res_test"}
    name = RENAMED.get(flag, flag)
    return {"learning_rate"} if name.rpartition(".")[2] in ("lr", "learning_rate") else {name}


def shorthands_of(entry: str) -> list[Shorthand]:
    """Return the shorthands that are flags of an entry."""
    return [item for item in SHORTHANDS if entry in item.entries]


def expanded(entry: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a command line with shorthands replaced by the settings that they stand for.

    Args:
        entry: one of setting.ENTRIES.
        given: name of the flag -> what the user wrote.
        values: values of all settings without flags, by dotted name.

    Raises:
        UserError: a shorthand and its setting are both given, a flag is for a schedule or optimizer that is not chosen,
            two flags name the data set, or --resume names no checkpoint.
    """
    names = [item.name for item in SHORTHANDS]
    found = {name: value for name, value in given.items() if name not in names}
    typed = {name: name for name in found}
    for short in names:
        if short in given:
            for name, value in _meaning(entry, short, given, values):
                if name in found:
                    raise UserError(f"--{short} and --{typed[name]} are both given: they set the same value, give one "
                                    "of them")
                found[name], typed[name] = value, short
    _refuse_inactive(found, values)
    return {**found, **_resumed(found, values), **_located(found, values)}


def typed_shorthands(entry: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that a command line sets by shorthands: name of the setting -> shorthand. See expanded."""
    return {name: item.name for item in SHORTHANDS if item.name in given
            for name, _ in _meaning(entry, item.name, given, values)}


def _meaning(entry: str, short: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    value = given[short]
    if short in RENAMED:
        yield RENAMED[short], value
    elif short == "input_size":
        numbers = len(value) <= 2 and all(word.strip().isdecimal() for word in value)
        if not numbers and not value[0].lstrip().startswith("["):
            raise UserError(f"--input_size {shown(' '.join(value))}: give one number of pixels, or height and width, "
                            "such as --input_size 512 or --input_size 384 640")
        size = value * 2 if len(value) == 1 and not value[0].lstrip().startswith("[") else value
        if entry in ("train", "check_data"):  # others use no image of a training, whose rules are stricter
            yield "dataset_config.input_res_train", size
        yield "dataset_config.input_res_test", size
    else:
        schedule = canonical("train_config.lr_schedule", {**values, **given}["train_config.lr_schedule"])
        if schedule in SETTINGS["train_config.lr_schedule"].choices:  # otherwise the check of the choices says so
            yield f"train_config.{schedule}.learning_rate", value


def inactive(values: Mapping[str, Any]) -> dict[str, str]:
    """Return sections of optimizers and schedules that are not chosen: "train_config.SGD." -> setting that chooses."""
    return {f"train_config.{name}.": chooser for chooser in CHOOSERS for name in SETTINGS[chooser].choices
            if name != canonical(chooser, values[chooser])}


def _refuse_inactive(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    now = {**values, **given}
    for section, chooser in inactive(now).items():
        for name in given:
            if not name.startswith(section):
                continue
            active, other = canonical(chooser, now[chooser]), section.split(".")[1]
            own = f"train_config.{active}.{name.removeprefix(section)}"
            instead = f"Set --{own}" if own in SETTINGS else f"{active} has no such setting: leave it out"
            raise UserError(f"--{name} has no effect, because {chooser} is {active}. {instead}, or choose "
                            f"--{chooser} {other}")


def _located(given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flag of a data set's folder changes: annotation_file and image_dir of a file are no longer set.

    They would win, so that the command would read another data set than its flag names.
    """
    folder = next((name for name in FOLDERS if given.get(name)), "")
    own = [f"--{name}" for name in OWN_LAYOUT if given.get(name)]
    if folder and own:
        raise UserError(f"--{folder} and {' and '.join(own)} are both given: they name the data set in two ways. Give "
                        f"--{folder} for a data set in COCO's layout, otherwise --annotation_file and --image_dir")
    return {name: "" for name in OWN_LAYOUT if folder and values[name]}


def _resumed(given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what --resume PATH stands for: --resume true and --load_checkpoint_path PATH."""
    if RESUME not in given:
        return {}
    refuse_empty(f"--{RESUME}", str(given[RESUME]), "give true, false, a checkpoint, or the folder of a run")
    try:
        convert(bool, given[RESUME])
        return {}
    except CANNOT:
        path = Path(convert(str, given[RESUME]))
    if CHECKPOINT in given:
        raise UserError(f"--resume {printable(path)} names a checkpoint, and --load_checkpoint_path is given, too: "
                        "leave one of them out")
    if str({**values, **given}["enable_modelarts"]).lower() == "true":
        return {RESUME: "true", CHECKPOINT: str(path)}  # it is looked for after the download of checkpoint_url
    if not exists(path):
        raise UserError(f"--resume must be true, false, a checkpoint, or the folder of a run; found "
                        f"{shown(str(path))}: there is no such file or folder")
    if path.is_dir():
        last = last_checkpoint(path)
        if last is None:
            raise UserError(f"--resume {printable(path)}: this folder has no last.ckpt. Name the folder of "
                            "--save_checkpoint_path of the earlier run, or a checkpoint")
        path = last
    return {RESUME: "true", CHECKPOINT: str(path)}


def last_checkpoint(run: Path) -> Path | None:
    """Return the last checkpoint in the folder of a run; None if it has none."""
    return next((run / name for name in LAST if is_file(run / name)), None)
