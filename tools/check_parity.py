"""Compare the outputs of converted networks with those of the original programs, and check conversions there and back.

    python -m tools.check_parity                              # all golden networks
    python -m tools.check_parity res_18 dla_34 --golden DIR
    python -m tools.check_parity --round_trip                 # of each source; or some: --round_trip mmdet dla

The first two commands write a .pth with the weights of a golden archive, run convert_weights.py and export.py on it,
and compare the maps of the checkpoint and of onnxruntime with those of the archive. The output is a Markdown table. The
exit status is 0; 1 if an error is larger than allowed or a tensor has changed; 2 for wrong arguments or missing files.
"""
from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from centernet.device import prepare_environment, set_up_device
from centernet.errors import UserError, reports_errors
from centernet.weights.name_maps import SOURCES, is_ignored
from tools.foreign_weights import BLOCKS, mmdet_dcn_shapes, modelzoo_shapes, random_tensors, resnet_shapes
from tools.golden_archive import (
    GOLDEN,
    MAPS,
    PRESET_OF,
    TOLERANCE,
    dla_classifier,
    errors,
    extremenet,
    formula_weights,
    source_of,
)

ROOT = Path(__file__).resolve().parents[1]
Tensors = dict[str, np.ndarray]


def check_networks(names: list[str], golden: Path) -> bool:
    """Print a row for each network and form of its deformable layers. Return whether all errors are small enough."""
    for name in names:
        require_archive(golden, name)
    maps = " ".join(MAPS)
    print(f"| network | preset | deformable layers | MindSpore: {maps} | ONNX: {maps} | allowed |")
    print("|---|---|---|---|---|---|", flush=True)
    good = True
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            for form, *found in measure(name, golden, Path(work)):
                allowed = TOLERANCE[name]
                cells = [" ".join(shown(error, allowed) for error in each.values()) for each in found]
                print("|", " | ".join((name, PRESET_OF[name], form, *cells, f"{allowed:.0e}")), "|", flush=True)
                good = good and all(error <= allowed for each in found for error in each.values())
    return good


def shown(error: float, allowed: float) -> str:
    """Return an error as text; bold if it is larger than allowed."""
    return f"{error:.1e}" if error <= allowed else f"**{error:.1e}**"


def measure(name: str, golden: Path, work: Path) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Yield for each form of the deformable layers: its name, the errors of the checkpoint and of the exported model.

    Errors are by map, as a fraction of its largest value.
    """
    from centernet.runtimes.onnx_session import load_onnx

    expected = np.load(golden / f"{name}.npz", allow_pickle=False)
    preset = ["--config_path", ROOT / "configs" / f"{PRESET_OF[name]}.yaml"]
    save_pth(work / "theirs.pth", formula_weights(name, golden))
    command("convert_weights.py", "--source", source_of(name), *preset, "--input", work / "theirs.pth",
            "--output", work / "ours.ckpt")
    (work / "theirs.pth").unlink()
    found, neck = checkpoint_maps(work / "ours.ckpt", expected["x"])
    for form in forms(neck):
        flags = ["--export_deform", form] if form else []
        command("export.py", *preset, "--device_target", "CPU", "--export_load_ckpt", work / "ours.ckpt",
                "--export_name", work / "ours", "--export_format", "ONNX", "--export_decode", "false", *flags,
                "--input_res", *expected["x"].shape[2:])
        yield form, errors(found, expected), errors(load_onnx(work / "ours.onnx")(expected["x"]), expected)


def forms(neck: str) -> tuple[str, ...]:
    """Return the forms of deformable layers that the installed onnxruntime supports."""
    from centernet.runtimes.onnx_session import package_versions

    if neck != "deform":
        return ("",)
    version = package_versions()["onnxruntime"]
    return ("native", "gather") if tuple(map(int, version.split(".")[:2])) > (1, 23) else ("gather",)


def checkpoint_maps(path: Path, images: np.ndarray) -> tuple[list[np.ndarray], str]:
    """Run a checkpoint's network on images (B,3,H,W). Return hm, wh, reg, and its kind of neck."""
    from mindspore import Tensor

    from centernet.config.load import load_config
    from centernet.weights.load import load_model

    model = load_model(path, load_config("eval", [], ""))
    return [maps.asnumpy() for maps in model.network(Tensor(images))], model.net.neck


def check_round_trips(sources: list[str]) -> bool:
    """Convert the weights of each source there and back, and print a row. Return whether all tensors are unchanged."""
    print("| source | network | tensors | left out | there and back |\n|---|---|---|---|---|", flush=True)
    good = True
    for source, preset, flags, make in cases():
        if source not in sources:
            continue
        tensors = make()
        with tempfile.TemporaryDirectory() as work:
            kept, same = round_trip(source, preset, flags, tensors, Path(work))
        verdict = "bit-identical" if same else "**changed**"
        print("|", " | ".join((source, flags[-1] if flags else preset, str(kept), str(len(tensors) - kept), verdict)),
              "|", flush=True)
        good = good and same
    return good


