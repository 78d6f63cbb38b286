"""Run by test_two_workers.py as each of two ranks, which compares what they write with one process's results.

two_workers.py FOLDER: the folder has shards/ and a data set beside it; gets rank{r}.json and rank{r}.npz.
two_workers.py FOLDER FLAG...: only a training with these flags; the folder gets rank{r}.npz.
"""
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

FLAGS = ("--epoch_size", "2", "--num_workers", "1", "--train_config.batch_size", "2",
         "--train_config.MultiDecay.learning_rate", "0.064", "--train_config.MultiDecay.warmup_steps", "2",
         "--train_config.MultiDecay.eps", "0.01", "--train_config.lr_scale", "linear",
         "--eval_config.keep_res", "false", "--eval_config.K", "20", "--dataset_config.input_res_test", "64", "64")
VARIANTS = {"plain": {}, "smooth": {"reg_loss": "sl1"}, "norm_wh": {"norm_wh": True}, "dense_wh": {"dense_wh": True},
            "mse": {"mse_loss": True}, "ltrb": {"box_head": "ltrb", "reg_offset": False}, "no objects": {},
            "more positives": {"box_head": "ltrb", "reg_offset": False, "more_positives": True},
            "iou score": {"box_head": "ltrb", "reg_offset": False, "iou_score": True}}


def frozen_training(folder, *flags):
    """Run train.py with batch norm frozen: all state after it."""
    import centernet.training.setup
    from centernet.cli import train
    from tests.tiny_training import TINY, values

    steps, start = [], centernet.training.setup.start

    def start_frozen(*arguments):
        step, plan = start(*arguments)
        for _, cell in step.cells_and_names():
            if type(cell).__name__ == "BatchNorm2d":
                cell.use_batch_statistics = False
        steps.append(step)
        return step, plan
    centernet.training.setup.start = start_frozen
    try:
        assert train.main([*TINY, *FLAGS, "--mindrecord_dir", str(folder / "shards"), *flags]) == 0
    finally:
        centernet.training.setup.start = start
    return values(steps[0])


def tiny_steps(rank=0, devices=1, count=3):
    """Steps of TinyLoss, the second with an inf on rank 1 only: outputs and state of each."""
    import mindspore as ms

    from tests.tiny_training import run, tiny_batch, tiny_step, values

    ms.set_seed(3)
    step, rows = tiny_step(devices=devices), []
    for index in range(count):
        image, target = tiny_batch(10 * rank + index)
        if index == 1 and rank == 1:
            image[0, 0, 0, 0] = np.inf
        outputs = run(step, (image, target))
        rows.append({"outputs": outputs, **{name: value.tolist() for name, value in values(step).items()}})
    return rows


def loss_and_gradients(variant, rows, devices=1):
    """Losses of some of four images, and their gradients to the outputs; all objects are in the first two images."""
    import mindspore as ms

    from centernet.training.losses.terms import DetectionLoss
    from tests.golden_weights import PLAIN

    random = np.random.RandomState(5)
    channels = (3, 2, 2)
    if "box_head" in VARIANTS[variant]:
        channels = (3, 4, 1) if "iou_score" in VARIANTS[variant] else (3, 4)
    outputs = [random.randn(4, count, 6, 8).astype(np.float32)[rows] for count in channels]
    mask = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], np.int32) * (variant != "no objects")
    hm = random.uniform(0, 0.9, (4, 3, 6, 8)).astype(np.float32)
    ind = np.array([[9, 30, 20], [47, 0, 0], [0, 0, 0], [0, 0, 0]], np.int32)
    for image, slot in np.argwhere(mask):
        hm[image, 0].flat[ind[image, slot]] = 1
    targets = [hm, np.zeros((4, 3), np.int32), ind, random.uniform(1, 5, (4, 3, 2)).astype(np.float32),
               random.uniform(0, 1, (4, 3, 2)).astype(np.float32), mask, np.full((4, 3), 2, np.int32)]
    if variant == "more positives":  # boxes so large that they fit in the cells beside the centres, too
        targets[3], outputs[1] = targets[3] * 0 + 40, 20 + outputs[1]
    targets = [ms.Tensor(target[rows]) for target in targets]
    loss = DetectionLoss(replace(PLAIN, **VARIANTS[variant]), devices)

    def forward(*maps):
        return loss(maps, *targets)
    positions = tuple(range(len(outputs)))
    losses, gradients = ms.value_and_grad(forward, positions, has_aux=True)(*map(ms.Tensor, outputs))
    return [float(loss) for loss in losses], [gradient.asnumpy() for gradient in gradients]


