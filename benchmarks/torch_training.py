"""The paper's training in PyTorch on a COCO-format data set, for the comparison in benchmarks/real_data.py.

python -m benchmarks.torch_training --config_path FILE --data_dir COCO --seed 1 --save_checkpoint_path FOLDER

The flags are those of train.py, but the images are read from --data_dir (train2017), not from shards. The initial
weights are those that train.py has with the same seed and flags. It writes last.pth, metrics.jsonl and config.yaml.
Settings that the paper's training does not have are refused. There are ResNet-18 and ResNet-50.
"""
from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from centernet.config.load import Config, load_config, write_config
from centernet.config.schema import TrainConfig
from centernet.data.coco import locate
from centernet.errors import UserError, reports_errors
from centernet.files import replacing, user_errors

# Settings that this training follows. The other settings of these sections must have their defaults.
KNOWN = {
    "net_config": ("backbone", "neck", "neck_filters", "head_conv", "wh_weight", "deform_op"),
    "dataset_config": ("num_classes", "max_objs", "input_res_train", "output_res", "input_res_test", "color_aug",
                       "coco_classes", "mean", "std", "eig_val", "eig_vec", "heatmap_on_device"),
    "train_config": ("batch_size", "MultiDecay", "PolyDecay", "CosineDecay", "SGD", "reference_batch",
                     "loss_scale_value", "loss_scale_window", "max_skipped_steps"),
}


def require_known(config: Config) -> None:
    """Raise UserError if the configuration asks for something that this training does not have."""
    default, unknown = Config(), []
    for name, known in KNOWN.items():
        mine, usual = (dataclasses.asdict(getattr(one, name)) for one in (config, default))
        unknown += [f"{name}.{key} {mine[key]}" for key in mine if key not in known and mine[key] != usual[key]]
    if unknown:
        raise UserError(f"the PyTorch training of the paper's recipe does not have: {', '.join(unknown)}. Leave these "
                        "settings at their defaults, or train with train.py")
    net, (height, width) = config.net_config, config.dataset_config.input_res_train
    if net.backbone not in ("resnet18", "resnet50") or net.neck != "none":
        raise UserError(f"net_config.backbone {net.backbone} with neck {net.neck}: the PyTorch training has only "
                        "resnet18 and resnet50, with neck none")
    if height != width:
        raise UserError(f"dataset_config.input_res_train {height} {width}: the PyTorch training needs a square input")


def initial_weights(argv: list[str], annotation_file: Path) -> dict[str, np.ndarray]:
    """Return the initial weights of train.py with these flags, by the names of the paper's code.

    The annotation file has the categories. MindSpore runs in a process of its own, so that it does not share threads
    and libraries with PyTorch.
    """
    with tempfile.TemporaryDirectory() as folder, \
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        path = Path(folder, "weights.npz")
        pool.submit(_write_initial, argv, annotation_file, path).result()
        return dict(np.load(path))


def _write_initial(argv: list[str], annotation_file: Path, path: Path) -> None:
    from centernet.device import prepare_environment
    prepare_environment()
    from benchmarks.training_step import write_weights
    from centernet.data.annotations import read_annotations
    from centernet.device import set_up
    from centernet.models.centernet import build_centernet
    from centernet.training.setup import load_weights

    config = load_config("train", argv, "")
    set_up(config, 0)
    categories = read_annotations(annotation_file, "--data_dir").categories
    network = build_centernet(config.net_config, len(categories))
    load_weights(config, network, categories)
    write_weights(network, config.net_config, path)


def learning_rate(train: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, which counts from 0: linear warm-up and drops after epochs."""
    plan = train.MultiDecay
    drops = sum(step >= epoch * steps_per_epoch for epoch in plan.multi_epochs)
    return plan.learning_rate * min(1.0, (step + 1) / max(plan.warmup_steps, 1)) / plan.factor ** drops


def train(config: Config, weights: dict[str, np.ndarray], data: tuple[Path, Path], results: TextIO) -> dict[str, Any]:
    """Train, write one line of JSON for each step and epoch, and return the trained state of the network.

    Args:
        config: sizes, batch size, schedule, number of epochs or steps.
        weights: initial weights.
        data: annotation file and folder of the images.
        results: receives the lines of metrics.jsonl, with the keys of train.py.
    """
    import torch

    from benchmarks.torch_centernet import TorchCenterNet, detection_losses, load_weights
    from benchmarks.torch_input import TorchImages, load

    net, settings = config.net_config, config.train_config
    images = TorchImages(*data, config.dataset_config, config.seed)
    steps = len(images) // settings.batch_size
    if steps == 0:
        raise UserError(f"{data[0]} has {len(images)} images with boxes, fewer than train_config.batch_size "
                        f"{settings.batch_size}")
    network = TorchCenterNet(net.backbone, images.classes, net.neck_filters, net.head_conv)
    load_weights(network, weights)
    optimizer = torch.optim.Adam(network.parameters(), eps=settings.MultiDecay.eps)
    total = config.train_steps if config.train_steps > 0 else config.epoch_size * steps
    batches = load(images, settings.batch_size, -(-total // steps), config.num_workers)

    def run() -> Iterator[list[float]]:
        for step, batch in zip(range(total), batches):
            rate = learning_rate(settings, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = detection_losses(network(batch["image"]), batch, net.wh_weight)
            optimizer.zero_grad()
            losses[0].backward()
            optimizer.step()
            yield [*(part.item() for part in losses), rate]

    log(run(), steps, results)
    return network.state_dict()


def log(numbers: Iterator[list[float]], steps_per_epoch: int, results: TextIO) -> None:
    """Run the steps, print their losses and write a line of JSON for each step and each epoch."""
    losses: list[float] = []
    start = time.perf_counter()
    for step, (loss, hm, wh, off, rate) in enumerate(numbers, 1):
        epoch = (step - 1) // steps_per_epoch
        print(f"epoch: {epoch}, step: {step}, loss {loss:.4f}, hm {hm:.4f}, wh {wh:.4f}, off {off:.4f}", flush=True)
        rows: list[dict[str, Any]] = [{"kind": "step", "epoch": epoch, "step": step, "loss": loss, "hm_loss": hm,
                                       "wh_loss": wh, "off_loss": off, "lr": rate}]
        losses.append(loss)
        if step % steps_per_epoch == 0:
            now = time.perf_counter()
            rows.append({"kind": "epoch", "epoch": epoch, "step": step, "seconds": now - start,
                         "loss": float(np.mean(losses))})
            losses, start = [], now
        results.writelines(json.dumps(row) + "\n" for row in rows)
        results.flush()


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Train as the flags say. Return the exit status: 0, or 2 after a UserError."""
    argv = sys.argv[1:] if argv is None else argv
    config = load_config("train", argv, __doc__ or "")
    require_known(config)
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch is not installed: pip install -r requirements-convert.txt") from error
    data = locate(config.data_dir, "train", config.annotation_file, config.image_dir)
    folder = Path(config.save_checkpoint_path or "checkpoints")
    results = Path(config.save_result_dir or folder)
    with user_errors(f"--save_checkpoint_path {folder}"):
        for path in (folder, results):
            path.mkdir(parents=True, exist_ok=True)
    write_config(config, results / "config.yaml")
    weights = initial_weights(argv, data[0])
    with (results / "metrics.jsonl").open("w", encoding="utf-8") as lines:
        state = train(config, weights, data, lines)
    with user_errors(f"cannot write {folder / 'last.pth'}"), replacing(folder / "last.pth") as unfinished:
        torch.save({"epoch": config.epoch_size, "state_dict": state}, unfinished)
    print(f"written: {folder / 'last.pth'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
