"""Detector: prepare images, run a model and post-process its detections."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from centernet.config.schema import EvalConfig
from centernet.data.image_file import read_image
from centernet.detection.postprocess import merge, to_image_boxes
from centernet.detection.result import result_of
from centernet.detection.soft_nms import GAUSSIAN
from centernet.detection.stage_clock import StageClock
from centernet.detection.transform import Meta, input_size, prepare_image
from centernet.errors import UserError
from centernet.spec import ModelSpec

Prepared = list[tuple[np.ndarray, Meta]]  # one image: for each scale the input (see prepare_image), and its Meta


class Backend(Protocol):
    """The interface of a runtime with a loaded model. The folder runtimes/ has such classes.

    Attributes:
        runtime: what runs the model, for reports.
        spec: the expected input and the categories.
        K: detections per image, at most.
        fixed_shape: (B, H, W) of a model with a fixed input size (B is 0 if any batch size is allowed); None if any
            size is allowed.
        first_runs: seconds of the first run of each input shape (B,3,H,W), with its compilation; None if the runtime
            compiles nothing for a new shape.
    """

    @property
    def runtime(self) -> str:
        """See the class."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """See the class."""
        ...

    @property
    def K(self) -> int:
        """See the class."""
        ...

    @property
    def fixed_shape(self) -> tuple[int, int, int] | None:
        """See the class."""
        ...

    @property
    def first_runs(self) -> Mapping[tuple[int, ...], float] | None:
        """See the class."""
        ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect: a batch of prepare_image's inputs -> float32 (B,K,6): x1,y1,x2,y2 in output cells, score, class.

        An input with fewer output cells than K has one row for each of them.
        """
        ...


class Detector:
    """A model with its test settings. Call it with images to get Results.

    Args:
        backend: the model. A model with a fixed input size runs at that size.
        settings: resolution, scales, soft-NMS, K and score_thresh. A call omits detections below score_thresh.

    Attributes:
        method: of soft-NMS, see soft_nms; a caller may choose another one.
        clock: the time that the stages have taken so far.
    """

    def __init__(self, backend: Backend, settings: EvalConfig):
        self.backend = backend
        self.settings = settings
        self.method = GAUSSIAN
        self.clock = StageClock()

    @property
    def spec(self) -> ModelSpec:
        """Return the model's expected input and its categories."""
        return self.backend.spec

    @property
    def keeps_resolution(self) -> bool:
        """Return whether each image is padded at its own resolution, instead of resized to one input size."""
        return self.settings.keep_res and self.backend.fixed_shape is None

    @property
    def batch_size(self) -> int:
        """Return the number of images in one run of the model."""
        fixed = self.backend.fixed_shape
        return (fixed[0] if fixed else 0) or self.settings.batch_size  # 0: an exported model with any batch size

    @property
    def most(self) -> int:
        """Return the largest number of boxes of an image."""
        return min(self.settings.K, self.backend.K * len(self.settings.multi_scales))

    def input_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the (H, W) of the network's input at each scale, for an image of height x width pixels."""
        return tuple(input_size(height, width, scale, self.keeps_resolution, self.settings.pad, self.spec.input_size)
                     for scale in self.settings.multi_scales)

    def __call__(self, images: Any, color_order: str = "BGR") -> Any:
        """Detect objects in an image, or in each image of a list or tuple.

        Args:
            images: a path (str or Path), a uint8 array (h, w, 3), a PIL image, or a list of them.
            color_order: colour order of arrays: "BGR" (as OpenCV reads them) or "RGB". It has no effect on paths and
                PIL images.

        Returns:
            A Result; for a list, a list of Results.

        Raises:
            UserError: a file is not a complete image, or a value is not an image.
        """
        if isinstance(images, (list, tuple)):
            return [self(image, color_order) for image in images]
        pixels = to_pixels(images, color_order)
        return result_of(self.rows(pixels), pixels, self.spec.categories, self.settings.score_thresh)

    def rows(self, image: np.ndarray) -> np.ndarray:
        """Detect objects in one image, (h, w, 3) uint8 BGR. It returns an array as `finish` does."""
        return self.finish([self.prepare(image)], 1)[0]

    def prepare(self, image: np.ndarray) -> Prepared:
        """Return the network's inputs for one image, (h, w, 3) uint8 BGR: one for each scale."""
        with self.clock("prepare"):
            return [prepare_image(image, self.spec, scale=scale, keep_res=self.keeps_resolution, pad=self.settings.pad)
                    for scale in self.settings.multi_scales]

    def finish(self, batch: Sequence[Prepared], size: int) -> list[np.ndarray]:
        """Run the model on prepared images.

        Args:
            batch: prepared images whose inputs have the same sizes.
            size: batch size of the run. Copies of the last image fill a smaller batch, so that no graph is compiled
                for it.

        Returns:
            For each image (<=K, 6) float32, by descending score: x1, y1, x2, y2 in pixels of the image, score, class.

        Raises:
            UserError: the model's output is not finite.
        """
        filled = [*batch, *[batch[-1]] * (size - len(batch))]
        per_image: list[list[np.ndarray]] = [[] for _ in batch]
        for scale in range(len(self.settings.multi_scales)):
            with self.clock("model"):
                detections = self.backend(np.stack([prepared[scale][0] for prepared in filled]))
            if not np.isfinite(detections).all():
                raise UserError("the model's output contains NaN or infinite values: its weights diverged in training, "
                                "or mean and std differ from those of the training. Use an earlier checkpoint, or "
                                "correct mean and std")
            for boxes, prepared, rows in zip(per_image, batch, detections):
                boxes.append(to_image_boxes(rows, prepared[scale][1]))
        with self.clock("merge"):
            return [merge(boxes, self.settings.K, self.settings.SOFT_NMS, self.method) for boxes in per_image]


def _as_from_file(image: Image.Image) -> Image.Image:
    """Return a PIL image turned as its EXIF orientation says and with 8 bit, as read_image gives it for its file."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode != "I" or values.max() > 255:  # Pillow would cut 16 bit off at 255
            return Image.fromarray((values >> 8).astype(np.uint8))
    return image


def to_pixels(image: Any, color_order: str = "BGR") -> np.ndarray:
    """Convert an image in one of the forms that Detector accepts to (h, w, 3) uint8 BGR.

    Raises:
        UserError: the file cannot be read, or the value is not an image.
    """
    if color_order not in ("BGR", "RGB"):
        raise UserError(f"color_order must be 'BGR' or 'RGB', found {color_order!r}")
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return np.ascontiguousarray(np.asarray(_as_from_file(image).convert("RGB"))[:, :, ::-1])
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"an image must be a path, a uint8 array of shape (height, width, 3), or a PIL image; found "
                        f"{found}")
    if not image.size:
        raise UserError(f"an image must have pixels, found an array of shape {image.shape}")
    return np.ascontiguousarray(image[:, :, ::-1]) if color_order == "RGB" else image