def detect(folder, group=None, count=None, flags=()):
    """Boxes by image id of the data set's first images, found layer by layer by a network of fixed weights."""
    from centernet.data.coco import locate, read_coco
    from centernet.detection.detector import Detector
    from centernet.device import eager
    from centernet.evaluation.dataset import detect_dataset
    from centernet.group import ALONE
    from centernet.runtimes.checkpoint import CheckpointBackend
    from centernet.spec import configured_spec
    from tests.tiny_model import tiny_network
    from tests.tiny_training import settings

    config = settings(*FLAGS, *flags)
    dataset = read_coco(*locate(str(folder), "val"))
    spec = configured_spec(config.dataset_config, config.net_config, dataset.categories)
    detector = Detector(CheckpointBackend(tiny_network(config), config.net_config, spec, 20), config.eval_config)
    with eager():
        found = detect_dataset(detector, replace(dataset, images=dataset.images[:count]), 1, group or ALONE)
    return {str(key): boxes.tolist() for key, boxes in found.items()}


def detect_mixed(folder, group=None):
    """As detect, in images of different sizes at their own resolution."""
    return detect(folder / "mixed", group, flags=("--eval_config.keep_res", "true", "--eval_config.pad", "31",
                                                  "--eval_config.batch_size", "2"))


def different_starts(rank):
    """The messages when ranks are started with other seeds, and with other weights."""
    import mindspore as ms

    from centernet.errors import UserError
    from centernet.group import Group
    from centernet.training.setup import make_plan, start
    from tests.tiny_training import CATEGORIES, settings

    messages = []
    for flag, seed in ((str(rank), 7), ("1", rank)):
        ms.set_seed(seed)
        config = settings(*FLAGS, "--seed", flag)
        try:
            start(config, CATEGORIES, make_plan(config, 3, 12, 2), Group(rank, 2))
        except UserError as error:
            messages.append(str(error))
    return messages


def train_only(folder, flags):
    rank = os.environ["RANK_ID"]
    state = frozen_training(folder, "--save_checkpoint_path", str(folder / f"out{rank}"), "--device_num", "2", *flags)
    np.savez(folder / f"rank{rank}.npz", **state)


def main(folder):
    rank = int(os.environ["RANK_ID"])
    out = folder / f"out{rank}"
    state = frozen_training(folder, "--save_checkpoint_path", str(out), "--device_num", "2", "--eval_interval", "2",
                            "--data_dir", str(folder))
    from centernet.device import eager
    from centernet.group import Group, _all_gather_cell, gather  # not before the device is chosen
    half, pairs = slice(2 * rank, 2 * rank + 2), {}
    for variant in VARIANTS:  # one is compiled; all share the sums over the ranks
        with nullcontext() if variant == "plain" else eager():
            pairs[variant] = loss_and_gradients(variant, half, 2)
    found = {"files": sorted(path.name for path in out.glob("*")), "folder": out.exists(), "tiny": tiny_steps(rank, 2),
             "variants": {variant: losses for variant, (losses, _) in pairs.items()},
             "detections": [detect(folder, Group(rank, 2)), detect(folder, Group(rank, 2), count=1),
                            detect_mixed(folder, Group(rank, 2))],
             "messages": different_starts(rank),
             "gathered": [[list(part) for part in gather(part, Group(rank, 2))]
                          for part in (bytes(range(5 * rank)), b"")]}
    found["gather_graphs"] = len(_all_gather_cell().compile_cache)
    arrays = {f"{variant} {index}": value for variant, pair in pairs.items() for index, value in enumerate(pair[1])}
    np.savez(folder / f"rank{rank}.npz", **arrays, **{f"state {name}": value for name, value in state.items()})
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[2:]:
        train_only(Path(sys.argv[1]), sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
