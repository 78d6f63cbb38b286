"""MindSpore runtime for a checkpoint's network, with decoding in the graph."""
from __future__ import annotations

import time
from functools import cache, partial

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.config.schema import NetConfig
from centernet.models.decode import Detect
from centernet.runtimes.sizes import possible_detections, require_size
from centernet.spec import ModelSpec


class CheckpointBackend:
    """A network with its weights, for any input size. Each new shape is compiled once. See detection.detector.Backend.

    Args:
        network: float32 (B,3,H,W) -> raw maps, see net.maps.
        net: configuration of the network.
        spec: specification of the model.
        K: detections per image; an input with fewer output cells has one for each of them.
        flip_test: average scores and wh (or ltrb) with those of the mirrored image; reg comes from the unmirrored
            image.
    """

    runtime = "MindSpore"
    fixed_shape = None

    def __init__(self, network: nn.Cell, net: NetConfig, spec: ModelSpec, K: int, flip_test: bool = False):
        self.spec = spec
        self.K = K
        self._net = net
        # One cell for each number of detections: K, and the smaller ones of small inputs.
        self._detect = cache(partial(Detect, network, cat_spec_wh=net.cat_spec_wh, flip_test=flip_test,
                                     box_head=net.box_head))
        self.first_runs: dict[tuple[int, ...], float] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect in float32 (B,3,H,W), see Backend. Raise UserError for sizes that the network does not allow."""
        require_size(images.shape[2], images.shape[3], self._net)
        detect = self._detect(K=possible_detections(images.shape[2], images.shape[3], self.K))
        # At each call, because a training loop sets the network back to training mode after a validation.
        detect.set_train(False)
        start = time.perf_counter()
        detections = detect(ms.Tensor(np.ascontiguousarray(images, np.float32))).asnumpy()
        self.first_runs.setdefault(images.shape, time.perf_counter() - start)
        return detections
