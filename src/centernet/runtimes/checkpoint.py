"""Detect with a checkpoint's network under MindSpore, decoding in the graph."""
from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.config.schema import NetConfig
from centernet.models.decode import Detect
from centernet.runtimes.sizes import require_cells, require_size
from centernet.spec import ModelSpec


class CheckpointBackend:
    """A network with its weights, at any input size; each new size is compiled once. See detection.detector.Backend.

    Args:
        network: float32 (B,3,H,W) -> raw hm, wh and, with net.reg_offset, reg.
        net: what the network is.
        spec: what it was trained on.
        K: detections of an image.
        flip_test: average the scores and wh with those of the mirrored image; reg is the plain image's.
    """

    fixed_shape = None
    compiles = True

    def __init__(self, network: nn.Cell, net: NetConfig, spec: ModelSpec, K: int, flip_test: bool = False):
        self.spec = spec
        self.K = K
        self._net = net
        self._detect = Detect(network, K, net.cat_spec_wh, flip_test)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect on float32 (B,3,H,W), see Backend; raises UserError for sizes that do not suit the network or K."""
        require_size(images.shape[2], images.shape[3], self._net)
        require_cells(images.shape[2], images.shape[3], self.K)
        # At each call: a training loop that validates switches the network back in between.
        self._detect.set_train(False)
        return self._detect(ms.Tensor(np.ascontiguousarray(images, np.float32))).asnumpy()
