"""Run a checkpoint's network by what is fastest on the device: MindSpore, or on a CPU onnxruntime.

Converting costs some seconds, which a number of images must win back; see docs/performance.md.
"""
from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.categories import Categories
from centernet.config.schema import Config, DatasetConfig, NetConfig
from centernet.errors import UserError
from centernet.export.compare import TOLERANCE, largest_difference
from centernet.export.onnx import exportable, to_onnx
from centernet.models.centernet import build_centernet
from centernet.runtimes.base import Backend, CheckpointBackend
from centernet.runtimes.maps import MapsBackend
from centernet.runtimes.onnx_session import PACKAGES, has_deform_conv, load_onnx, require_package
from centernet.weights.checkpoint import Checkpoint, load_network

log = logging.getLogger("centernet")

WORTH_CONVERTING = 12  # runs of the network (images x scales) from which on converting takes less time than it saves

Run = Callable[[np.ndarray], list[np.ndarray]]
Eager = Callable[[], AbstractContextManager]


def open_checkpoint(path: str, checkpoint: Checkpoint, net: NetConfig, data: DatasetConfig, categories: Categories,
                    config: Config, images: int, eager: Eager) -> Backend:
    """The backend of a checkpoint that --backend and --device_target ask for; a line of the log says which and why.

    Args:
        path: of the checkpoint, for messages.
        checkpoint: its content.
        net: the network.
        data: how its input is normalised, unless the checkpoint's record says it.
        categories: of hm's channels.
        config: backend, device_target and eval_config.
        images: how many will be detected on.
        eager: context manager of eager mode (runtime.device.eager).

    Raises:
        UserError: the checkpoint does not fit the network, or --backend onnx cannot run it.
    """
    network = build_centernet(net, len(categories))
    load_network(network, checkpoint, path)
    network.set_train(False)
    if record := checkpoint.record:
        data = dataclasses.replace(data, mean=record.mean, std=record.std, to_rgb=record.to_rgb)
    evaluation = config.eval_config
    forced = config.backend == "onnx"
    reason = "" if forced else why_mindspore(config, net, images)
    if not reason:
        try:
            start = time.perf_counter()
            run = to_onnxruntime(network, net, eager)
            log.info("onnxruntime runs %s (%s); converted in %.1f s", path,
                     "--backend onnx" if forced else "the fastest on a CPU", time.perf_counter() - start)
            return MapsBackend(run, net, data, categories, evaluation.K, evaluation.flip_test)
        except UserError as error:
            if forced:
                raise
            reason = f"for onnxruntime it could not be converted: {error}"
    log.info("MindSpore runs %s (%s)", path, reason)
    return CheckpointBackend(network, net, data, categories, evaluation.K, evaluation.flip_test)


def why_mindspore(config: Config, net: NetConfig, images: int) -> str:
    """Why --backend auto or mindspore leaves a network to MindSpore; "" if onnxruntime is to run it."""
    if config.backend == "mindspore":
        return "--backend mindspore"
    if config.device_target != "CPU":
        return f"--device_target {config.device_target}"
    runs = images * len(config.eval_config.multi_scales)
    if runs < WORTH_CONVERTING:
        return f"converting it for onnxruntime pays from {WORTH_CONVERTING} runs on, here are {runs}"
    try:
        for name in PACKAGES:
            require_package(name)
    except UserError as error:
        return f"onnxruntime would be faster, but {error}"
    if net.neck == "deform" and not has_deform_conv():
        return "this onnxruntime has no deformable convolution"
    return ""


def to_onnxruntime(network: nn.Cell, net: NetConfig, eager: Eager) -> Run:
    """A network in evaluation mode, for batches of any number and size of images, under onnxruntime.

    Raises:
        UserError: a package is missing, a runtime lacks an operator, or the output differs from the network's.
    """
    deform = "native" if net.neck == "deform" else "none"
    size = max(64, net.size_unit)
    names = ("image", "hm", "wh", "reg")[:4 if net.reg_offset else 3]
    cell = exportable(network, deform)
    cell.set_train(False)
    run = load_onnx(to_onnx(cell, (1, 3, size, size), names, deform == "native", (0, 2, 3)).SerializeToString())
    # Not the shape that the exporter saw: that it is open is to be proven, too.
    x = np.random.default_rng(0).standard_normal((2, 3, size, 2 * size), np.float32)
    with eager():  # compiling the network would take longer than running it once
        expected = [output.asnumpy() for output in network(ms.Tensor(x))]
    difference = float(np.max([*map(largest_difference, run(x), expected)]))
    if not difference <= TOLERANCE:
        raise UserError(f"onnxruntime's output differs from MindSpore's by {difference:.2e} (allowed: {TOLERANCE:.0e})")
    return run
