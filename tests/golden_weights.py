"""Golden networks: weights made by formula from their official names, and those names' counterparts here."""
import json
import re
import zlib

import numpy as np
from mindspore import Parameter, Tensor, load_param_into_net

from src.models.centernet import CenterNet, build_centernet
from src.settings import NetConfig
from tests.conftest import GOLDEN

PLAIN = NetConfig(backbone="resnet18", block_class=(), num_stacks=1, down_ratio=4, neck="none",
                  neck_filters=(256, 256, 256), head_conv=64, stem_pool="pad", dense_hp=False, dense_wh=False,
                  norm_wh=False, cat_spec_wh=False, reg_offset=True, hm_weight=1.0, off_weight=1.0, wh_weight=0.1,
                  mse_loss=False, reg_loss="l1")
BIG = {"dla_34": {"backbone": "dla34", "neck": "deform", "neck_filters": (256, 128, 64)},
       "dlav0_34": {"backbone": "dlav0_34", "neck": "conv", "neck_filters": (256, 128, 64)},
       "hourglass": {"backbone": "hourglass104", "neck": "none", "neck_filters": (), "num_stacks": 2}}
# Official order of the offset layer's channels -> [x | y | mask]
OFFSET_ORDER = [*range(1, 18, 2), *range(0, 18, 2), *range(18, 27)]
HEADS = {"heatmap_head": "hm", "wh_head": "wh", "offset_head": "reg"}
TAILS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


# Rules that turn official names into ours, applied in turn; the layers' last pieces follow in our_name.
RULES = {
    "dla": [(r"^base\.", "backbone."), (r"^dla_up\.ida_", "neck.ida."), (r"^ida_up\.", "neck.last."),
            (r"\.(proj|up|node)_1\b", r".merges.0.\1"), (r"\.(proj|up|node)_2\b", r".merges.1.\1"),
            (r"\.(proj|up|node)_3\b", r".merges.2.\1"),
            (r"(level[25]|level[34]\.tree1)\.project\b", r"\1.tree1.downsample.1"),
            (r"\.conv\.conv_offset_mask$", ".0.offset"), (r"\.conv$", ".0"), (r"\.(bn|actf\.0)$", ".1"),
            (r"^(hm|wh|reg)\.", r"heads.\1.")],
    "hourglass": [(r"^(hm|wh|reg)\.(\d)\.0\.conv$", r"heads.\2.\1.0"), (r"^(hm|wh|reg)\.(\d)\.1$", r"heads.\2.\1.2"),
                  (r"^pre\.", "backbone.stem."), (r"^kps\.", "backbone.stacks."), (r"^cnvs\.", "backbone.after."),
                  (r"^inters\.", "backbone.between."), (r"^inters_\.", "backbone.from_input."),
                  (r"^cnvs_\.", "backbone.from_output."), (r"\bup1\b", "keep"), (r"\blow1\b", "down"),
                  (r"\blow2\b", "inner"), (r"\blow3\b", "up"), (r"\bskip\b", "downsample"),
                  (r"\.conv$", ".0"), (r"\.bn$", ".1")],
}
# Official tensors that no output depends on: the classifier, and projections that two-level trees do not use.
UNUSED = re.compile(r"^base\.(fc|level[34]\.project)\.")
NORM = re.compile(r"bn\d?$|(downsample|downsample\.1|before|up|level[01]|base_layer|root|proj|node|stem\.0|after\.\d"
                  r"|from_\w+\.\d)\.1$")


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


def our_name(arch, name):
    """Our parameter's name for an official one."""
    name, tail = name.rsplit(".", 1)
    tail = TAILS.get(tail, tail)
    if arch in BIG:
        for pattern, ours in RULES[arch[:3] if arch[:3] in RULES else arch]:
            name = re.sub(pattern, ours, name)
        return _with_tail(name, tail)
    name = re.sub(r"^(backbone|neck|bbox_head)\.", "", name)
    if name.startswith("deconv_layers"):
        name = _neck_name(arch, name)
    elif re.match(r"(hm|wh|reg|\w+_head)\.", name):
        head, rest = name.split(".", 1)
        return f"heads.{HEADS.get(head, head)}.{rest}.{tail}"
    else:
        name = f"backbone.{name}"
    return _with_tail(name, tail)


def _with_tail(name, tail):
    return f"{name}.{ {'weight': 'gamma', 'bias': 'beta'}.get(tail, tail) if NORM.search(name) else tail}"


def _neck_name(arch, name):
    _, index, *rest = name.split(".")
    if arch.startswith("mmdet"):
        layer, part = int(index), 0 if rest == ["conv"] else 1
    else:
        layer, part = divmod(int(index), 3)
    pair = layer if arch.startswith("res_") else layer // 2
    side = "up" if arch.startswith("res_") or layer % 2 else "before"
    offset = ".offset" if "conv_offset_mask" in rest else ""
    return f"neck.{pair}.{side}.{part}{offset}"


def our_weights(arch):
    """Our parameter name -> float32 array."""
    return {our_name(arch, name): value[OFFSET_ORDER] if "conv_offset_mask" in name else value
            for name, value in formula_weights(arch).items() if not UNUSED.search(name)}


def golden_network(arch) -> CenterNet:
    """The golden network with 80 classes and its formula weights, in evaluation mode."""
    network = build_centernet(net_config(arch), 80)
    weights = {name: Parameter(Tensor(value), name=name) for name, value in our_weights(arch).items()}
    missing, unused = load_param_into_net(network, weights, strict_load=True)
    if missing or unused:
        raise AssertionError(f"missing {missing}, unused {unused}")
    network.set_train(False)
    return network
