"""Golden networks: weights made by formula from their official names, converted as convert_weights.py does."""
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.config import load_config
from src.models.centernet import CenterNet
from src.settings import NetConfig
from src.weights.conversion import convert, skeleton
from tests.conftest import GOLDEN

PLAIN = NetConfig(backbone="resnet18", block_class=(), num_stacks=1, down_ratio=4, neck="none",
                  neck_filters=(256, 256, 256), head_conv=64, stem_pool="pad", dense_hp=False, dense_wh=False,
                  norm_wh=False, cat_spec_wh=False, reg_offset=True, hm_weight=1.0, off_weight=1.0, wh_weight=0.1,
                  mse_loss=False, reg_loss="l1")
BIG = {"dla_34": {"backbone": "dla34", "neck": "deform", "neck_filters": (256, 128, 64)},
       "dlav0_34": {"backbone": "dlav0_34", "neck": "conv", "neck_filters": (256, 128, 64)},
       "hourglass": {"backbone": "hourglass104", "neck": "none", "neck_filters": (), "num_stacks": 2}}


def net_config(arch):
    """The NetConfig of a golden file."""
    if arch in BIG:
        return NetConfig(**{**vars(PLAIN), **BIG[arch], "head_conv": 256})
    depth = re.search(r"\d+", arch).group()
    kind = {"res": "none", "resdcn": "deform", "mmdet": "conv"}[arch.split("_")[0]]
    filters = (256, 256, 256) if kind == "none" else (256, 128, 64)
    return NetConfig(**{**vars(PLAIN), "backbone": f"resnet{depth}", "neck": kind, "neck_filters": filters})


def formula_weights(arch):
    """Official name -> float32 array."""
    record = json.loads((GOLDEN / f"{arch}.json").read_text())
    arrays = np.load(GOLDEN / f"{arch}.npz", allow_pickle=False)
    return {name: _formula(record["tag"], name, shape, kind, arrays)
            for name, (shape, kind) in record["state"].items()}


def _formula(tag, name, shape, kind, arrays):
    if kind in "mv":
        return arrays[f"bn|{name}"]
    random = np.random.RandomState(zlib.crc32((tag + name).encode()) & 0x7FFFFFFF)
    values = {"conv": lambda: random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:])),
              "off": lambda: random.randn(*shape) * 0.3 / np.sqrt(np.prod(shape[1:])),
              "bias": lambda: random.uniform(-0.1, 0.1, shape), "offb": lambda: random.uniform(-1.5, 1.5, shape),
              "g": lambda: random.uniform(0.5, 1.5, shape), "b": lambda: random.randn(*shape) * 0.1}[kind]()
    return values.astype(np.float32)


def source_of(arch):
    """The source, as convert_weights.py names it, of a golden file's names."""
    return "mmdet" if arch.startswith("mmdet") else "official"


def golden_network(arch) -> CenterNet:
    """The golden network with 80 classes and its formula weights, in evaluation mode."""
    config = replace(load_config("convert_weights", [], ""), net_config=net_config(arch))
    network = skeleton(config.net_config, 80)
    convert(formula_weights(arch), source_of(arch), config, network, Path(arch))
    network.set_train(False)
    return network
