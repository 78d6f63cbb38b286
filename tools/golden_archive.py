"""Golden archives: outputs of the paper's code and of mmdetection, and the weights for them.

NAME.npz contains an input x, its maps hm, wh, reg and the statistics of batch norms. NAME.json contains the names,
shapes and kinds of all tensors. Their values are computed from their names.
"""
import zlib
from pathlib import Path

import numpy as np

from centernet.files import read_json

GOLDEN = Path(__file__).parents[1] / "tests/data/golden"
PRESET_OF = {"res_18": "official_res18", "res_50": "official_res50", "resdcn_18": "official_resdcn18",
             "resdcn_50": "official_resdcn50", "dlav0_34": "official_dlav0_34", "dla_34": "official_dla34",
             "hourglass": "official_hourglass", "mmdet_r18": "mmdet_res18"}
# Largest allowed error as a fraction of the map's largest value. Converted weights must reach 1e-4. The archives with
# 50 layers are not exact enough for that: a float64 computation (NumPy, same weights) differs from the stored float32
# maps by up to 1.3e-4 (res_50) and 3.1e-4 (resdcn_50); our maps differ by 1.6e-4 and 5.1e-4. A wrong stride, padding or
# channel order gives an error above 1e-1.
TOLERANCE = {**dict.fromkeys(PRESET_OF, 1e-4), "res_50": 3e-4, "resdcn_50": 1e-3}
MAPS = ("hm", "wh", "reg")


def source_of(arch):
    """Return the source of an archive, as the flag --source of convert_weights.py names it."""
    return "mmdet" if arch.startswith("mmdet") else "official"


def formula_weights(arch, folder=GOLDEN):
    """Return name in the original program -> float32 array."""
    record = read_json(folder / f"{arch}.json")
    arrays = np.load(folder / f"{arch}.npz", allow_pickle=False)
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


def errors(found, expected):
    """Return map -> largest absolute error of found (hm, wh, reg) as a fraction of the largest expected value."""
    return {name: float(np.abs(ours - expected[name]).max() / np.abs(expected[name]).max())
            for name, ours in zip(MAPS, found)}


def dla_classifier():
    """Return weights with the names of dla34-ba72cf86.pth: the archive's backbone, and a classifier."""
    base = {name.removeprefix("base."): value for name, value in formula_weights("dla_34").items()
            if name.startswith("base.")}
    return {**base, "fc.weight": np.ones((1000, 512, 1, 1), np.float32), "fc.bias": np.ones(1000, np.float32)}


def extremenet():
    """Return weights with the names of ExtremeNet_500000.pkl: the archive's stacks, and the heads of extreme points."""
    heads = {"hm": "ct_heats", "wh": "t_regrs", "reg": "l_regrs"}
    return {".".join((heads.get(part := name.split(".")[0], part), name.partition(".")[2])): value
            for name, value in formula_weights("hourglass").items()}
