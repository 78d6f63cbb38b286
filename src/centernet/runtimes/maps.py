"""Runtime for a checkpoint's network that is not run by MindSpore: any function from images to raw maps."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from centernet.config.schema import NetConfig
from centernet.detection.decode import MIRRORED, decode, sigmoid
from centernet.runtimes.sizes import possible_detections, require_size
from centernet.spec import ModelSpec


class MapsBackend:
    """A function from images to raw maps, for any input size, without compilation. See detection.detector.Backend.

    Args:
        run: normalised float32 (B,3,H,W) -> raw maps, see net.maps.
        net: configuration of the network.
        spec: specification of the model.
        K: detections per image; an input with fewer output cells has one for each of them.
        flip_test: average scores and wh (or ltrb) with those of the mirrored image; reg comes from the unmirrored
            image.
    """

    runtime = "onnxruntime, converted from the checkpoint"
    fixed_shape = None
    first_runs = None

    def __init__(self, run: Callable[[np.ndarray], Sequence[np.ndarray]], net: NetConfig, spec: ModelSpec,
                 K: int, flip_test: bool = False):
        self.spec = spec
        self.K = K
        self._net = net
        self._run = run
        self._flip_test = flip_test

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect in float32 (B,3,H,W), see Backend. Raise UserError for sizes that the network does not allow."""
        require_size(images.shape[2], images.shape[3], self._net)
        count = possible_detections(images.shape[2], images.shape[3], self.K)
        batch = len(images)
        if self._flip_test:
            images = np.concatenate([images, images[..., ::-1]])
        hm, wh, *reg = self._run(images)
        scores = sigmoid(hm)
        if self._flip_test:
            back = wh[batch:, MIRRORED] if self._net.box_head == "ltrb" else wh[batch:]
            scores, wh = ((maps[:batch] + mirrored[..., ::-1]) * np.float32(0.5)
                          for maps, mirrored in ((scores, scores[batch:]), (wh, back)))
        return decode(scores, wh, reg[0][:batch] if reg else None, count, self._net.cat_spec_wh, self._net.box_head)
