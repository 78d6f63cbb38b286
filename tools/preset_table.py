"""Table of the presets' ONNX files: nodes, operator set, size and error of each form and precision.

    python -m tools.preset_table [PRESET ...] [--precisions fp32 fp16 int8] [--input_res HEIGHT WIDTH]
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from centernet.categories import categories_from_names
from centernet.config.load import load_config, preset_files
from centernet.device import eager, prepare_environment, set_up_device
from centernet.errors import reports_errors
from centernet.runtimes.onnx_session import has_deform_conv

PRECISIONS = ("fp32", "fp16", "int8")
SETTLING = 8  # random images for the batch norms: at 128 x 128, the smallest maps of Hourglass-104 have one position
HEADER = """\
| preset | deformable layers | precision | nodes | operator set | MB | error |
|---|---|---|---|---|---|---|"""
NOTES = """
Networks for 80 classes with random weights, raw maps, batch size 1. As after a training, their batch norms have the
statistics of (random) images. Error: fp32 against MindSpore, the others against fp32, as a fraction of a map's largest
value. int8 is calibrated by min-max on two random images and compared on a third."""


def rows(preset: Path, size: Sequence[int], precisions: Sequence[str]) -> list[str]:
    """Return the lines of the table for one preset, for all forms of its deformable layers that this machine can run.

    Raises:
        UserError: the preset cannot be read, does not allow that size, or cannot be exported.
    """
    from centernet.export.describe import describe
    from centernet.models.centernet import build_centernet
    from centernet.weights.checkpoint import model_record

    prepare_environment()
    set_up_device("CPU", 0, 1)
    flags = ["--config_path", str(preset), "--input_res", *map(str, size), "--device_target", "CPU", "--export_format",
             "ONNX", "--export_decode", "false", "--export_deform"]
    config = load_config("export", [*flags, "native"], "")
    images = np.random.default_rng(1).standard_normal((SETTLING + 3, 1, 3, *size), np.float32)
    categories = categories_from_names(config.dataset_config.coco_classes)
    network = build_centernet(config.net_config, len(categories))
    _settle(network, images[:SETTLING, 0])
    deformable = config.net_config.deformable
    forms = (["native"] if has_deform_conv() else []) + ["gather"] if deformable else ["native"]
    record = model_record(config, categories)
    manifests = [describe(load_config("export", [*flags, form], ""), record) for form in forms]
    return [row for manifest in manifests
            for row in _rows_of_form(preset, network, manifest, images[SETTLING:], precisions)]


def _settle(network, images: np.ndarray) -> None:
    """Give a new network random offsets and batch norms with the statistics of images (B,3,H,W); set evaluation mode.

    The scales are well below 1, so that residual branches are smaller than their shortcuts, as in trained networks.
    With scale 1, each block would double the noise of its input.
    """
    import mindspore as ms
    from mindspore import nn

    rng = np.random.default_rng(0)

    def set_values(parameter, values: np.ndarray) -> None:
        parameter.set_data(ms.Tensor(np.broadcast_to(values, parameter.shape).astype(np.float32)))

    def fit(norm, inputs) -> None:
        values = inputs[0].asnumpy()
        set_values(norm.moving_mean, values.mean((0, 2, 3)))
        set_values(norm.moving_variance, values.var((0, 2, 3)))
        set_values(norm.gamma, rng.uniform(0.2, 0.6, norm.gamma.shape))
        set_values(norm.beta, rng.normal(0, 0.2, norm.beta.shape))

    for parameter in network.get_parameters():
        if ".offset." in parameter.name:
            fan_in = parameter[0].size if parameter.ndim == 4 else 1
            set_values(parameter, rng.normal(0, 0.5 / np.sqrt(fan_in), parameter.shape))
    network.set_train(False)
    hooks = [cell.register_forward_pre_hook(fit) for _, cell in network.cells_and_names()
             if isinstance(cell, nn.BatchNorm2d)]
    with eager():
        network(ms.Tensor(images))
    for hook in hooks:
        hook.remove()


def _rows_of_form(preset: Path, network, manifest, images: np.ndarray, precisions: Sequence[str]) -> Iterator[str]:
    import onnx

    from centernet.export.compare import largest_difference
    from centernet.export.publish import export_model
    from centernet.export.quantization.float16 import to_half
    from centernet.export.quantization.quantize import Int8Options, quantize
    from centernet.runtimes.onnx_session import load_onnx

    options = Int8Options("minmax", 100.0, first_layer=False, heads=False)
    makers = {"fp16": to_half,
              "int8": lambda full: quantize(full, lambda: ((image, 1) for image in images[:2]), options)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        error = export_model(network, manifest, path)
        full = onnx.load(str(path))
        expected = load_onnx(path)(images[2])
        for precision in precisions:
            model = full
            if precision != "fp32":
                model = makers[precision](full)
                onnx.checker.check_model(model)
                found = load_onnx(model.SerializeToString())(images[2])
                error = max(map(largest_difference, found, expected))
            yield (f"| {preset.stem} | {manifest.deform} | {precision} | {len(model.graph.node)} | "
                   f"{model.opset_import[0].version} | {model.ByteSize() / 1e6:.1f} | {error:.1e} |")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Print the table and return the exit status: 2 if a preset does not exist or cannot be exported."""
    parser = argparse.ArgumentParser(prog="python -m tools.preset_table", epilog=NOTES,
                                     description="Print nodes, size and error of the presets' ONNX files.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET",
                        help="names of presets, or YAML files; without any, all of configs/")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["fp32"])
    parser.add_argument("--input_res", nargs=2, type=int, default=[128, 128], metavar=("HEIGHT", "WIDTH"))
    arguments = parser.parse_args(argv)
    try:
        presets = preset_files(arguments.presets)
        print(HEADER, flush=True)
        for preset in presets:
            # One process for each preset: MindSpore does not free compiled graphs, and the largest takes several GB.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                print(*pool.submit(rows, preset, arguments.input_res, arguments.precisions).result(), sep="\n",
                      flush=True)
    except BrokenProcessPool:
        print(f"error: the process that exported {preset} was killed. Is there too little memory?", file=sys.stderr)
        return 2
    print(NOTES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
