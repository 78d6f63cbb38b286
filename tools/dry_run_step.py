"""Compile and run one training step on zeros: the network and step of train.py, without its data.

    python -m tools.dry_run_step [FLAGS of train.py]

In MindSpore's dry run nothing is computed. With RANK_SIZE in the environment, the step is that of one of so many
devices: their messages are compiled, too.
"""
from __future__ import annotations

import sys

import numpy as np

from centernet.categories import categories_from_names
from centernet.cli import run_process
from centernet.config.load import Config, load_config
from centernet.config.schema import DatasetConfig
from centernet.device import prepare_environment, set_up_group
from centernet.errors import reports_errors

STEPS_PER_EPOCH = 1000  # any number: it decides only when the learning rate changes


def run(config: Config) -> None:
    """Build the training step as train.py does, and run it once.

    Raises:
        UserError: a checkpoint does not match, or there is no such device.
    """
    from centernet.training.loop import run_step
    from centernet.training.setup import build_step, make_plan

    devices = set_up_group(config).size
    data = config.dataset_config
    plan = make_plan(config, STEPS_PER_EPOCH, STEPS_PER_EPOCH * config.train_config.step_images * devices, devices)
    step = build_step(config, categories_from_names(data.coco_classes), plan, devices)
    run_step(step, empty_batch(data, config.train_config.step_images)).asnumpy()


def empty_batch(data: DatasetConfig, batch_size: int) -> tuple[np.ndarray, ...]:
    """Return a batch of zeros with the columns of data/pipeline.py."""
    from centernet.data.pipeline import COLUMNS

    slots = (batch_size, data.max_objs)
    columns: dict[str, np.ndarray] = {
        "image": np.zeros((batch_size, *data.input_res_train, 3), np.uint8),
        "colors": np.zeros((batch_size, 3, 4), np.float32),
        "wh": np.zeros((*slots, 2), np.float32), "reg": np.zeros((*slots, 2), np.float32)}
    batch = tuple(columns.get(name, np.zeros(slots, np.int32)) for name in COLUMNS)
    if data.heatmap_on_device:
        return batch
    return (*batch, np.zeros((batch_size, data.num_classes, *data.output_res), np.float32))


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Compile the step of the given flags and return the exit status."""
    config = load_config("train", sys.argv[1:] if argv is None else argv,
                         "Compile and run one training step on zeros, for MindSpore's dry run.")
    prepare_environment()
    run(config)
    return 0


if __name__ == "__main__":
    run_process(main)
