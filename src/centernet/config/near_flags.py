"""Which flag did the user mean? Names of other detectors' programs, and names that look alike."""
from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from centernet.config.declared import SETTINGS, aliases, flags_of
from centernet.config.launcher import FOREGROUND, GROUP_OPTIONS, OPTIONS
from centernet.config.setting import ENTRIES
from centernet.config.shorthands import inactive, shorthands_of
from centernet.errors import printable
from centernet.program import program

SIZE, BATCH = ("input_size",), ("train_config.batch_size", "export_batch_size", "eval_config.batch_size")
SCORE = ("score_thresh", "eval_config.score_thresh")
# Names in other programs (YOLO, MMDetection, the paper's code) -> settings; the first that the command has is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "batch": BATCH, "batch_size": BATCH, "batchsize": BATCH, "bs": BATCH, "train_batch_size": BATCH,
    "imgsz": SIZE, "img": SIZE, "img_size": SIZE, "image_size": SIZE, "imgsize": SIZE, "input_res": SIZE, "size": SIZE,
    "conf": SCORE, "conf_thres": SCORE, "confidence": SCORE, "threshold": SCORE, "thresh": SCORE, "vis_thresh": SCORE,
    "iou": ("nms", "eval_config.SOFT_NMS"), "nms": ("eval_config.SOFT_NMS",), "topk": ("eval_config.K",),
    "source": ("image",), "input": ("image", "data"), "video": ("image",), "demo": ("image",), "images": ("image",),
    "data_path": ("data",), "dataset": ("data",), "data_folder": ("data",),
    "checkpoint": ("model",), "ckpt": ("model",), "load_model": ("model",), "load_from": ("model",),
    "pretrained": ("backbone_checkpoint",), "device": ("device_target",), "gpu": ("device_target",),
    "gpus": ("device_target",), "name": ("out",), "project": ("out",), "save_dir": ("out",), "output": ("out",),
    "output_dir": ("out",), "work_dir": ("out",), "exp_id": ("out",),
    "cfg": ("config_path",), "config": ("config_path",), "preset": ("config_path",),
    "patience": ("train_config.early_stop",), "freeze": ("train_config.freeze_stages",), "split": ("run_mode",),
    "workers": ("num_workers",), "num_epochs": ("epochs",), "val_intervals": ("eval_interval",),
    "lr0": ("lr",), "save_period": ("save_checkpoint_steps",), "vid_stride": (), "cache": (),
}



def nearest_flag(name: str, entry: str, values: Mapping[str, Any]) -> str:
    """Return the end of a message about an unknown flag: "; did you mean --NAME?", or ".".

    Args:
        name: the flag without dashes.
        entry: the command.
        values: values of all settings, by dotted name: flags of an optimizer or schedule that is not chosen are not
            offered.
    """
    unused, own = tuple(inactive(values)), aliases(entry)
    known = [declared.name for declared in flags_of(entry) if not declared.name.startswith(unused)]
    known += [item.name for item in shorthands_of(entry)]
    uses = [(declared.name, use.alias) for declared in SETTINGS.values() for use in declared.uses.values()]
    if name in {alias for _, alias in uses}:
        return f": there is no {name} for {program(entry)}."
    every, said = [*known, *own, "config_path"], name.replace("-", "_").lower()
    if said in SYNONYMS:
        meant = next((flag for flag in SYNONYMS[said] if flag in every), "")
        return f"; did you mean --{meant}?" if meant else "."
    if (name, "model") in uses and "model" in own:  # the flag of the model in another entry
        return f"; did you mean --{own['model']}?"
    others = [other for other in ENTRIES if name in _flags(other)]
    if others:
        return f": it is a flag of {' and of '.join(map(program, others[:2]))}."
    if said in (*OPTIONS, *GROUP_OPTIONS, FOREGROUND):
        return ": it is a flag of the script that starts a training on several devices."
    return nearest(name, every, "--")


def _flags(entry: str) -> set[str]:
    return {*(declared.name for declared in flags_of(entry)), *(item.name for item in shorthands_of(entry))}


def nearest(name: str, known: Sequence[str], dashes: str = "") -> str:
    """Return "; did you mean NAME?" with the closest valid name, or ".". Upper and lower case are equal.

    It also compares the last part of names that have dots.
    """
    said, full = name.lower(), {other.lower(): other for other in reversed(known)}  # the first of equal names
    tails = {lowered.split(".")[-1]: other for lowered, other in full.items()}
    close = [found for found in (full.get(said), tails.get(said)) if found]
    close = close or [full[other] for other in difflib.get_close_matches(said, full, 1, 0.5)]
    close = close or [tails[other] for other in difflib.get_close_matches(said, tails, 1, 0.6)]
    return f"; did you mean {dashes}{printable(close[0])}?" if close else "."
