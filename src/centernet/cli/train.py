"""Train a detector on MindRecord shards (written by src/dataset.py), on one or several devices.

    python train.py --device_target CPU --config_path configs/official_res18.yaml --mindrecord_dir /path/to/shards
"""
from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.config.recipe import with_recipe
from centernet.device import set_up_group
from centernet.errors import UserError
from centernet.program import program

if TYPE_CHECKING:
    from centernet.group import Group

LOG = logging.getLogger("centernet")


def run(config: Config) -> None:
    """Build the input pipeline and the training step, load the initial weights, and train."""
    if not config.mindrecord_dir:
        raise UserError(f"--mindrecord_dir is not set: name the folder of the shards that {program('dataset')} wrote")
    from centernet.training.folders import owned_folders, require_folders

    if os.environ.get("RANK_ID", "0") == "0":  # the other ranks write nothing, and may see a disk that is read-only
        require_folders(config)  # before the import of MindSpore, which takes seconds
    group = set_up_group(config)
    with owned_folders(config, group.rank == 0):
        _train(config, group)


def _train(config: Config, group: Group) -> None:
    from centernet.config.threads import input_threads
    from centernet.data.pipeline import open_training_data
    from centernet.evaluation.dataset import NetworkEvaluation
    from centernet.group import from_first
    from centernet.training.loop import train
    from centernet.training.run_folder import open_output
    from centernet.training.setup import earlier_settings, make_plan, start, validation_data
    from centernet.weights.average import averaged

    data = open_training_data(config.mindrecord_dir, config.mindrecord_prefix, config.dataset_config,
                              config.train_config.step_images, config.seed, group=group,
                              num_workers=input_threads(config), shuffle=config.do_shuffle,
                              hm_gaussian=config.net_config.hm_gaussian, margin=config.net_config.margin,
                              strict=config.strict)
    earlier = earlier_settings(config) if config.resume and config.recipe != "none" else {}
    config, decided = with_recipe(config, data.num_images, config.train_config.step_images * group.size, earlier)
    if decided and group.rank == 0:
        LOG.info("%s", decided)
    validation = validation_data(config, data.categories)
    plan = make_plan(config, data.steps_per_epoch(), data.num_images, group.size, data.shards.fingerprint,
                     data.masks_regions)
    step, plan = start(config, data.categories, plan, group)
    evaluation = NetworkEvaluation(step.loss_network.network, validation, config, group) if validation else None

    def average_precision() -> float | None:
        with averaged(step.loss_network.network, step.average):
            metrics = evaluation() if evaluation else None
        precision = metrics.AP if metrics else None
        return from_first(precision, group) if plan.early_stop else precision  # all ranks stop at the same place

    with open_output(config, step, data.categories, plan, group) as output:
        train(step, data.until(plan.epochs), plan, output.log, output.keeper, evaluate=average_precision,
              profile=output.after_step, sink_level=sink_level(config))
        output.log.compilation(evaluation.first_runs.values() if evaluation else ())


def sink_level(config: Config) -> str | None:
    """Return the jit_level of a training whose batches go through the device's queue, see DataSink; None: they do not.

    MindSpore has such a queue on Ascend only.
    """
    if not config.sinks_data:
        return None
    return "" if config.jit_level == "auto" else config.jit_level


def main(argv: list[str] | None = None) -> int:
    """Parse argv, train, return the exit status."""
    return run_entry("train", "Train a detector on MindRecord shards.", run, argv)
