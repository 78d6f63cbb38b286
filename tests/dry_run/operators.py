"""The operators of the default graphs with the kinds of their kernels: operators.txt.

    PYTHONPATH=src:. python tests/dry_run/operators.py      writes operators.txt anew
"""
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from centernet.config.load import load_config
from tests.tiny_coco import make_coco, make_shards
from tests.tiny_model import tiny_checkpoint
from tools.ascend_stub.library import build

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("operators.txt")
# The default network but for its size: one block in each stage, few channels, small images.
NETWORK = ("--net_config.backbone", "resnet18", "--net_config.block_class", "1", "1", "1", "1",
           "--net_config.neck_filters", "8", "8", "8", "--net_config.head_conv", "8")
SMALL = ("--dataset_config.input_res_train", "64", "64", "--dataset_config.max_objs", "8",
         "--train_config.batch_size", "2")
PLUS = ("--config_path", "plus_res18_deform", *NETWORK, "--dataset_config.input_res_test", "64", "64")
GRAPHS = ("train", "eval", "export", "plus_train", "plus_eval", "plus_export")  # plus: of the newer recipe


def prepare(folder):
    """Make a data set, its shards and a checkpoint; return the flags of each command, as a user would give them."""
    make_coco(folder, num_images=4)
    make_coco(folder, num_images=1, split="val", seed=1)
    make_shards(folder)
    tiny_checkpoint(folder / "tiny.ckpt", load_config("export", [*NETWORK, "--device_target", "CPU"], ""))
    tiny_checkpoint(folder / "plus.ckpt", load_config("export", [*PLUS, "--device_target", "CPU"], ""))
    flags = {"step": (*NETWORK, *SMALL)}
    for kind, network, checkpoint in (("", NETWORK, "tiny.ckpt"), ("plus_", PLUS, "plus.ckpt")):
        flags[f"{kind}train"] = (*network, *SMALL, "--mindrecord_dir", str(folder / "shards"),
                                 "--data_dir", str(folder))
        flags[f"{kind}eval"] = (*network, "--load_checkpoint_path", str(folder / checkpoint), "--data_dir", str(folder))
        flags[f"{kind}export"] = (*network, "--export_load_ckpt", str(folder / checkpoint), "--input_res", "64", "64")
    return flags


def command_of(graph):
    """The command that compiles a graph."""
    return graph.removeprefix("plus_")


def script(cann, *words, folder):
    """Run dry_run_ascend.sh in a folder with CANN, or its stand-in, in `cann`."""
    return subprocess.run(["bash", str(ROOT / "scripts/dry_run_ascend.sh"), *words], cwd=folder, capture_output=True,
                          text=True, env={**os.environ, "PYTHON": sys.executable, "ASCEND_HOME_PATH": str(cann)})


def kernels(printed):
    """(operator, kind of its kernel) -> number, from what the script prints."""
    rows = re.findall(r"^(\w+) +(\w+) +(\d+)$", printed, re.MULTILINE)
    return {(name, kind): int(number) for name, kind, number in rows}


def golden():
    """Graph -> its (operator, kind)s, as committed; None with another MindSpore, whose passes are others."""
    version, *lines = GOLDEN.read_text().splitlines()
    if version != f"# MindSpore {metadata.version('mindspore')}":
        return None
    rows = [line.split() for line in lines]
    return {graph: {(name, kind) for name, kind, *graphs in rows if graph in graphs} for graph in GRAPHS}


def write(found):
    """Write the golden list from graph -> its (operator, kind)s."""
    rows = [(*row, *(graph for graph in GRAPHS if row in found[graph])) for row in sorted(set().union(*found.values()))]
    lines = (f"{name:<24}{kind:<10}{' '.join(graphs)}\n" for name, kind, *graphs in rows)
    GOLDEN.write_text(f"# MindSpore {metadata.version('mindspore')}\n" + "".join(lines))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags, cann, found = prepare(folder), build(folder), {}
        for graph in GRAPHS:
            done = script(cann, command_of(graph), *flags[graph], folder=folder)
            assert done.returncode == 0, done.stderr
            found[graph] = kernels(done.stdout)
        write(found)


if __name__ == "__main__":
    main()