def cases() -> Iterator[tuple[str, str, list[str], Callable[[], Tensors]]]:
    """Yield source, preset, further flags, and a function that makes weights with the source's names and shapes."""
    for name, preset in PRESET_OF.items():
        yield source_of(name), preset, [], partial(formula_weights, name)
    yield "mmdet", "mmdet_resdcn18", [], lambda: random_tensors(mmdet_dcn_shapes())
    for depth in BLOCKS:
        yield ("torchvision", "official_res18", ["--net_config.backbone", depth],
               partial(random_tensors, resnet_shapes(depth)))
    yield "dla", "official_dla34", [], dla_classifier
    yield "dla", "official_dlav0_34", [], dla_classifier
    yield "extremenet", "official_hourglass", [], extremenet
    yield "modelzoo", "modelzoo_res50", [], lambda: random_tensors(modelzoo_shapes())


def round_trip(source: str, preset: str, flags: list[str], tensors: Tensors, work: Path) -> tuple[int, bool]:
    """Convert a file there and back. Return the number of tensors, and whether all are there and unchanged."""
    from centernet.weights.foreign_files import read_weights, write_weights

    suffix = ".ckpt" if source == "modelzoo" else ".pth"
    theirs, ours, back = (work / name for name in (f"theirs{suffix}", "ours.ckpt", f"back{suffix}"))
    if suffix == ".pth":
        save_pth(theirs, tensors)
    else:
        write_weights(theirs, tensors, wrapped=False)
    common = ["--source", source, "--config_path", ROOT / "configs" / f"{preset}.yaml", *flags]
    command("convert_weights.py", *common, "--input", theirs, "--output", ours)
    command("convert_weights.py", *common, "--input", ours, "--output", back, "--reverse", "true")
    found = read_weights(back)[0]
    expected = {name: value for name, value in tensors.items() if not is_ignored(source, name)}
    return len(found), found.keys() == expected.keys() and all(
        (found[name].dtype, found[name].shape, found[name].tobytes()) == (value.dtype, value.shape, value.tobytes())
        for name, value in expected.items())


def save_pth(path: Path, tensors: Tensors) -> None:
    """Write a .pth in the form of the paper's code and mmdetection after a training on several devices."""
    from centernet.weights.foreign_files import import_torch

    torch = import_torch()
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": torch.from_numpy(value)
                                           for name, value in tensors.items()}}, path)


def command(entry: str, *arguments: object) -> None:
    """Run a command of the project. Raise UserError with its last lines if it fails."""
    words = [entry, *map(str, arguments)]
    done = subprocess.run([sys.executable, str(ROOT / entry), *words[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise UserError(f"`python {' '.join(words)}` ended with status {done.returncode}:\n{last}")


def require_archive(folder: Path, name: str) -> None:
    """Raise UserError unless a folder has the golden archive of a network."""
    for path in (folder / f"{name}.json", folder / f"{name}.npz"):
        if not path.is_file():
            raise UserError(f"golden archive {path}: there is no such file. Give its folder with --golden DIR "
                            f"(default: golden/ in the folder of the variable CENTERNET_SHARED, otherwise {GOLDEN})")
    if not zipfile.is_zipfile(folder / f"{name}.npz"):
        raise UserError(f"golden archive {folder / name}.npz is cut off or is not an .npz file: copy it again")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments; without names, take all. Raise UserError for unknown names."""
    shared = os.environ.get("CENTERNET_SHARED")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"networks: {', '.join(PRESET_OF)} (default: all); "
                        f"with --round_trip sources: {', '.join(SOURCES)}")
    parser.add_argument("--golden", type=Path, default=Path(shared) / "golden" if shared else GOLDEN, metavar="DIR",
                        help="folder of the golden archives (default: %(default)s)")
    parser.add_argument("--round_trip", action="store_true", help="convert there and back instead")
    arguments = parser.parse_args(argv)
    known = SOURCES if arguments.round_trip else PRESET_OF
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        kind = "source" if arguments.round_trip else "golden network"
        raise UserError(f"there is no {kind} {unknown[0]!r}; there are {', '.join(known)}")
    arguments.names = arguments.names or list(known)
    return arguments


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Check the networks or sources of the arguments and return the exit status."""
    arguments = parse(argv)
    logging.getLogger("centernet").setLevel(logging.ERROR)  # print only the table
    prepare_environment()
    set_up_device("CPU", 0, seed=1)
    if arguments.round_trip:
        good = check_round_trips(arguments.names)
    else:
        good = check_networks(arguments.names, arguments.golden)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
