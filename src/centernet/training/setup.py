"""Where a training begins: fresh weights, a backbone, another detector, or the middle of an earlier run."""
from __future__ import annotations

import dataclasses
import logging
import zlib
from typing import Any

import mindspore as ms
from mindspore import nn

from centernet.categories import Categories, require_same
from centernet.config.load import Config
from centernet.data.coco import CocoDataset, locate, read_coco, require_whole
from centernet.errors import UserError
from centernet.group import Group, require_agreement
from centernet.models.centernet import build_centernet
from centernet.training.loop import Plan
from centernet.training.loss_network import LossNetwork
from centernet.training.optimizer import build_optimizer
from centernet.training.schedule import build_schedule, rate_factor, scale_schedule, warmup_factor
from centernet.training.step import TrainStep
from centernet.weights.checkpoint import Checkpoint, load_parameters, read_checkpoint, require_preset
from centernet.weights.transfer import load_backbone, load_for_fine_tuning

LOG = logging.getLogger("centernet")

# What decides which images a step sees and what its update is, and what sets it: a resumed run must agree with the
# first in all. (The momentum is among the optimizer's parameters: a checkpoint would overrule the configuration.)
CONDITIONS = {"seed": "--seed", "batch_size": "--train_config.batch_size", "device_num": "the number of devices",
              "do_shuffle": "--do_shuffle", "optimizer": "--train_config.optimizer",
              "momentum": "--train_config.SGD.momentum", "num_images": "the number of images in --mindrecord_dir",
              "rate_factor": "the factor of the learning rate (--train_config.lr_scale)",
              "warmup_factor": "the factor of the warm-up (--train_config.warmup_scale)"}


def validation_data(config: Config, categories: Categories) -> CocoDataset | None:
    """The data set to evaluate on during training; None if eval_interval is 0.

    Raises:
        UserError: it is not found, or its categories are not those of the training data.
    """
    if config.eval_interval == 0:
        return None
    dataset = read_coco(*locate(config.data_dir, "val", config.annotation_file, config.image_dir))
    require_whole(dataset)
    require_same(categories, dataset.categories, "the training data", str(dataset.annotation_file),
                 "Evaluate on data of the same categories, or set --eval_interval 0.")
    return dataset


def make_plan(config: Config, steps_per_epoch: int, num_images: int, devices: int) -> Plan:
    """A training from its first step to the one that train_steps or epoch_size ask for."""
    train = config.train_config
    total = config.train_steps if config.train_steps > 0 else config.epoch_size * steps_per_epoch
    conditions = {"seed": config.seed, "batch_size": train.batch_size, "device_num": devices,
                  "do_shuffle": config.do_shuffle, "num_images": num_images,
                  "optimizer": train.optimizer, "momentum": train.SGD.momentum,
                  "rate_factor": rate_factor(train, train.batch_size * devices),
                  "warmup_factor": warmup_factor(train, train.batch_size * devices)}
    # Without a loss scale nothing is lowered after an overflow, so trying again is of no use.
    allowed = train.max_skipped_steps if config.enable_lossscale else 1
    return Plan(0, total, steps_per_epoch, config.eval_interval, allowed, conditions)


def start(config: Config, categories: Categories, plan: Plan, group: Group) -> tuple[TrainStep, Plan]:
    """The network in its training step, as the configuration lets it begin, and the plan from there on.

    Args:
        plan: of a new training.
        group: the processes that train together.

    Raises:
        UserError: what is to be loaded does not fit, or the ranks would not begin with the same.
    """
    train, size = config.train_config, group.size
    network = build_centernet(config.net_config, len(categories))
    load_weights(config, network, categories)
    schedule = build_schedule(scale_schedule(train, train.batch_size * size), plan.steps_per_epoch, plan.total_steps)
    step_cell = TrainStep(LossNetwork(network, config.net_config, config.dataset_config, len(categories), size),
                          build_optimizer(network, train, schedule), train, config.enable_lossscale, size)
    if config.resume:
        plan = resume(config, step_cell, categories, plan)
    if size > 1:
        require_agreement(_premises(config, categories, plan, step_cell), group)
    return step_cell, plan


