"""Numbers of the operators in an exported model. A runtime or chip must have all of them to run it.

    python -m tools.operators centernet.mindir
    python -m tools.operators centernet.onnx
"""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from google.protobuf.message import DecodeError
from mindspore.train.mind_ir_pb2 import ModelProto

from centernet.errors import UserError, reports_errors
from centernet.runtimes.onnx_session import require_package

# Nodes that order or group values and compute nothing.
STRUCTURE = {"Depend", "Load", "MakeTuple", "Return", "TupleGetItem", "UpdateState"}


def operators(path: str | Path) -> dict[str, int]:
    """Return operator -> number of its nodes, sorted by name. Raise UserError if path is not a valid MINDIR or ONNX."""
    onnx = Path(path).suffix == ".onnx"
    model = require_package("onnx").ModelProto() if onnx else ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise UserError(f"{path} is not {'ONNX' if onnx else 'a MINDIR'}, or is cut off: export.py writes "
                        f"{'NAME.onnx' if onnx else 'NAME.mindir'}") from error
    if onnx:
        return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))
    kinds = {primitive.name: primitive.op_type for primitive in model.primitives}
    nodes = [node for graph in (model.graph, *model.functions) for node in graph.node]
    # A node refers to its primitive as "REF::Conv2D:4"; other nodes are constants and calls of functions.
    names = [kinds.get(node.op_type[len("REF::"):]) for node in nodes]
    return dict(sorted(Counter(name for name in names if name and name not in STRUCTURE).items()))


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Print the operators of a file and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="NAME.mindir|NAME.onnx")
    found = operators(parser.parse_args(argv).model)
    for name, count in found.items():
        print(f"{count:4d} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
