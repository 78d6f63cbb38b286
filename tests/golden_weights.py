"""Golden networks: weights made by formula from their official names, converted as convert_weights.py does."""
import re
from dataclasses import replace
from pathlib import Path

from centernet.config.load import load_config
from centernet.config.schema import NetConfig
from centernet.models.centernet import CenterNet
from centernet.weights.conversion import convert, skeleton
from tools.golden_archive import formula_weights, source_of

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


def golden_network(arch) -> CenterNet:
    """The golden network with 80 classes and its formula weights, in evaluation mode."""
    config = replace(load_config("convert_weights", [], ""), net_config=net_config(arch))
    network = skeleton(config.net_config, 80)
    convert(formula_weights(arch), source_of(arch), config, network, Path(arch))
    network.set_train(False)
    return network
