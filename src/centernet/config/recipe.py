"""--recipe: the length of a training and its schedule from the number of images, for small data sets.

The schedules of presets are for COCO: a warm-up of 2000 steps and drops after 90 epochs make no sense for 300 images.
"""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from centernet.config.declared import SETTINGS, read
from centernet.config.schema import Config
from centernet.config.values import convert, plain


class Length(NamedTuple):
    """Updates that a training needs at least, and limits of its epochs."""

    updates: int
    fewest: int
    most: int


LENGTHS = {"finetune": Length(1500, 12, 300), "scratch": Length(5000, 70, 1000)}
WARM_UP, LONGEST_WARM_UP = 0.05, 1000  # share of all steps; steps
DROPS = (0.65, 0.87)                   # shares of the epochs, as 90 and 120 of the paper's 140
AVERAGED = 0.1                         # share of the training that the average of the weights (ema_decay) looks back


def decide(config: Config, images: int, batch: int, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what config.recipe sets: name of the setting -> value. Flags that the user gave are left out.

    Args:
        config: the configuration; its train_steps, if set, is the length of the training.
        images: images of the training data.
        batch: global batch size.
        earlier: of a resumed run, the values that it had, see conditions.recorded_settings. They win over new ones,
            because a longer training would get another warm-up and another average of the weights.
    """
    train, length, each = config.train_config, LENGTHS[config.recipe], max(1, images // batch)
    epochs = max(length.fewest, min(length.most, math.ceil(length.updates / each)))
    if config.train_steps > 0:
        epochs = math.ceil(config.train_steps / each)
    elif "epoch_size" in config.given:
        epochs = config.epoch_size
    steps = config.train_steps if config.train_steps > 0 else epochs * each
    section = f"train_config.{train.lr_schedule}"
    chosen: dict[str, Any] = {
        "epoch_size": epochs, f"{section}.warmup_steps": max(1, min(LONGEST_WARM_UP, int(WARM_UP * steps))),
        "train_config.warmup_scale": False}
    if train.lr_schedule == "MultiDecay":
        chosen[f"{section}.multi_epochs"] = drops(epochs)
    if train.reference_batch:
        chosen["train_config.lr_scale"] = "linear" if train.optimizer == "SGD" else "sqrt"
    if train.ema_decay:
        chosen["train_config.ema_decay"] = min(train.ema_decay, round(1 - 1 / max(10.0, AVERAGED * steps), 5))
    chosen |= {name: convert(SETTINGS[name].kind, value) for name, value in (earlier or {}).items() if name in chosen}
    return {name: value for name, value in chosen.items() if name not in config.given}


def drops(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which the learning rate drops; () for one epoch."""
    found = {max(1, round(share * epochs)) for share in DROPS}
    return tuple(sorted(epoch for epoch in found if epoch < epochs))


def with_recipe(config: Config, images: int, batch: int,
                earlier: Mapping[str, Any] | None = None) -> tuple[Config, str]:
    """Return the configuration with what its recipe decides, and a text that says it. Without a recipe, change nothing.

    The arguments are those of decide().
    """
    if config.recipe == "none":
        return config, ""
    chosen, new = decide(config, images, batch, earlier), decide(config, images, batch)
    changes = [f"  {name}: {plain(read(config, name))} -> {plain(value)}" for name, value in chosen.items()
               if read(config, name) != value]
    text = (f"recipe {config.recipe} for {images} images, global batch size {batch}: "
            f"{max(1, images // batch)} steps in an epoch")
    after: Config = _replaced(config, chosen)
    lines = [text, *(changes or ["  it changes nothing"])]
    if kept := [f"{name} (for this length it would be {plain(new[name])})" for name in chosen
                if chosen[name] != new[name]]:
        lines.append(f"  note: the resumed training keeps its {', '.join(kept)}")
    steps = after.train_steps if after.train_steps > 0 else after.epoch_size * max(1, images // batch)
    if steps < LENGTHS[config.recipe].updates / 2:
        lines.append(f"  note: {steps} steps are few for a training of this kind: without --epochs and --train_steps, "
                     f"it would have about {LENGTHS[config.recipe].updates}")
    return after, "\n".join(lines)


def _replaced(settings: Any, values: dict[str, Any]) -> Any:
    """Return a dataclass of settings with other values by dotted name."""
    changes: dict[str, Any] = {}
    for key in dict.fromkeys(name.partition(".")[0] for name in values):
        inner = {name.partition(".")[2]: value for name, value in values.items() if name.partition(".")[0] == key}
        changes[key] = inner[""] if "" in inner else _replaced(getattr(settings, key), inner)
    return dataclasses.replace(settings, **changes)
