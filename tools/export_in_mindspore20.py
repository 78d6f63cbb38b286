"""Export a network with MindSpore 2.0: the part of export_mindir_lite20.py that runs in an old Python.

    python3.7 tools/export_in_mindspore20.py FOLDER

FOLDER contains request.json, weights.npz and input.npy. This program adds model.mindir, the outputs of the written file
(output_0.npy, ...), and at the end version.txt. This file and the files of src that it imports (config.schema, models)
must not use syntax newer than Python 3.7.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from centernet.config.schema import NetConfig
from centernet.models.centernet import build_centernet
from centernet.models.decode import Detect
from centernet.models.deform_conv import with_gathers
from centernet.models.image_input import ImageInput


def main(folder: Path) -> None:
    """Build the requested network with the given weights, export it, and run the exported file."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                              for key, value in request["network"].items()}
    network = build_centernet(NetConfig(**values), request["num_classes"])
    weights = np.load(str(folder / "weights.npz"), allow_pickle=False)
    for name, parameter in network.parameters_dict().items():
        parameter.set_data(ms.Tensor(weights[name]))
    if request["deform"] == "gather":
        network = with_gathers(network)
    cell = network
    if request["decode"]:
        cell = Detect(network, request["K"], request["cat_spec_wh"], request["flip_test"],
                      request["network"]["box_head"])
    if request["normalization"]:
        cell = ImageInput(cell, **request["normalization"])
    cell.set_train(False)
    x = ms.Tensor(np.load(str(folder / "input.npy"), allow_pickle=False))
    path = folder / "model.mindir"
    ms.export(cell, x, file_name=str(path), file_format="MINDIR")
    outputs = nn.GraphCell(ms.load(str(path)))(x)
    for index, output in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
        np.save(str(folder / f"output_{index}.npy"), output.asnumpy())
    (folder / "version.txt").write_text(ms.__version__, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    main(parser.parse_args().folder)
