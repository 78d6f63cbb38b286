"""Small networks and their checkpoints for tests (`from tiny_model import tiny_checkpoint`)."""
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import yaml

from centernet.categories import Categories
from centernet.config.load import load_config
from centernet.models.centernet import build_centernet
from centernet.runtimes.manifest import Manifest
from centernet.spec import ModelSpec
from centernet.weights.checkpoint import model_record, save_checkpoint
from tests.tiny_coco import make_coco, make_shards

CATEGORIES = Categories(("disc", "frame", "cross"), (1, 7, 90))  # those of tiny_coco
VALUES = {"net_config": {"backbone": "resnet18", "block_class": [1, 1, 1, 1], "neck": "none",
                         "neck_filters": [16, 16, 16], "head_conv": 16},
          "dataset_config": {"input_res_test": [64, 64]}, "eval_config": {"K": 20, "keep_res": False},
          "device_target": "CPU"}


def tiny_config(folder, **net):
    """Path of a preset "tiny.yaml" written into folder; net replaces keys of net_config."""
    path = Path(folder) / "tiny.yaml"
    path.write_text(yaml.safe_dump({**VALUES, "net_config": {**VALUES["net_config"], **net}}))
    return path


def read_config(path, *flags):
    return load_config("export", ["--config_path", str(path), *flags], "")


def tiny_manifest(size, **changes):
    """Manifest of a made-up model with an input of this size; changes replace its values, or those of its spec."""
    spec = {"categories": CATEGORIES, "mean": (0.40789654, 0.44719302, 0.47026115),
            "std": (0.28863828, 0.27408164, 0.27809835), "color_order": "BGR", "down_ratio": 4, "input_size": size}
    spec = ModelSpec(**{key: changes.pop(key, value) for key, value in spec.items()})
    values = {"input_name": "x", "input_shape": (1, 3, *size), "spec": spec, "K": 20, "decode": True,
              "cat_spec_wh": False, "flip_test": False, "preset": "", "versions": {"mindspore": "2.10.0"}, "sha256": "",
              "deform": "none", **changes}
    return Manifest(**{"outputs": (("detections", (values["input_shape"][0], values["K"], 6)),), **values})


def tiny_network(config, num_classes=3):
    """A network with what an untrained one lacks: scores that differ, and boxes that overlap."""
    ms.set_seed(1)  # otherwise the weights depend on what ran before in this process
    network = build_centernet(config.net_config, num_classes)
    rng = np.random.default_rng(0)
    # Sums of a neck with shortcuts have no batch norm, so they are larger, and large scores would all be 1.
    spread = 0.2 if config.net_config.neck.startswith("shortcut") else 0.5
    for parameter in network.heads.get_parameters():
        if parameter.name.endswith("weight"):
            parameter.set_data(ms.Tensor(rng.normal(0, spread, parameter.shape).astype(np.float32)))
        if parameter.name.startswith("heads.wh") and parameter.shape[0] in (2, 2 * num_classes):
            parameter.set_data(parameter * 0.2 if parameter.name.endswith("weight") else parameter + 6)
    network.set_train(False)
    return network


def tiny_checkpoint(path, config, categories=CATEGORIES, **data):
    """Save a checkpoint of tiny_network; data replaces keys of dataset_config in its record."""
    network = tiny_network(config, len(categories))
    config = replace(config, dataset_config=replace(config.dataset_config, **data))
    save_checkpoint(Path(path), network, model_record(config, categories), {})
    return network


def tiny_work(folder):
    """Write a data set of 7 and 5 images with its shards, tiny.yaml and model.ckpt into folder; return folder."""
    make_coco(folder, num_images=7)
    make_coco(folder, num_images=5, split="val", seed=1)
    make_shards(folder, 2)
    tiny_checkpoint(folder / "model.ckpt", read_config(tiny_config(folder)))
    return folder