def _premises(config: Config, categories: Categories, plan: Plan, step_cell: TrainStep) -> dict[str, Any]:
    """What all ranks must begin with, by names that a user knows; paths and devices may differ."""
    values = {flag: plan.conditions[key] for key, flag in CONDITIONS.items()}
    values["the categories of --mindrecord_dir"] = categories.names
    for name in ("dataset_config", "net_config", "train_config", "eval_config"):
        values.update(_leaves(f"--{name}", dataclasses.asdict(getattr(config, name))))
    crc = 0
    for parameter in step_cell.get_parameters():
        crc = zlib.crc32(parameter.asnumpy().tobytes(), crc)
    return {**values, "--enable_lossscale": config.enable_lossscale, "--eval_interval": plan.eval_interval,
            "the number of steps (--epoch_size, --train_steps)": plan.total_steps,
            "the number of steps done before (--resume)": plan.start_step, "MindSpore's version": ms.__version__,
            "the checksum of the first weights (--load_checkpoint_path, --backbone_checkpoint)": crc}


def _leaves(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for part in value for key, leaf in _leaves(f"{name}.{part}", value[part]).items()}


def load_weights(config: Config, network: nn.Cell, categories: Categories) -> None:
    """Load what load_checkpoint_path or backbone_checkpoint ask for; a resumed run is loaded by resume().

    Raises:
        UserError: unreadable files, another network, or other categories without fine_tune.
    """
    if config.backbone_checkpoint and config.load_checkpoint_path:
        raise UserError("--backbone_checkpoint and --load_checkpoint_path exclude each other: a detector's checkpoint "
                        "brings its backbone along")
    if config.backbone_checkpoint:
        path = config.backbone_checkpoint
        LOG.info("backbone from %s\n%s", path, load_backbone(network, read_checkpoint(path), path).table())
    if not config.load_checkpoint_path or config.resume:
        return
    path = config.load_checkpoint_path
    checkpoint = read_checkpoint(path)
    if checkpoint.record:
        require_preset(checkpoint.record, config.net_config, path)
    if config.fine_tune:
        transfer = load_for_fine_tuning(network, checkpoint, config.net_config.cat_spec_wh, path)
        LOG.info("fine-tuning from %s\n%s", path, transfer.table())
        return
    _require_categories(checkpoint, categories, path)
    load_parameters(network, checkpoint.parameters, path)
    LOG.info("weights from %s; optimizer, schedule and step counter start anew", path)


def resume(config: Config, step_cell: TrainStep, categories: Categories, plan: Plan) -> Plan:
    """Load the whole state of an earlier run into step_cell; the plan from there on.

    Raises:
        UserError: the checkpoint is of another network, other categories or another run's
            conditions, or there is nothing left to train.
    """
    path = config.load_checkpoint_path
    checkpoint = read_checkpoint(path)
    done = checkpoint.progress.get("step")
    if checkpoint.record is None or done is None:
        raise UserError(f"--resume true: {path} does not hold the state of a training. To start a new training from "
                        "its weights leave out --resume")
    require_preset(checkpoint.record, config.net_config, path)
    _require_categories(checkpoint, categories, path)
    then, now = {**plan.conditions, **checkpoint.progress}, plan.conditions
    other = [f"{flag} was {then[key]}, now {now[key]}" for key, flag in CONDITIONS.items() if then[key] != now[key]]
    if other:
        raise UserError(f"--resume true: {path} cannot be gone on with exactly, since {'; '.join(other)}. Use the "
                        "same values, or leave out --resume to start a new training from its weights")
    if done >= plan.total_steps:
        raise UserError(f"--resume true: {path} has done {done} steps, and this training ends at "
                        f"{plan.total_steps}: raise --epoch_size or --train_steps (both count from the very start)")
    load_parameters(step_cell, checkpoint.parameters, path)
    LOG.info("resumed from %s after step %d", path, done)
    return dataclasses.replace(plan, start_step=done)


def _require_categories(checkpoint: Checkpoint, categories: Categories, path: str) -> None:
    if checkpoint.record:
        require_same(checkpoint.record.spec.categories, categories, f"checkpoint {path}", "the training data",
                     "To keep all but the heatmap head and learn the new categories use --fine_tune true.")
