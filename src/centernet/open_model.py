"""Open a model of any kind as a Detector.

A checkpoint runs on the fastest runtime of the device: MindSpore, or onnxruntime on a CPU. The conversion for
onnxruntime takes some seconds, so it is worth it only for a certain number of images; see docs/performance.md.
"""
from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.categories import by_name
from centernet.config.schema import Config, NetConfig
from centernet.data.coco import CocoDataset
from centernet.detection.detector import Backend, Detector
from centernet.detection.transform import warn_if_cut
from centernet.device import eager
from centernet.errors import UserError
from centernet.export.compare import TOLERANCE, largest_difference
from centernet.export.onnx import exportable, to_onnx
from centernet.program import program
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import is_exported, open_exported
from centernet.runtimes.fixed_settings import require_fixed
from centernet.runtimes.manifest import exported_settings
from centernet.runtimes.maps import MapsBackend
from centernet.runtimes.onnx_session import PACKAGES, has_deform_conv, load_onnx, require_package
from centernet.weights.load import LoadedModel, load_model

LOG = logging.getLogger("centernet")

WORTH_CONVERTING = 12  # runs of the network (images x scales); for fewer runs, converting takes longer than it saves

Run = Callable[[np.ndarray], list[np.ndarray]]


def open_model(path: str, config: Config, images: int,
               dataset: CocoDataset | None = None) -> tuple[Detector, Config]:
    """Open a checkpoint or an exported model for detection. Also return the configuration that it runs with.

    The record of a checkpoint has its network and its test settings. Those that --config_path or flags name must be
    equal (the network), or win with a note in the log (test settings); see weights.load.recorded_config. The manifest
    of an exported model has its test settings; see runtimes.manifest.exported_settings.

    Args:
        path: a .ckpt, or a .mindir or .onnx with its manifest beside it.
        config: backend, device_target, and what it names of the network and the test settings.
        images: number of images that will be processed.
        dataset: the data set for evaluation; the model must have its categories.

    Raises:
        UserError: the file is missing, damaged or of an unknown format, --backend cannot run it, or its network or
            categories differ. Or an exported model is asked for its raw weights, or by a flag for what its graph
            has not, see runtimes.fixed_settings.
    """
    if is_exported(path, config.backend):
        if config.weights == "raw":
            raise UserError(f"--weights raw: {path} has only the weights that were chosen at its export. Leave out "
                            "--weights, or export the checkpoint with --weights raw")
        backend = open_exported(path, config.eval_config)
        require_fixed(backend.manifest, config, path)
        if dataset:
            by_name(backend.spec.categories, dataset.categories, path, str(dataset.annotation_file),
                    "Evaluate on a data set of the same categories, or export a model trained on this one")
        settings = exported_settings(backend.manifest, config)
        warn_if_cut(backend.spec.input_size)
        data = dataclasses.replace(config.dataset_config, input_res_test=backend.spec.input_size)
        return Detector(backend, settings), dataclasses.replace(config, eval_config=settings, dataset_config=data)
    model = load_model(path, config, categories=dataset.categories if dataset else None)
    if dataset:
        by_name(model.spec.categories, dataset.categories, path, str(dataset.annotation_file),
                "Evaluate on a data set of the same categories, or train on this one: "
                f"{program('train')} --fine_tune true")
    model = model.at_size(model.config.dataset_config.input_res_test)
    if not model.config.eval_config.keep_res:
        warn_if_cut(model.spec.input_size)
    return Detector(run_checkpoint(path, model, model.config, images), model.config.eval_config), model.config


def open_recorded(path: str, config: Config) -> Detector:
    """Open a model as open_model does, with the test settings of its own record; config has all other settings."""
    settings = dataclasses.replace(config.eval_config, multi_scales=(1.0,), flip_test=False, batch_size=1)
    if is_exported(path, config.backend):
        exported = open_exported(path, settings)
        settings = exported_settings(exported.manifest, dataclasses.replace(config, eval_config=settings))
        return Detector(exported, settings)
    model = load_model(path, dataclasses.replace(config, eval_config=settings))
    settings = dataclasses.replace(model.config.eval_config, batch_size=1)
    config = dataclasses.replace(config, eval_config=settings)
    return Detector(run_checkpoint(path, model, config, WORTH_CONVERTING), settings)


def run_checkpoint(path: str, model: LoadedModel, config: Config, images: int) -> Backend:
    """Return the backend for a checkpoint according to --backend and --device_target. Log the choice and its reason.

    Raises:
        UserError: --backend onnx cannot run the network.
    """
    settings, forced = config.eval_config, config.backend == "onnx"
    reason = "" if forced else why_mindspore(config, model.net, images)
    if not reason:
        try:
            start = time.perf_counter()
            run = to_onnxruntime(model.network, model.net)
            LOG.info("onnxruntime runs %s (%s); converted in %.1f s", path,
                     "--backend onnx" if forced else "the fastest on a CPU", time.perf_counter() - start)
            return MapsBackend(run, model.net, model.spec, settings.K, settings.flip_test)
        except UserError as error:
            if forced:
                raise
            reason = f"it could not be converted for onnxruntime: {error}"
    LOG.info("MindSpore runs %s (%s)", path, reason)
    return CheckpointBackend(model.network, model.net, model.spec, settings.K, settings.flip_test)


def why_mindspore(config: Config, net: NetConfig, images: int) -> str:
    """Return the reason to run a network with MindSpore; "" if onnxruntime should run it."""
    if config.backend == "mindspore":
        return "--backend mindspore"
    if config.device_target != "CPU":
        return f"--device_target {config.device_target}"
    runs = images * len(config.eval_config.multi_scales)
    if runs < WORTH_CONVERTING:
        return f"converting it for onnxruntime saves time only from {WORTH_CONVERTING} runs on; there are {runs}"
    try:
        for name in PACKAGES:
            require_package(name)
    except UserError as error:
        return f"onnxruntime would be faster, but {error}"
    if net.deformable and not has_deform_conv():
        return "this onnxruntime has no deformable convolution"
    return ""


def to_onnxruntime(network: nn.Cell, net: NetConfig) -> Run:
    """Convert a network in evaluation mode for onnxruntime, for any batch size and image size.

    Raises:
        UserError: a package is missing, the runtime lacks an operator, or the output differs from the network's.
    """
    deform = "native" if net.deformable else "none"
    size = max(64, net.size_unit)
    names = ("image", *net.maps)
    cell = exportable(network, deform)
    cell.set_train(False)
    example = np.zeros((1, 3, size, size), np.float32)
    run = load_onnx(to_onnx(cell, example, names, deform == "native", (0, 2, 3)).SerializeToString())
    # Another shape than the exporter used: this also proves that batch and image size are free.
    x = np.random.default_rng(0).standard_normal((2, 3, size, 2 * size), np.float32)
    with eager():  # to compile the network would take longer than to run it once
        expected = [output.asnumpy() for output in network(ms.Tensor(x))]
    difference = float(np.max([*map(largest_difference, run(x), expected)]))
    if not difference <= TOLERANCE:
        raise UserError(f"onnxruntime's output differs from MindSpore's by {difference:.2e} (allowed: {TOLERANCE:.0e}"
                        "): use --backend mindspore")
    return run
