"""onnxruntime, and the optional packages for ONNX files."""
from __future__ import annotations

import importlib
import os
import typing
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np

from centernet.config.threads import usable_cores
from centernet.errors import UserError
from centernet.program import install

if typing.TYPE_CHECKING:
    from onnxruntime import InferenceSession

PACKAGES = ("onnx", "onnxruntime")


def require_package(name: str) -> ModuleType:
    """Import one of PACKAGES. Raise UserError if it is not installed or cannot be loaded."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX needs the package {name}, which is not installed or does not load ({error}): "
                        f"{install('onnx', 'onnx onnxruntime')}") from error


def package_versions() -> dict[str, str]:
    """Return the versions of PACKAGES: package -> version. Raise UserError if one is missing."""
    for name in PACKAGES:
        require_package(name)
    return {name: metadata.version(name) for name in PACKAGES}


def open_session(model: Path | bytes, entries: Mapping[str, str] | None = None) -> InferenceSession:
    """Open an onnxruntime.InferenceSession on the CPU, with one thread for each core that this process may use.

    Args:
        model: path of a .onnx file, or its bytes.
        entries: onnxruntime's configuration of the session: key -> value.

    Raises:
        UserError: onnxruntime is missing, the file is not an ONNX model, or this onnxruntime lacks an operator of it.
    """
    runtime = require_package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads()
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    source, name = (model, "the model") if isinstance(model, bytes) else (str(model), str(model))
    try:
        return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UserError(_explain(name, runtime.__version__, error)) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a .onnx file: key -> text. Raise UserError if onnx is missing or cannot read the file."""
    onnx = require_package("onnx")
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        raise UserError(f"{path} is not an ONNX file, or is damaged ({type(error).__name__}): copy it again, or export "
                        "again") from error
    return {entry.key: entry.value for entry in model.metadata_props}


def has_deform_conv() -> bool:
    """Return whether this onnxruntime has the operator DeformConv. Raise UserError if a package is missing."""
    onnx = require_package("onnx")
    shapes = {"x": (1, 1, 1, 1), "w": (1, 1, 1, 1), "offset": (1, 2, 1, 1), "y": (1, 1, 1, 1)}
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    node = onnx.helper.make_node("DeformConv", ["x", "w", "offset"], ["y"])
    opset = onnx.helper.make_opsetid("", 19)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "probe", values[:3], values[3:]),
                                   opset_imports=[opset], ir_version=onnx.helper.find_min_ir_version_for([opset]))
    try:
        open_session(model.SerializeToString())
    except UserError:
        return False
    return True


def _explain(name: str, version: str, error: Exception) -> str:
    text = str(error).splitlines()[0]
    if "DeformConv" in text:
        return (f"{name} has the operator DeformConv, which onnxruntime {version} lacks: use a newer version "
                "(1.31 has it; there is none for Python 3.10), or export with --export_deform gather")
    return f"{name}: onnxruntime {version} cannot load it: {text}"


def threads() -> int:
    """Return OMP_NUM_THREADS (set by launchers of several processes), or the number of cores for this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return usable_cores()


def load_onnx(model: Path | bytes) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Load a .onnx file, or its bytes, as a function from a batch to its outputs. Raises as open_session."""
    session = open_session(model)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})
