"""Train a detector on MindRecord shards (made by src/dataset.py), on one device or many.

    python train.py --device_target CPU --config_path configs/official_res18.yaml --mindrecord_dir /path/to/shards
"""
from __future__ import annotations

import sys

from src.config import Config, write_config
from src.errors import UserError
from src.runtime.device import join_group, set_up_device
from src.runtime.entry import run_entry
from src.runtime.signals import interruptible


def run(config: Config) -> None:
    """Build data, network and step, load what they start from, and train."""
    from src.data.pipeline import open_training_data
    from src.inference.detector import evaluate_network
    from src.models.centernet import build_centernet
    from src.training.checkpoints import CheckpointKeeper
    from src.training.loop import profiler, train
    from src.training.loss_network import LossNetwork
    from src.training.optimizer import build_optimizer
    from src.training.schedule import build_schedule
    from src.training.start import load_weights, make_plan, prepare_folders, resume, summary, validation_data
    from src.training.step import TrainStep
    from src.training.train_log import LOG, METRICS, TrainLog, plot_losses
    from src.weights.checkpoint import model_record

    if not config.mindrecord_dir:
        raise UserError("--mindrecord_dir is not set: name the folder of the shards that src/dataset.py wrote")
    set_up_device(config.device_target, config.device_id, config.seed)
    group = join_group(config.distribute, config.device_num)
    data = open_training_data(config.mindrecord_dir, config.mindrecord_prefix, config.dataset_config,
                              config.train_config.batch_size, config.seed, group.rank, group.size,
                              config.num_workers, config.do_shuffle)
    validation = validation_data(config, data.categories)
    plan = make_plan(config, data.steps_per_epoch(), data.num_images, group.size)
    network = build_centernet(config.net_config, len(data.categories))
    load_weights(config, network, data.categories)
    schedule = build_schedule(config.train_config, plan.steps_per_epoch, plan.total_steps)
    step = TrainStep(LossNetwork(network, config.net_config, config.dataset_config, len(data.categories)),
                     build_optimizer(network, config.train_config, schedule), config.train_config,
                     config.enable_lossscale, group.size)
    if config.resume:
        plan = resume(config, step, data.categories, plan)

    first = group.rank == 0
    checkpoints, results = prepare_folders(config)
    log = TrainLog(results if first else None, plan.steps_per_epoch, plan.total_steps,
                   config.train_config.batch_size * group.size, plan.start_step)
    keeper = CheckpointKeeper(checkpoints if first and config.enable_save_ckpt else None, step,
                              model_record(config, data.categories), config.save_checkpoint_steps,
                              config.save_checkpoint_num, plan.start_step, plan.steps_per_epoch)
    if first:
        LOG.info("%s", summary(config, network, data.categories, plan, group.size, (checkpoints, results)))
        write_config(config, results / "config.yaml")
    def evaluate() -> float:
        return evaluate_network(network, validation, config).AP

    profile = config.profiler_path or str(results / "profile") if config.need_profiler and first else ""
    try:
        with interruptible(group.size == 1), profiler(profile) as after_step:
            train(step, data, plan, log, keeper, evaluate if first and validation else None, after_step)
    finally:
        log.close()
        if first:
            plot_losses(results / METRICS, results / "loss.png")


def main(argv: list[str] | None = None) -> int:
    """Parse argv, train, return the exit status."""
    return run_entry("train", "Train a detector on MindRecord shards.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
