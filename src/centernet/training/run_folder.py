"""Output of a training: checkpoints, log, profile, loss plot, and the summary at the start."""
from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from centernet.categories import Categories
from centernet.config.declared import SETTINGS, read
from centernet.config.load import Config, write_config
from centernet.config.values import MOST_NAME_BYTES
from centernet.documents import is_text
from centernet.group import Group
from centernet.run_files import RECORD, public
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.earlier_run import bring_best, set_aside, set_aside_branch
from centernet.training.folders import folders_of
from centernet.training.loop import Plan, profiler
from centernet.training.loss_plot import LossPlot
from centernet.training.optimization.freeze import frozen_size
from centernet.training.optimization.optimizer import describe_optimizer
from centernet.training.optimization.schedule import describe_schedule
from centernet.training.optimization.step import TrainStep
from centernet.training.run_record import write_record
from centernet.training.trackers import Guarded, open_tracker
from centernet.training.train_log import Follower, TrainLog, has_epoch_lines
from centernet.weights.checkpoint import model_record

LOG = logging.getLogger("centernet")
IN_FLOAT32 = (", also in evaluations; float32: batch norm, positions of deformable layers, last layers of the heads, "
              "losses, weights, optimizer")


@dataclass(frozen=True)
class Output:
    """Outputs of the training loop. If a profile is written, after_step is called after each step."""

    log: TrainLog
    keeper: CheckpointKeeper
    after_step: Callable[[], None] | None


@contextmanager
def open_output(config: Config, step_cell: TrainStep, categories: Categories, plan: Plan,
                group: Group) -> Iterator[Output]:
    """Print the summary and open the outputs of a training. At its end, also after an error, write the loss plot.

    Only the first rank prints and writes. The folders exist, see folders.owned_folders.
    """
    first, train = group.rank == 0, config.train_config
    checkpoints, results = folders_of(config)
    if first and not plan.start_step:
        set_aside(checkpoints if config.enable_save_ckpt else None, results, config.load_checkpoint_path)
    elif first and config.enable_save_ckpt:
        set_aside_branch(checkpoints, plan, config.load_checkpoint_path)
        bring_best(checkpoints, plan, config.load_checkpoint_path)
    keeper = CheckpointKeeper(checkpoints if first and config.enable_save_ckpt else None, step_cell,
                              model_record(config, categories), every=config.save_checkpoint_steps,
                              keep=config.save_checkpoint_num, start_step=plan.start_step,
                              steps_per_epoch=plan.steps_per_epoch, total_steps=plan.total_steps, leads=first)
    net = config.net_config
    weights = (net.hm_weight, net.wh_weight, net.off_weight)
    log = TrainLog(results if first else None, plan.steps_per_epoch, plan.total_steps, train.step_images * group.size,
                   plan.start_step, plan.begins_with_evaluation, epoch_lines=has_epoch_lines(config.log_format),
                   weights=weights, followers=_followers(config, results) if first else ())
    if first:
        LOG.info("%s", summary(config, step_cell, categories, plan, group.size, (checkpoints, results)))
        told = with_names(config, categories)
        write_config(told, results / "config.yaml")
        write_record(results / RECORD, told, plan, group.size)
    profile = config.profiler_path or str(results / "profile") if config.need_profiler and first else ""
    try:
        with profiler(profile) as after_step:
            yield Output(log, keeper, after_step)
    finally:
        log.close()


def with_names(config: Config, categories: Categories) -> Config:
    """Return the configuration with the names of the training data, not COCO's, which are the default."""
    names = categories.names
    if any(not is_text(name) or "\0" in name or len(name.encode()) > MOST_NAME_BYTES for name in names):
        return config  # no value of a setting; each checkpoint has the names
    return dataclasses.replace(config, dataset_config=dataclasses.replace(
        config.dataset_config, coco_classes=names, num_classes=len(names)))


def _followers(config: Config, results: Path) -> list[Follower]:
    """Return the loss plot, and the tracker of --tracker. Raise UserError if that cannot start."""
    net, name = config.net_config, config.tracker
    plot = LossPlot(results, {"hm": net.hm_weight, "wh": net.wh_weight, "off": net.off_weight})
    tracker = open_tracker(name, results, {key: public(read(config, key)) for key in SETTINGS})
    return [plot, Guarded(tracker, name)] if tracker else [plot]


def summary(config: Config, step_cell: TrainStep, categories: Categories, plan: Plan, devices: int,
            folders: tuple[Path, Path]) -> str:
    """Return log lines about the training: device, data, network, batch size, optimizer, steps, folders."""
    train, net = config.train_config, config.net_config
    images = train.step_images * devices
    batches = f" x {train.accumulate} (accumulate)" if train.accumulate > 1 else ""
    parameters = sum(parameter.size for parameter in step_cell.weights)
    frozen = (f", {frozen_size(step_cell.loss_network) / 1e6:.3f} M frozen (stem and {train.freeze_stages} stages of "
              "the backbone)" if train.freeze_stages else "")
    height, width = config.dataset_config.input_res_train
    lines = [f"devices: {devices} ({config.device_target})",
             f"data: {plan.conditions['num_images']} images, {len(categories)} categories, {height} x {width} pixels",
             f"network: {net.backbone}, neck {net.neck}, {parameters / 1e6:.3f} M trainable parameters{frozen}",
             f"precision: {plan.conditions['precision']}{IN_FLOAT32 * (plan.conditions['precision'] != 'float32')}",
             f"global batch size: {train.batch_size} on each device x {devices}{batches} = {images}",
             f"optimizer: {describe_optimizer(train)}",
             describe_schedule(train, images, plan.total_steps, plan.steps_per_epoch),
             f"steps: {plan.start_step} done, {plan.total_steps} in total, {plan.steps_per_epoch} in an epoch",
             f"checkpoints: {folders[0] if config.enable_save_ckpt else 'none'}; log, metrics and plot: {folders[1]}"]
    if config.enable_data_sink:
        lines.append("enable_data_sink: batches go through MindSpore's queue on the device" if config.sinks_data else
                     f"enable_data_sink has no effect on {config.device_target}: batches are prefetched by threads "
                     "and fed step by step")
    return "\n".join(lines)
