"""Conditions of a training: whatever decides its images and updates. Checkpoints contain them, and --resume compares.

A setting is a condition unless it is in one of the lists below. So a new setting is compared without further work.
"""
from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from centernet.config.declared import SETTINGS, read
from centernet.config.load import Config
from centernet.errors import UserError
from centernet.weights.checkpoint import ARCHITECTURE
from centernet.weights.recorded import checked

# Conditions that are computed from settings and data, and the flags that set them.
CONDITIONS = {"seed": "--seed", "batch_size": "--train_config.batch_size",
              "accumulate": "--train_config.accumulate", "device_num": "the number of devices",
              "do_shuffle": "--do_shuffle", "optimizer": "--train_config.optimizer",
              "momentum": "--train_config.SGD.momentum", "num_images": "the number of images in --mindrecord_dir",
              "data": "the checksum of the images and boxes in --mindrecord_dir",
              "rate_factor": "the factor of the learning rate (--train_config.lr_scale)",
              "ema_decay": "--train_config.ema_decay", "backbone_rate": "--train_config.backbone_rate",
              "freeze_stages": "--train_config.freeze_stages",
              "regions": "the mask of ignored regions (--dataset_config.ignored_regions)",
              "schedule_steps": "the number of all steps, which train_config.lr_schedule follows (--epoch_size, "
                                "--train_steps),",
              "warmup_factor": "the factor of the warm-up (--train_config.warmup_scale)",
              "plain_from": "the first of the epochs without strong augmentation "
                            "(--dataset_config.plain_epochs, --epoch_size, --train_steps; -1: none)"}

# The values in checkpoints from before these settings existed.
EARLIER = {"accumulate": 1, "precision": "float32", "ema_decay": 0.0, "colors": "uint8", "backbone_rate": 1.0,
           "freeze_stages": 0, "plain_from": -1, "regions": False}

SETTINGS_KEY = "settings"
# A checkpoint contains the state that these have made, and that state would overrule another value.
STATE = ("optimizer", "momentum", "ema_decay", "freeze_stages", "train_config.loss_scale_value")
# Settings of the training that CONDITIONS contain.
_COMPUTED = ("train_config.batch_size", "train_config.accumulate", "train_config.optimizer",
             "train_config.SGD.momentum", "train_config.ema_decay", "train_config.backbone_rate",
             "train_config.freeze_stages", "train_config.lr_scale", "train_config.reference_batch",
             "train_config.warmup_scale", "dataset_config.plain_epochs", "dataset_config.ignored_regions")
# Settings that may differ: they end a training, concern evaluations, or follow from the network and the data. The
# precision may differ too, and the log then says so.
_FREE = ("train_config.early_stop", "train_config.max_skipped_steps", "train_config.amp_level",
         "train_config.amp_type", "dataset_config.input_res_test", "dataset_config.output_res",
         "dataset_config.num_classes", "dataset_config.coco_classes",
         *(f"net_config.{name}" for name in ("num_stacks", *ARCHITECTURE)))  # require_preset compares the network
_OPTIMIZERS, _SCHEDULES = (SETTINGS[f"train_config.{name}"].choices for name in ("optimizer", "lr_schedule"))


def deciding_settings(config: Config) -> dict[str, Any]:
    """Return the settings that decide the arithmetic of a training, by name, as JSON values.

    Those of other optimizers and schedules than the chosen ones have no effect, so they are left out.
    """
    train = config.train_config
    unused = [f"train_config.{name}." for name in (*_OPTIMIZERS, *_SCHEDULES)
              if name not in (train.optimizer, train.lr_schedule)]
    names = [name for name in SETTINGS if name.startswith(("dataset_config.", "net_config.", "train_config."))
             and name not in (*_COMPUTED, *_FREE) and not name.startswith(tuple(unused))]
    return json.loads(json.dumps({name: read(config, name) for name in ("enable_lossscale", *names)}))


