"""CenterNet ("Objects as Points") on MindSpore: train on Ascend, deploy as MINDIR, test on CPU.

    import centernet
    detector = centernet.load("last.ckpt", device_target="CPU")
    result = detector("street.jpg")

Importing this package imports neither MindSpore nor any other package: `load` does.
"""
from __future__ import annotations

import typing

from centernet.errors import UserError

if typing.TYPE_CHECKING:
    from centernet.detection.detector import Detector

__version__ = "0.2.0"
__all__ = ["UserError", "load"]


def load(path: str, device_target: str = "Ascend", *, device_id: int = 0, backend: str = "auto",
         score_thresh: float | None = None) -> Detector:
    """Open a model for detection. All settings come from the model's own record.

    It sets MindSpore's device and graph mode for this process, and the environment variables ONEDNN_MAX_CPU_ISA,
    KMP_WARNINGS, HCCL_CONNECT_TIMEOUT, GLOG_v and GLOG_stderrthreshold that MindSpore reads, if they are not set. It
    leaves random numbers, memory pools, and the settings of OpenCV and Pillow as they are.

    Args:
        path: a checkpoint (.ckpt), or an exported model (.mindir, .onnx) with its manifest (NAME.json,
            NAME.onnx.json) beside it.
        device_target: "Ascend" or "CPU".
        device_id: number of the Ascend device.
        backend: "mindspore", "mindir", "onnx", or "auto" (the fastest). On a CPU, "auto" runs a checkpoint with
            onnxruntime if onnx and onnxruntime are installed.
        score_thresh: results contain only detections with at least this score, 0..1. None: the threshold of the
            model's record, usually 0.3.

    Returns:
        A Detector: call it with a path, a uint8 array (h, w, 3) in BGR, a PIL image, or a list of them.

    Raises:
        UserError: score_thresh is out of range; the file is missing, damaged or not a model; or the device or a package
            is missing.
    """
    if score_thresh is not None and not (isinstance(score_thresh, (int, float)) and 0 <= score_thresh <= 1):
        raise UserError(f"score_thresh must be a number between 0 and 1, found {score_thresh!r}")

    import dataclasses

    from centernet.config.load import load_config
    from centernet.device import choose_device, prepare_environment
    from centernet.model_files import require_models

    flags = ["--device_target", device_target, "--device_id", str(device_id), "--backend", backend,
             "--model_path", str(path)]
    config = load_config("infer", flags, "")
    require_models("infer", config)
    prepare_environment(device_target)
    choose_device(device_target, device_id)

    import numpy as np

    from centernet.open_model import open_recorded

    random_state = np.random.get_state()
    try:
        detector = open_recorded(str(path), config)
    finally:
        np.random.set_state(random_state)  # initial weights, which those of the file replace, were drawn
    if score_thresh is not None:
        detector.settings = dataclasses.replace(detector.settings, score_thresh=score_thresh)
    return detector
