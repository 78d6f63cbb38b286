"""Make what trainings and evaluations of the first day need: images, shards, and a checkpoint of new weights.

    python -m tools.first_day.prepare OUTPUT_DIR [--data COCO] [flags of train.py that choose the network]

OUTPUT_DIR gets coco/ (COCO's layout), shards/ and initial.ckpt. Images are generated; with --data they are the first
ones of a data set.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from centernet.categories import Categories, categories_from_json
from centernet.cli import convert_dataset, run_process
from centernet.config.load import Config, load_config
from centernet.data.coco import locate
from centernet.device import prepare_environment, set_up
from centernet.errors import reports_errors
from centernet.files import read_json, user_errors, write_json
from tools.pick_images import first_images
from tools.synthetic import make_dataset

SPLITS = ("train", "val")


def generate(folder: Path, counts: tuple[int, int], names: tuple[str, ...]) -> None:
    """Generate images. Further categories are declared, so that the heatmaps have as many channels as with COCO."""
    make_dataset(folder, *counts)
    for split in SPLITS:
        path = folder / "annotations" / f"instances_{split}2017.json"
        document = read_json(path)
        write_json(path, {**document, "categories": padded(document["categories"], names)})


def padded(categories: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return categories and as many of the names as are needed to have len(names) of them."""
    further = names[len(categories):]
    return [*categories, *({"id": number, "name": name} for number, name in enumerate(further, len(categories) + 1))]


def take_first(source: str, folder: Path, counts: tuple[int, int]) -> None:
    """Make a data set of the first images with boxes of another one, with links to its folders of images."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in zip(SPLITS, counts):
        annotation_file, images = locate(source, split)
        write_json(folder / "annotations" / f"instances_{split}2017.json",
                   first_images(read_json(annotation_file), count))
        with user_errors(f"cannot write below {folder}"):
            (folder / f"{split}2017").symlink_to(Path(images).resolve())


def save_new_weights(path: Path, config: Config, categories: Categories) -> None:
    """Write a checkpoint of the configured network with new weights."""
    from centernet.models.centernet import build_centernet
    from centernet.weights.checkpoint import model_record, save_checkpoint

    set_up(config, 0)
    save_checkpoint(path, build_centernet(config.net_config, len(categories)), model_record(config, categories), {})


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Make data set, shards and checkpoint; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_day.prepare", description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("out", type=Path, metavar="OUTPUT_DIR")
    parser.add_argument("--data", default="", metavar="COCO", help="data set in COCO's layout (default: generated)")
    parser.add_argument("--images", type=int, nargs=2, default=(1024, 64), metavar="N",
                        help="number of images for training and for evaluation (default: 1024 64)")
    words, flags = parser.parse_known_args(argv)
    config = load_config("train", [*flags, "--device_target", "CPU"], "")
    coco, counts = words.out / "coco", (words.images[0], words.images[1])
    if words.data:
        take_first(words.data, coco, counts)
    else:
        generate(coco, counts, config.dataset_config.coco_classes)
    status = convert_dataset.main(["--coco_data_dir", str(coco), "--mindrecord_dir", str(words.out / "shards"),
                                   "--shard_num", "2", "--device_target", "CPU"])
    if status:
        return status
    prepare_environment()
    document = read_json(coco / "annotations" / "instances_train2017.json")
    save_new_weights(words.out / "initial.ckpt", config, categories_from_json(document["categories"], "the data set"))
    return 0


if __name__ == "__main__":
    run_process(main)
