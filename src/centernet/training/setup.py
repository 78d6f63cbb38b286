"""Set-up of a training: new weights, backbone weights, another detector's weights, or a resumed run."""
from __future__ import annotations

import dataclasses
import logging
import zlib
from typing import Any

import mindspore as ms
from mindspore import nn

from centernet.categories import Categories, require_same
from centernet.config.load import Config
from centernet.config.values import dotted
from centernet.data.coco import CocoDataset, read_evaluated
from centernet.errors import UserError
from centernet.group import Group, require_agreement
from centernet.models.centernet import build_centernet
from centernet.models.precision import lower, precision_of
from centernet.training.conditions import (
    CONDITIONS,
    EARLIER,
    SETTINGS_KEY,
    compare,
    deciding_settings,
    recorded_settings,
)
from centernet.training.early_stop import KEY as EARLY_STOP
from centernet.training.early_stop import EarlyStop
from centernet.training.loop import Plan
from centernet.training.losses.network import LossNetwork
from centernet.training.optimization.freeze import freeze, require_weights
from centernet.training.optimization.optimizer import build_optimizer
from centernet.training.optimization.schedule import build_schedule, rate_factor, scale_schedule, warmup_factor
from centernet.training.optimization.step import TrainStep
from centernet.weights.average import choose_weights
from centernet.weights.checkpoint import (
    Checkpoint,
    load_parameters,
    network_config,
    read_checkpoint,
    renewed,
    require_preset,
)
from centernet.weights.conversion import skeleton
from centernet.weights.transfer import load_backbone, load_for_fine_tuning

LOG = logging.getLogger("centernet")


def validation_data(config: Config, categories: Categories) -> CocoDataset | None:
    """Read the data set for evaluation during training; return None if eval_interval is 0.

    Raises:
        UserError: the data set is not found or not complete, or its categories are not those of the training data.
    """
    if config.eval_interval == 0:
        if {"data_dir", "annotation_file"} & set(config.given):
            LOG.info("note: this training does not evaluate, so it does not use --data_dir or --annotation_file: set "
                     "--eval_interval")
        return None
    if not (config.data_dir or config.annotation_file):
        raise UserError(f"--eval_interval {config.eval_interval} needs annotated images: set --data_dir to a data set "
                        "in COCO's layout, or --annotation_file and --image_dir, or set --eval_interval 0")
    dataset = read_evaluated(config.data_dir, "val", config.annotation_file, config.image_dir, config.strict,
                             config.allow_outside)
    return dataset.of_model(categories, "the training data",
                            "Evaluate on data with the same categories, or set --eval_interval 0.")


