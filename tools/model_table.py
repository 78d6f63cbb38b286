"""Parameters and operations of the presets' networks: `python -m tools.model_table [PRESET ...] [--input_res H W]`."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from centernet.config.load import load_config, preset_files
from centernet.device import eager, prepare_environment, set_up_device
from centernet.errors import reports_errors

HEADER = f"{'preset':<20}{'input':>9}{'parameters':>13}{'folded':>10}{'GMACs':>9}{'GFLOPs':>9}  outputs"
NOTES = """\
parameters  trainable parameters, in millions
folded      parameters for detection, with each batch norm folded into the convolution before it
GMACs       multiply-accumulates of convolutions; transposed ones count their input, deformable ones without sampling
GFLOPs      2 GMACs, and for each output element: 1 for a bias, 2 for a ReLU, k*k for a pooling, 1 for a sum"""


def row(preset: Path, size: list[int]) -> str:
    """Return a line of the table: the preset's network at a (height, width), or at its own test resolution.

    Raises:
        UserError: the preset cannot be read or does not allow that size.
    """
    import mindspore as ms

    from centernet.weights.conversion import skeleton
    from tools.complexity import measure

    flags = ["--input_res", *map(str, size)] if size else []
    config = load_config("export", ["--config_path", str(preset), *flags], "")
    data = config.dataset_config
    height, width = config.input_res or data.input_res_test
    network = skeleton(config.net_config, data.num_classes)
    for parameter in network.get_parameters():
        parameter.set_data(ms.ops.zeros(parameter.shape, parameter.dtype))
    found = measure(network, height, width)
    maps = ", ".join("x".join(map(str, shape[1:])) for shape in found.outputs)
    return (f"{preset.stem:<20}{f'{height}x{width}':>9}{found.parameters / 1e6:>13.3f}{found.folded / 1e6:>10.3f}"
            f"{found.macs / 1e9:>9.3f}{found.flops / 1e9:>9.3f}  {maps}")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Print the table and return the exit status: 2 if a preset does not exist or does not allow the size."""
    parser = argparse.ArgumentParser(prog="python -m tools.model_table", epilog=NOTES,
                                     description="Print parameters and operations of the presets' networks for 80 "
                                                 "classes.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET",
                        help="names of presets, or YAML files; without any, all of configs/")
    parser.add_argument("--input_res", nargs=2, type=int, default=[], metavar=("HEIGHT", "WIDTH"),
                        help="size of the image; without it each preset's input_res_test")
    arguments = parser.parse_args(argv)
    presets = preset_files(arguments.presets)
    prepare_environment()
    set_up_device("CPU", 0, 0)
    print(HEADER, flush=True)
    with eager():
        for preset in presets:
            print(row(preset, arguments.input_res), flush=True)
    print(NOTES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
