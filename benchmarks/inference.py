"""Inference of one 512 x 512 image on the CPU with each runtime, including decoding; and costs before the first image.

python -m benchmarks.run inference --data_dir COCO
"""
from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from benchmarks.lite import LiteProgram, lite_folder
from benchmarks.measure import Options, Row, median, median_ratio, not_installed, paired
from centernet.categories import categories_from_names
from centernet.config.load import PRESETS, Config, load_config
from centernet.data.coco import locate, read_coco
from centernet.data.image_file import read_image
from centernet.detection.decode import decode, sigmoid
from centernet.detection.transform import prepare_image
from centernet.device import set_up_device
from centernet.errors import UserError
from centernet.export.describe import describe
from centernet.export.publish import export_model
from centernet.models.centernet import build_centernet
from centernet.models.decode import Decode
from centernet.open_model import to_onnxruntime
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.maps import MapsBackend
from centernet.runtimes.onnx_session import package_versions
from centernet.spec import ModelSpec, configured_spec
from centernet.weights.checkpoint import model_record, save_checkpoint

NETWORKS = {"ResNet-50 plain": ["--config_path", str(PRESETS / "resnet50_plain.yaml")], "ResNet-50 deformable": []}
SIZE = 512
OTHER_SIZE = 544     # a size without a compiled graph
CALIBRATION_IMAGES = 4
REFERENCE, LITE = "MindSpore", "MindSpore Lite (C++)"


def measure(options: Options) -> list[Row]:
    """Return rows for each network (runtimes compared with MindSpore, costs before the first image) and decoding."""
    set_up_device("CPU", 0, seed=1)
    images = read_coco(*locate(str(options.data_dir), "val")).images[:CALIBRATION_IMAGES]
    rows = []
    for name, flags in NETWORKS.items():
        rows += network_rows(name, flags, [image.path for image in images], options)
    return rows + decode_rows(options.repeats)


def network_rows(name: str, flags: list[str], images: list[Path], options: Options) -> list[Row]:
    """Return the rows of one network. It has random weights: these do not affect the speed."""
    config = load_config("export", [*flags, "--device_target", "CPU", "--input_res", str(SIZE), str(SIZE)], "")
    network = build_centernet(config.net_config, len(config.dataset_config.coco_classes)).set_train(False)
    x = prepared(images[0], config, SIZE)
    folder = options.work / name.replace(" ", "_")
    backends: dict[str, Callable[[np.ndarray], np.ndarray]] = {REFERENCE: mindspore_backend(network, config)}
    backends["MINDIR"] = exported(network, config, folder / "fp32.mindir")
    costs: dict[str, Callable[[], object]] = {
        "MindSpore, compiling a new input size": partial(mindspore_backend(network, config),
                                                         prepared(images[0], config, OTHER_SIZE))}
    rows = []
    try:
        package_versions()
        costs["onnxruntime, converting the network"] = lambda: backends.update(
            {"onnxruntime": onnxruntime_backend(network, config)})
    except UserError:
        rows.append(not_installed(f"{name}, onnxruntime", "ms", "onnx or onnxruntime"))
    cost_rows = [Row(f"{name}: {what}", seconds_of(cost), "s", note="once") for what, cost in costs.items()]
    if "onnxruntime" in backends:
        quantized = dataclasses.replace(config, export_format="ONNX", precision="int8",
                                        calibration_data=str(images[0].parent), calibration_method="minmax",
                                        calibration_images=len(images), quantize_heads=True)
        backends["onnxruntime, 8 bits"] = exported(network, quantized, folder / "int8.onnx")
    calls: dict[str, Callable[[], object]] = {key: partial(run, x) for key, run in backends.items()}
    program = None
    if lite_folder():
        program = lite(network, config, [*flags, "--input_res", str(SIZE), str(SIZE)], x, folder)
        calls[LITE] = program
    else:
        rows.append(not_installed(f"{name}, {LITE}", "ms", "what scripts/set_up_lite.sh fetches"))
    seconds = paired(calls, options.repeats)
    if program:
        seconds[LITE] = program.seconds[-options.repeats:]
    in_python = [key for key in backends if "8 bits" not in key]
    fastest = min(in_python, key=lambda key: median(seconds[key]))
    rows += [Row(f"{name}, {key}", 1000 * median(values), "ms", median_ratio(seconds, key, REFERENCE), REFERENCE,
                 note="the fastest in Python with the output of the checkpoint" if key == fastest else "")
             for key, values in seconds.items()]
    return rows + cost_rows


def prepared(path: Path, config: Config, size: int) -> np.ndarray:
    """Return an image file as float32 (1,3,size,size)."""
    return prepare_image(read_image(path), dataclasses.replace(spec_of(config), input_size=(size, size)))[0][None]


def spec_of(config: Config) -> ModelSpec:
    """Return the specification of the configured network."""
    categories = categories_from_names(config.dataset_config.coco_classes)
    return configured_spec(config.dataset_config, config.net_config, categories)


def mindspore_backend(network: nn.Cell, config: Config) -> CheckpointBackend:
    """Return the network with MindSpore. It compiles a graph for the first image of each size."""
    return CheckpointBackend(network, config.net_config, spec_of(config), config.eval_config.K)


def onnxruntime_backend(network: nn.Cell, config: Config) -> MapsBackend:
    """Return the network with onnxruntime, as --backend auto runs it."""
    return MapsBackend(to_onnxruntime(network, config.net_config), config.net_config, spec_of(config),
                       config.eval_config.K)


def exported(network: nn.Cell, config: Config, target: Path) -> ExportedBackend:
    """Export the network with decoding, as export.py does, and open the file."""
    categories = categories_from_names(config.dataset_config.coco_classes)
    manifest = describe(config, model_record(config, categories))
    if config.precision == "int8":
        from centernet.export.quantization.low_precision import export_low_precision  # needs onnxruntime

        export_low_precision(config, network, manifest, target)
    else:
        export_model(network, manifest, target)
    return ExportedBackend(target)


def lite(network: nn.Cell, config: Config, flags: list[str], x: np.ndarray, folder: Path) -> LiteProgram:
    """Return the network in the C++ program."""
    checkpoint = folder / "net.ckpt"
    save_checkpoint(checkpoint, network,
                    model_record(config, categories_from_names(config.dataset_config.coco_classes)), {})
    return LiteProgram([*flags, "--export_load_ckpt", str(checkpoint)], x, folder)


def decode_rows(repeats: int) -> list[Row]:
    """Return rows about decoding of 80 classes at 128 x 128 positions: in MindSpore's graph, and in NumPy."""
    rng = np.random.default_rng(0)
    hm, wh, reg = (rng.standard_normal((1, channels, 128, 128), np.float32) for channels in (80, 2, 2))
    graph = Decode(100)
    seconds = paired({"MindSpore": lambda: graph(ms.Tensor(hm), ms.Tensor(wh), ms.Tensor(reg)).asnumpy(),
                      "NumPy": lambda: decode(sigmoid(hm), wh, reg, 100)}, repeats)
    return [Row(f"decode, {name}", 1000 * median(values), "ms", median_ratio(seconds, name, "MindSpore"), "MindSpore")
            for name, values in seconds.items()]


def seconds_of(function: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