def make_plan(config: Config, steps_per_epoch: int, num_images: int, devices: int, data: str = "",
              regions: bool = False) -> Plan:
    """Return the plan of a new training with the length that train_steps or epoch_size gives.

    Args:
        config: the configuration.
        steps_per_epoch: steps of an epoch.
        num_images: images of the data set.
        devices: number of devices that train together.
        data: fingerprint of the data set, see mindrecord.Shards; "": unknown, it is not compared.
        regions: there are ignored regions, and they are masked.
    """
    train = config.train_config
    total = config.train_steps if config.train_steps > 0 else config.epoch_size * steps_per_epoch
    conditions = {"seed": config.seed, "batch_size": train.batch_size, "accumulate": train.accumulate,
                  "device_num": devices,
                  "do_shuffle": config.do_shuffle, "num_images": num_images, "ema_decay": train.ema_decay,
                  "backbone_rate": train.backbone_rate, "freeze_stages": train.freeze_stages,
                  "optimizer": train.optimizer, "momentum": train.SGD.momentum,
                  "precision": precision_of(train.amp_level, train.amp_type, config.device_target, config.exact_fp32),
                  "colors": "float32", "regions": regions,
                  "schedule_steps": total if train.lr_schedule in ("PolyDecay", "CosineDecay") else 0,
                  "rate_factor": rate_factor(train, train.step_images * devices),
                  "warmup_factor": warmup_factor(train, train.step_images * devices),
                  SETTINGS_KEY: deciding_settings(config), **({"data": data} if data else {})}
    conditions["plain_from"] = config.dataset_config.plain_from(-(-total // steps_per_epoch))
    # Without a loss scale, nothing is lowered after an overflow. So it is useless to try again.
    allowed = train.max_skipped_steps if config.enable_lossscale else 1
    return Plan(0, total, steps_per_epoch, config.eval_interval, allowed, conditions,
                EarlyStop(train.early_stop) if train.early_stop else None)


def start(config: Config, categories: Categories, plan: Plan, group: Group) -> tuple[TrainStep, Plan]:
    """Build the training step with its initial or resumed state.

    Args:
        config: the configuration.
        categories: categories of the training data.
        plan: plan of a new training.
        group: the processes that train together.

    Returns:
        The training step, and the plan; for a resumed run it begins after the steps already done.

    Raises:
        UserError: a checkpoint does not match, stages without trained weights are to be frozen, or the ranks would
            start with different settings or weights.
    """
    require_weights(config)
    step_cell = build_step(config, categories, plan, group.size)
    plan = (resume(config, step_cell, categories, plan) if config.resume else
            dataclasses.replace(plan, initial=_checksum(step_cell)))
    if group.size > 1:
        require_agreement(_premises(config, categories, plan, step_cell), group)
    return step_cell, plan


def build_step(config: Config, categories: Categories, plan: Plan, devices: int) -> TrainStep:
    """Build the training step of a new run with its initial weights, for a number of devices that train together.

    Raises:
        UserError: a checkpoint does not match.
    """
    train = config.train_config
    network = build_centernet(config.net_config, len(categories))
    load_weights(config, network, categories)
    if train.freeze_stages:
        freeze(network.backbone, train.freeze_stages)
    in_float32 = plan.conditions["precision"] == "float32"
    if not in_float32:
        lower(network, plan.conditions["precision"])
    schedule = build_schedule(scale_schedule(train, train.step_images * devices), plan.steps_per_epoch,
                              plan.total_steps)
    loss = LossNetwork(network, config.net_config, config.dataset_config, len(categories), devices,
                       plan.conditions["regions"])
    return TrainStep(loss, build_optimizer(network, train, schedule), train, config.enable_lossscale, devices,
                     in_float32)


def _premises(config: Config, categories: Categories, plan: Plan, step_cell: TrainStep) -> dict[str, Any]:
    """Return the values that must be the same on all ranks, by their names for the user. Paths may differ."""
    values = {flag: plan.conditions[key] for key, flag in CONDITIONS.items() if key in plan.conditions}
    values["the categories of --mindrecord_dir"] = categories.names
    for name in ("dataset_config", "net_config", "train_config", "eval_config"):
        values.update(dotted(dataclasses.asdict(getattr(config, name)), f"--{name}."))
    return {**values, "--enable_lossscale": config.enable_lossscale, "--eval_interval": plan.eval_interval,
            "the number of steps (--epoch_size, --train_steps)": plan.total_steps,
            "the number of steps done before (--resume)": plan.start_step, "MindSpore's version": ms.__version__,
            "the checksum of the initial weights (--load_checkpoint_path, --backbone_checkpoint)": _checksum(step_cell)}


def _checksum(step_cell: TrainStep) -> int:
    crc = 0
    for parameter in step_cell.get_parameters():
        crc = zlib.crc32(parameter.asnumpy().tobytes(), crc)
    return crc


def load_weights(config: Config, network: nn.Cell, categories: Categories) -> None:
    """Load the weights of load_checkpoint_path or backbone_checkpoint. resume() loads those of a resumed run.

    Raises:
        UserError: a file cannot be read, has another network, or has other categories (without fine_tune).
    """
    if config.backbone_checkpoint and config.load_checkpoint_path:
        raise UserError("--backbone_checkpoint and --load_checkpoint_path exclude each other: the checkpoint of a "
                        "detector contains its backbone")
    if config.backbone_checkpoint:
        path = config.backbone_checkpoint
        transfer = load_backbone(network, read_checkpoint(path), path, config.partial_backbone)
        LOG.info("backbone from %s\n%s", path, transfer.table())
    if not config.load_checkpoint_path or config.resume:
        return
    path = config.load_checkpoint_path
    checkpoint = read_checkpoint(path)
    if checkpoint.record:
        require_preset(checkpoint.record, config.net_config, path, fine_tune=config.fine_tune)
    checkpoint = choose_weights(checkpoint, _recorded_network(checkpoint, network, config), config.weights, path)
    if config.fine_tune:
        transfer = load_for_fine_tuning(network, checkpoint, config.net_config.cat_spec_wh, path)
        LOG.info("fine-tuning from %s\n%s", path, transfer.table())
        record = checkpoint.record
        if record and record.spec.categories.names == categories.names and not renewed(record, config.net_config):
            LOG.warning("note: %s has the same categories as the training data: leave out --fine_tune to keep the "
                        "weights of its heatmap head", path)
        return
    _require_categories(checkpoint, categories, path)
    load_parameters(network, checkpoint.parameters, path)
    LOG.info("weights from %s; optimizer, schedule and step counter start from the beginning", path)


def _recorded_network(checkpoint: Checkpoint, network: nn.Cell, config: Config) -> nn.Cell:
    """Return a network with the parameters of a checkpoint that is fine-tuned for another one, without values."""
    record = checkpoint.record
    if record is None or not renewed(record, config.net_config):
        return network
    return skeleton(network_config(record, config.net_config), len(record.spec.categories))


def earlier_settings(config: Config) -> dict[str, Any]:
    """Return the settings of the run that is resumed: name -> JSON value. Those of --resume_changed are left out.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    return recorded_settings(read_checkpoint(config.load_checkpoint_path).progress, config.resume_changed)


def resume(config: Config, step_cell: TrainStep, categories: Categories, plan: Plan) -> Plan:
    """Load the complete state of an earlier run into step_cell. Return the plan for the remaining steps.

    Raises:
        UserError: the checkpoint has another network, other categories or other conditions, or no steps remain.
    """
    path = config.load_checkpoint_path
    checkpoint = read_checkpoint(path)
    done = checkpoint.progress.get("step")
    if checkpoint.record is None or done is None:
        raise UserError(f"--resume true: {path} does not contain the state of a training. To start a new training from "
                        "its weights, leave out --resume")
    require_preset(checkpoint.record, config.net_config, path)
    _require_categories(checkpoint, categories, path)
    changed = compare(checkpoint.progress, plan.conditions, config.resume_changed, path)
    plan = dataclasses.replace(plan, start_step=done, initial=checkpoint.progress.get("initial", 0))
    plan.evaluated.step = _last_evaluation(checkpoint.progress)
    if done > plan.total_steps or done == plan.total_steps and not plan.begins_with_evaluation:
        raise UserError(f"--resume true: {path} was saved after {done} steps, but this training ends after "
                        f"{plan.total_steps}: increase --epoch_size or --train_steps (both include the steps of the "
                        f"earlier run){_moved_epochs(checkpoint.progress, plan)}")
    if plan.early_stop:
        plan.early_stop.restore(checkpoint.progress)
        if plan.early_stop.over:
            raise UserError(f"--resume true: the training of {path} ended early, after {plan.early_stop.waited} "
                            "evaluations without a higher AP. To go on, increase --train_config.early_stop, or set it "
                            "to 0")
    load_parameters(step_cell, checkpoint.parameters, path)
    then = {**plan.conditions, **EARLIER, **checkpoint.progress}
    changed += [f"{what} was computed in {then[key]}, now it is in {plan.conditions[key]}"
                for key, what in (("precision", "the network"), ("colors", "the colour jitter"))
                if then[key] != plan.conditions[key]]
    if SETTINGS_KEY not in checkpoint.progress:
        changed.append("it was saved by an earlier version, so its learning rate, augmentation, losses and images "
                       "cannot be compared")
    LOG.info("%s", "; ".join([f"resumed from {path} after step {done}", *changed]))
    if moved := _moved_epochs(checkpoint.progress, plan):
        LOG.warning("warning: the epochs of this training are not those of the earlier run%s", moved)
    return plan


def _moved_epochs(progress: dict[str, Any], plan: Plan) -> str:
    """Return the end of a message: an epoch has another number of steps than in the earlier run; "" if it has not."""
    then, now, done = progress.get("steps_per_epoch", plan.steps_per_epoch), plan.steps_per_epoch, plan.start_step
    if then == now:
        return ""
    return (f". An epoch had {then} steps, now it has {now}: the {done} steps were {done / then:.3g} epochs, and count "
            f"as {done / now:.3g} now, for the length of the training, the learning rate and evaluations. With the "
            "same global batch size (--train_config.batch_size x --train_config.accumulate x devices) nothing changes")


def _last_evaluation(progress: dict[str, Any]) -> int:
    """Return the number of steps at the last evaluation. Without a record, as in old checkpoints, none is missing."""
    return int(progress.get("evaluated", progress.get(EARLY_STOP, progress).get("step", 0)))


def _require_categories(checkpoint: Checkpoint, categories: Categories, path: str) -> None:
    if checkpoint.record:
        require_same(checkpoint.record.spec.categories, categories, f"checkpoint {path}", "the training data",
                     "To learn the new categories with all weights except those of the heatmap head, use --fine_tune "
                     "true.")
