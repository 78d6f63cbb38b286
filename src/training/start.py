"""Where a training begins: fresh weights, a backbone, another detector, or the middle of an earlier run."""
from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from mindspore import nn

from src.categories import Categories, require_same
from src.config import Config
from src.data.coco import CocoDataset, locate, read_coco, require_whole
from src.errors import UserError
from src.training.loop import Plan
from src.training.step import TrainStep
from src.weights.checkpoint import Checkpoint, load_network, load_parameters, read_checkpoint, require_preset
from src.weights.transfer import load_backbone, load_for_fine_tuning

LOG = logging.getLogger("centernet")

# What decides which images a step sees, and what sets it: a resumed run must agree with the first in all.
CONDITIONS = {"seed": "--seed", "batch_size": "--train_config.batch_size", "device_num": "the number of devices",
              "do_shuffle": "--do_shuffle", "num_images": "the number of images in --mindrecord_dir"}


def prepare_folders(config: Config) -> tuple[Path, Path]:
    """Make the folders of checkpoints and of results (log, metrics, plot); UserError if that is impossible."""
    checkpoints = Path(config.save_checkpoint_path or "checkpoints")
    results = Path(config.save_result_dir or checkpoints)
    for flag, folder in (("--save_checkpoint_path", checkpoints), ("--save_result_dir", results)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{flag} {folder}: {error.strerror or error}") from error
    return checkpoints, results


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
    total = config.train_steps if config.train_steps > 0 else config.epoch_size * steps_per_epoch
    conditions = {"seed": config.seed, "batch_size": config.train_config.batch_size, "device_num": devices,
                  "do_shuffle": config.do_shuffle, "num_images": num_images}
    # Without a loss scale nothing is lowered after an overflow, so trying again is of no use.
    allowed = config.train_config.max_skipped_steps if config.enable_lossscale else 1
    return Plan(0, total, steps_per_epoch, config.eval_interval, allowed, conditions)


def summary(config: Config, network: nn.Cell, categories: Categories, plan: Plan, devices: int,
            folders: tuple[Path, Path]) -> str:
    """What is going to be trained, in lines for the log."""
    train, net = config.train_config, config.net_config
    parameters = sum(parameter.size for parameter in network.trainable_params())
    rate = getattr(train, train.lr_schedule).learning_rate
    height, width = config.dataset_config.input_res_train
    lines = [f"device: {config.device_target}, {devices} in all",
             f"data: {plan.conditions['num_images']} images, {len(categories)} categories, {height} x {width} pixels",
             f"network: {net.backbone}, neck {net.neck}, {parameters / 1e6:.3f} M trainable parameters",
             f"batch: {train.batch_size} on each device, {train.batch_size * devices} in all",
             f"learning rate: {rate:g} ({train.lr_schedule})",
             f"steps: {plan.start_step} done, {plan.total_steps} in all, {plan.steps_per_epoch} in an epoch",
             f"checkpoints: {folders[0] if config.enable_save_ckpt else 'none'}; log, metrics and plot: {folders[1]}"]
    if config.enable_data_sink:
        # The stream of each epoch is built anew (seeded by the epoch, resumable in its middle); a sunk graph is
        # tied to one stream and would be compiled again for each.
        lines.append(f"enable_data_sink has no effect on {config.device_target}: batches are prefetched by threads "
                     "and fed step by step")
    return "\n".join(lines)


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
    load_network(network, checkpoint, path)
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
    other = [f"{flag} was {checkpoint.progress.get(key)}, now {plan.conditions[key]}"
             for key, flag in CONDITIONS.items() if checkpoint.progress.get(key) != plan.conditions[key]]
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
        require_same(checkpoint.record.categories, categories, f"checkpoint {path}", "the training data",
                     "To keep all but the heatmap head and learn the new categories use --fine_tune true.")
