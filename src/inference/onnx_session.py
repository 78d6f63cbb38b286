"""onnxruntime, and the optional packages for ONNX files."""
from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np

from src.errors import UserError

PACKAGES = ("onnx", "onnxruntime")


def require_package(name: str) -> ModuleType:
    """Import one of PACKAGES; UserError if it is not installed, or its files do not load."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX needs the package {name}, which is not installed or does not load ({error}): "
                        "pip install -r requirements-onnx.txt") from error


def package_versions() -> dict[str, str]:
    """Package -> version of those that write and run ONNX; UserError if one is missing."""
    for name in PACKAGES:
        require_package(name)
    return {name: metadata.version(name) for name in PACKAGES}


def open_session(path: Path):
    """An onnxruntime.InferenceSession of a file, on the CPU, with a thread for each core that this process may use.

    Raises:
        UserError: onnxruntime is missing, the file is no ONNX model, or has an operator that this onnxruntime lacks.
    """
    runtime = require_package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads()
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UserError(_explain(path, runtime.__version__, error)) from error


def _explain(path: Path, version: str, error: Exception) -> str:
    text = str(error).splitlines()[0]
    if "DeformConv" in text:
        return (f"{path} has the operator DeformConv, which onnxruntime {version} lacks: use a newer one "
                "(1.31 has it; Python 3.10 gets none), or export with --export_deform gather")
    return f"{path}: onnxruntime {version} cannot load it: {text}"


def threads() -> int:
    """OMP_NUM_THREADS, which launchers of several processes set, or the cores that this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_onnx(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The function from a float32 batch to the outputs of a .onnx; UserErrors are open_session's."""
    session = open_session(path)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})