def recorded_settings(then: Mapping[str, Any], changed: Sequence[str]) -> dict[str, Any]:
    """Return settings of the training as a checkpoint records them: name -> JSON value. Those in changed are left out.

    The arguments are those of compare().
    """
    recorded = then.get(SETTINGS_KEY)
    known = dict(recorded) if isinstance(recorded, dict) else {}
    if decay := then.get("ema_decay"):
        known["train_config.ema_decay"] = decay
    found = {}
    for name, value in known.items():
        section, _, key = name.partition(".")
        if name in SETTINGS and key and not _is_named(name, changed):
            with contextlib.suppress(ValueError):  # the checkpoint has a wrong value: compare() shows it
                found[name] = checked(section, {key: value})[key]
    return found


def compare(then: Mapping[str, Any], now: Mapping[str, Any], changed: Sequence[str], path: str) -> list[str]:
    """Compare the conditions of a checkpoint with those of this run. Return what was changed on purpose.

    Args:
        then: progress of the checkpoint. What it lacks was not recorded, and is not compared.
        now: conditions of this run, see setup.make_plan.
        changed: names of conditions that may differ (--resume_changed).
        path: the checkpoint, for messages.

    Raises:
        UserError: another condition differs, or a name in changed is none or cannot be changed.
    """
    _require_known(changed, now)
    different = list(_differences({**EARLIER, **then}, now))
    wrong = [text for name, _, text in different if name in STATE or not _is_named(name, changed)]
    if not wrong:
        return [text for _, _, text in different]
    free = [word for name, word, _ in different if name not in STATE]
    fixed = [word for name, word, _ in different if name in STATE]
    ways = ["Use the same values"]
    if free and not fixed:
        ways.append(f"add --resume_changed {' '.join(dict.fromkeys(free))} to go on with the new values")
    raise UserError(f"--resume true: {path} cannot be resumed exactly, because {'; '.join(wrong)}. {', '.join(ways)}, "
                    "or leave out --resume to start a new training from its weights")


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return name, name for --resume_changed, and description of each condition that differs."""
    for key, flag in CONDITIONS.items():
        if key in then and key in now and then[key] != now[key]:
            words = _words(key)
            word = "epoch_size" if "epoch_size" in words else words[-1]
            yield key, word, f"{flag} was {_shown(then[key])}, now {_shown(now[key])}"
    if not isinstance(earlier := then.get(SETTINGS_KEY), dict):
        return
    for name, value in now.get(SETTINGS_KEY, {}).items():
        # A setting that is newer than the checkpoint has a default that changes nothing.
        if earlier.get(name, _default(name)) != value:
            yield name, name, f"--{name} was {_shown(earlier.get(name, _default(name)))}, now {_shown(value)}"


def _default(name: str) -> Any:
    return json.loads(json.dumps(SETTINGS[name].default))


def _words(name: str) -> list[str]:
    """Return the names of a condition for --resume_changed, without shortened ones: its key, then its flags."""
    return [name, *re.findall(r"--([\w.]+)", CONDITIONS.get(name, ""))]


def _is_named(name: str, changed: Sequence[str]) -> bool:
    """Return whether a condition is named, in full or by the last part of its name (learning_rate)."""
    words = _words(name)
    return any(word == said or word.endswith(f".{said}") for word in words for said in changed)


def _require_known(changed: Sequence[str], now: Mapping[str, Any]) -> None:
    names = [*CONDITIONS, *now.get(SETTINGS_KEY, {})]
    for said in changed:
        meant = [name for name in names if _is_named(name, [said])]
        if not meant:
            raise UserError(f"--resume_changed {said}: there is no such condition of a training. Name settings such as "
                            "learning_rate or train_config.MultiDecay.learning_rate, or one of "
                            f"{', '.join(name for name in CONDITIONS if name not in STATE)}")
        if set(meant) <= set(STATE):
            raise UserError(f"--resume_changed {said}: a resumed run cannot change it, because the checkpoint contains "
                            "what the earlier value has made. Leave it out")


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
