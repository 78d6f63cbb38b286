"""Networks, weights and batches of the golden numbers: all made by formula, so that nothing has to be stored."""
from __future__ import annotations

import zlib

import numpy as np

from centernet.config.load import Config, load_config
from centernet.data.augment import unchanged_colors
from centernet.data.targets import Targets, draw_heatmap, encode

# A network with every kind of layer that compiles in seconds, and the default network. Both on small images.
CASES = {
    "small": ("--net_config.backbone", "resnet18", "--net_config.block_class", "1", "1", "1", "1",
              "--net_config.neck_filters", "32", "16", "16", "--net_config.head_conv", "16",
              "--dataset_config.input_res_train", "64", "64"),
    "default": ("--dataset_config.input_res_train", "128", "128"),
}
BATCH = ("--train_config.batch_size", "2")
K = 20        # detections of an image
OBJECTS = 5   # objects of an image


def case_config(case: str, device_target: str, *flags: str) -> Config:
    """Return the configuration of a training of a case, with more flags of train.py."""
    return load_config("train", [*CASES[case], *BATCH, "--device_target", device_target, *flags], "")


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return float32 values for parameters, from their names and shapes.

    RandomState: NumPy promises that its numbers never change. The network behaves like a trained one: signals keep
    their size from layer to layer, deformable layers move their taps, and scores are low in most cells.
    """
    return {name: _values(name, shape, _ends_block(name, shapes)).astype(np.float32)
            for name, shape in shapes.items()}


def _ends_block(name: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Return whether a parameter is of a block's last batch norm, behind which the shortcut is added."""
    return ".bn3." in name or (".bn2." in name and name.replace(".bn2.", ".bn3.") not in shapes)


def _values(name: str, shape: tuple[int, ...], ends_block: bool) -> np.ndarray:
    random, kind = random_of(name), name.split(".")[-1]
    if name == "heads.hm.2.bias":
        return random.uniform(-2.5, -1.9, shape)
    if kind == "gamma":
        return random.uniform(0.1, 0.3, shape) if ends_block else random.uniform(0.5, 1.5, shape)
    if kind == "moving_variance":
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.uniform(-0.5, 0.5, shape) if ".offset." in name else random.randn(*shape) * 0.1
    return random.randn(*shape) * _spread(name) / np.sqrt(np.prod(shape[1:]))


def _spread(name: str) -> float:
    """Return the standard deviation of a kernel times the square root of the number of values that it adds."""
    if ".offset." in name:
        return 0.3
    if name.startswith("heads.") and ".2." in name:
        return 0.6
    # Each output of a transposed convolution adds a quarter of its kernel; a deformable layer halves its input.
    return 2 * np.sqrt(2) if ".up." in name or ".before.0." in name else np.sqrt(2)


def random_of(name: str) -> np.random.RandomState:
    """Return a generator whose numbers depend on a name only."""
    return np.random.RandomState(zlib.crc32(name.encode()))


def batch(config: Config) -> tuple[np.ndarray, ...]:
    """Return a batch of the configured size with the columns of data/pipeline.py, made by formula."""
    data, size = config.dataset_config, config.train_config.step_images
    random = random_of("batch")
    height, width = data.input_res_train
    coarse = random.randint(0, 200, (size, -(-height // 16), -(-width // 16), 3))
    image = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width] + random.randint(0, 56, (size, height, width, 3))
    targets = [_targets(random, data.output_res, data.num_classes, data.max_objs) for _ in range(size)]
    columns = [np.stack([getattr(target, name) for target in targets])
               for name in ("cls", "radius", "ind", "wh", "reg", "reg_mask")]
    colors = np.stack([unchanged_colors()] * size)
    return (image.astype(np.uint8), colors, *columns, *([] if data.heatmap_on_device else [heatmaps(columns, config)]))


def heatmaps(columns: list[np.ndarray], config: Config) -> np.ndarray:
    """Return the heatmaps (B,C,h,w) float32 of a batch, which the host draws if the device does not."""
    cls, radius, ind, _, _, mask = columns
    data = config.dataset_config
    return np.stack([draw_heatmap(*one, data.num_classes, *data.output_res) for one in zip(cls, radius, ind, mask)])


def _targets(random: np.random.RandomState, cells: tuple[int, ...], classes: int, slots: int) -> Targets:
    corner = random.uniform(0, 0.6, (OBJECTS, 2)) * cells[::-1]
    size = random.uniform(0.1, 0.35, (OBJECTS, 2)) * cells[::-1]
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    return encode(boxes, random.randint(0, classes, OBJECTS).astype(np.int32), (cells[0], cells[1]), slots)


def made_up_maps() -> tuple[np.ndarray, ...]:
    """Return hm (2,80,16,16), wh, reg (2,2,16,16), float32: input of a decode that must be exact on any device."""
    random = random_of("maps")
    logits = random.permutation(2 * 80 * 16 * 16).reshape(2, 80, 16, 16)  # no two are equal
    hm = (logits / logits.size * 12 - 8).astype(np.float32)
    return hm, *(random.uniform(low, high, (2, 2, 16, 16)).astype(np.float32) for low, high in ((1, 9), (0, 1)))
