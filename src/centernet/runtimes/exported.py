"""Runtime for exported models: MINDIR with MindSpore, ONNX with onnxruntime."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.config.schema import EvalConfig
from centernet.detection.decode import decode, sigmoid
from centernet.errors import UserError
from centernet.model_files import EXPORTED
from centernet.program import program
from centernet.runtimes.manifest import read_manifest
from centernet.runtimes.onnx_session import load_onnx

SUFFIXES = {"mindspore": (".ckpt",), "mindir": (".mindir",), "onnx": (".onnx", ".ckpt"),
            "auto": ("",)}  # suffixes of the files that each backend runs


def is_exported(path: str, backend: str = "auto") -> bool:
    """Return whether a model is exported (not a checkpoint). Raise UserError if --backend does not run such files."""
    wanted = SUFFIXES[backend]
    if not path.endswith(wanted):
        raise UserError(f"--backend {backend} runs {' and '.join(wanted)} files, found {path}: use such a file, or "
                        "use --backend auto, which runs every kind of file")
    return path.endswith(EXPORTED)


def open_exported(path: str, evaluation: EvalConfig) -> ExportedBackend:
    """Open an exported model as a backend. Raise UserError if a flip test is requested but not in its graph."""
    backend = ExportedBackend(path)
    if evaluation.flip_test and not backend.manifest.flip_test:
        raise UserError(f"eval_config.flip_test: {path} was exported without it: export it again with "
                        "--eval_config.flip_test true")
    return backend


def load_graph(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Load a .mindir or .onnx file as a function from a batch of inputs to its outputs.

    Raises:
        RuntimeError, ValueError: MindSpore cannot load the .mindir.
        UserError: onnxruntime cannot load the .onnx, or is missing.
    """
    if path.suffix == ".onnx":
        return load_onnx(path)
    return partial(outputs_of, nn.GraphCell(ms.load(str(path))))


def outputs_of(cell: nn.Cell, x: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of an nn.Cell for a float32 batch (B,3,H,W)."""
    found = cell(ms.Tensor(x))
    return [output.asnumpy() for output in (found if isinstance(found, tuple) else (found,))]


class ExportedBackend:
    """An exported model at its fixed input size. Smaller batches are padded, larger batches are split.

    A model without a fixed batch size runs any number of images at once; then fixed_shape has batch size 0.
    """

    runtime = "the exported model's own"
    first_runs = None  # a MINDIR is compiled when it is loaded

    def __init__(self, model_path: str | Path):
        path = Path(model_path)
        if not is_exported(str(path)):
            raise UserError(f"--model_path {path}: an exported model's name ends in .mindir or .onnx")
        self.manifest = manifest = read_manifest(path)
        self.spec = manifest.spec
        self.K = manifest.K
        self.fixed_shape = (manifest.input_shape[0], *manifest.spec.input_size)
        try:
            self._graph = load_graph(path)
            if manifest.versions.get("mindspore") == "2.0.0":
                # Loading succeeds, but compilation fails. Find out now.
                self._graph(np.zeros(manifest.input_shape, manifest.input_dtype))
        except (RuntimeError, ValueError) as error:
            raise self._unreadable(path) from error

    def _unreadable(self, path: Path) -> UserError:
        writer = self.manifest.versions.get("mindspore", "unknown")
        remedy = (f"it is for MindSpore Lite 2.0 and the C++ program; for Python use {program('export')}"
                  if writer == "2.0.0" else "export the checkpoint again")
        return UserError(f"{path} is not damaged, but MindSpore {ms.__version__} cannot run it (it was written by "
                         f"MindSpore {writer}): {remedy}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect in a batch of any size, see Backend. Raise UserError for images of another shape than the model's."""
        batch, *shape = self.manifest.input_shape
        if images.shape[1:] != tuple(shape):
            raise UserError(f"the model takes images of shape {tuple(shape)}, found {images.shape[1:]}: prepare "
                            "them with the model's size, or export again with --input_res")
        step = batch or len(images)
        return np.concatenate([self._run(images[first:first + step]) for first in range(0, len(images), step)])

    def _run(self, images: np.ndarray) -> np.ndarray:
        full = np.zeros((self.fixed_shape[0] or len(images), *images.shape[1:]), self.manifest.input_dtype)
        full[:len(images)] = images
        outputs = [output[:len(images)] for output in self._graph(full)]
        if self.manifest.decode:
            return outputs[0]
        hm, wh, *reg = outputs
        return decode(sigmoid(hm), wh, reg[0] if reg else None, self.K, self.manifest.cat_spec_wh,
                      self.manifest.box_head)
