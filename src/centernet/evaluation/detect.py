"""Detect on images and data sets: prepare, run a backend, post-process, evaluate."""
from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mindspore import nn
from tqdm import tqdm

from centernet.config.load import Config
from centernet.config.schema import EvalConfig
from centernet.data.coco import CocoDataset, CocoImage
from centernet.data.image_file import decode, is_cut
from centernet.detection.postprocess import merge, to_coco_results, to_image_boxes
from centernet.detection.transform import Meta, input_size, prepare_image
from centernet.detection.visualize import draw_boxes, save_picture
from centernet.errors import UserError
from centernet.evaluation.metrics import Metrics, evaluate_results
from centernet.group import gather, require_agreement
from centernet.runtimes.base import Backend, CheckpointBackend

log = logging.getLogger("centernet")

Prepared = list[tuple[np.ndarray, Meta]]  # of one image, for each scale: float32 (3, H, W) and its Meta


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (h, w, 3) uint8 BGR; UserError naming the file if it cannot be read whole."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"image {path}: {error.strerror or error}") from error
    if is_cut(data):
        raise UserError(f"image {path} is cut off after {len(data)} bytes: copy it again, or remove it from the "
                        "data set")
    image = decode(data)
    if image is None:
        raise UserError(f"image {path} ({len(data)} bytes) is not an image file that OpenCV can decode: replace it, "
                        "or remove it from the data set")
    return image


def detect_image(backend: Backend, image: np.ndarray, evaluation: EvalConfig,
                 input_res: tuple[int, int]) -> np.ndarray:
    """Detect on one image.

    Args:
        backend: a model; one of a fixed input size is run at that size.
        image: (h, w, 3) uint8 BGR.
        evaluation: resolution, scales, soft-NMS and K.
        input_res: (height, width) of the input without keep_res.

    Returns:
        (<=K, 6) float32 by descending score: x1, y1, x2, y2 in pixels of the image, score, class.
    """
    prepared = _prepare(backend, image, evaluation, input_res)
    return _detect_batch(backend, [prepared], evaluation, 1)[0]


def detect_images(backend: Backend, images: Sequence[CocoImage], evaluation: EvalConfig, input_res: tuple[int, int],
                  num_workers: int = 2) -> Iterator[tuple[CocoImage, np.ndarray]]:
    """Detect on image files, as detect_image does, in their order.

    Threads read and prepare the next images while the backend runs. At fixed
    resolution batches have evaluation.batch_size images (or the model's own
    number); the last one is filled up, so that nothing is compiled for it.
    """
    fixed = backend.fixed_shape
    size = fixed[0] if fixed else (1 if evaluation.keep_res else evaluation.batch_size)
    size = size or evaluation.batch_size  # an exported model that takes any number

    def work(image: CocoImage) -> Prepared:
        pixels = read_image(image.path)
        if pixels.shape[:2] != (image.height, image.width):
            log.warning("%s is %d x %d pixels (width x height), the annotation file says %d x %d: its boxes will not "
                        "match", image.path, pixels.shape[1], pixels.shape[0], image.width, image.height)
        return _prepare(backend, pixels, evaluation, input_res)

    batch: list[tuple[CocoImage, Prepared]] = []
    for position, item in enumerate(_ahead(images, work, num_workers, num_workers + size), 1):
        batch.append(item)
        if len(batch) == size or position == len(images):
            found = _detect_batch(backend, [prepared for _, prepared in batch], evaluation, size)
            yield from zip([image for image, _ in batch], found)
            batch = []


def _ahead(images: Iterable[CocoImage], work, num_workers: int, depth: int) -> Iterator[tuple[CocoImage, Prepared]]:
    """Each image with work(image), in order, computed by threads at most depth images ahead."""
    pool = ThreadPoolExecutor(num_workers)
    pending: deque = deque()
    try:
        for image in images:
            pending.append((image, pool.submit(work, image)))
            if len(pending) > depth:
                first, future = pending.popleft()
                yield first, future.result()
        for first, future in pending:
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(backend: Backend, image: np.ndarray, evaluation: EvalConfig, input_res: tuple[int, int]) -> Prepared:
    keep_res = evaluation.keep_res and backend.fixed_shape is None
    size = backend.fixed_shape[1:] if backend.fixed_shape else input_res
    return [prepare_image(image, scale, keep_res, evaluation.pad, size, backend.mean, backend.std, backend.to_rgb,
                          backend.down_ratio) for scale in evaluation.multi_scales]


def _detect_batch(backend: Backend, batch: Sequence[Prepared], evaluation: EvalConfig, size: int) -> list[np.ndarray]:
    """Boxes (<=K, 6) in pixels of each image; the batch is filled up to size by its last image."""
    filled = [*batch, *[batch[-1]] * (size - len(batch))]
    per_image: list[list[np.ndarray]] = [[] for _ in batch]
    for scale in range(len(evaluation.multi_scales)):
        detections = backend(np.stack([prepared[scale][0] for prepared in filled]))
        if not np.isfinite(detections).all():
            raise UserError("the model's output holds NaN or infinite values: its weights diverged in training, or "
                            "it was fed other mean and std than it was trained with; use an earlier checkpoint")
        for boxes, prepared, rows in zip(per_image, batch, detections):
            boxes.append(to_image_boxes(rows, prepared[scale][1]))
    return [merge(boxes, evaluation.K, evaluation.SOFT_NMS) for boxes in per_image]


def detect_dataset(backend: Backend, dataset: CocoDataset, evaluation: EvalConfig, input_res: tuple[int, int],
                   num_workers: int = 2, rank: int = 0, size: int = 1) -> dict[int, np.ndarray]:
    """Detect on all images of a data set, showing progress.

    Args:
        backend, evaluation, input_res: as for detect_image.
        num_workers: threads that read and prepare images.
        rank, size: this process among those that share the images: it takes every size-th one.

    Returns:
        Image id -> boxes as detect_image returns them, of all images and on every rank, in the data set's order.
    """
    if not dataset.images:
        raise UserError(f"none of the images of {dataset.annotation_file} was found in {dataset.image_dir}")
    require_agreement({"the number of images to evaluate on": len(dataset.images)}, size)
    images = dataset.images[rank::size]
    if rank == 0:
        if size > 1:
            log.info("%d images are shared by %d processes; what follows is of the first one's share",
                     len(dataset.images), size)
        _log_plan(backend, images, evaluation, input_res)
    boxes, start, step = [], time.perf_counter(), max(1, len(images) // 10)
    progress = tqdm(detect_images(backend, images, evaluation, input_res, num_workers), total=len(images),
                    unit="image", disable=None if rank == 0 else True)
    for _, found in progress:
        boxes.append(found)
        if rank == 0 and len(boxes) % step == 0 and not sys.stderr.isatty():
            log.info("detected on %d of %d images, %.1f images/s", len(boxes), len(images),
                     len(boxes) / (time.perf_counter() - start))
    shares = _exchange(boxes, size)
    return {image.id: shares[position % size][position // size] for position, image in enumerate(dataset.images)}


def _exchange(boxes: list[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """What each rank found: for each of its images (N, 6) float32."""
    if size == 1:
        return [boxes]
    counts = gather(np.array([len(rows) for rows in boxes], np.int32).tobytes(), size)
    values = gather(np.concatenate([np.zeros((0, 6)), *boxes]).astype(np.float32).tobytes(), size)
    return [np.split(np.frombuffer(rows, np.float32).reshape(-1, 6), np.cumsum(np.frombuffer(lengths, np.int32))[:-1])
            for lengths, rows in zip(counts, values)]


def _log_plan(backend: Backend, images: Sequence[CocoImage], evaluation: EvalConfig,
              input_res: tuple[int, int]) -> None:
    if backend.fixed_shape or not evaluation.keep_res:
        height, width = backend.fixed_shape[1:] if backend.fixed_shape else input_res
        overruled = ", the exported model's: keep_res does not apply" if evaluation.keep_res else ""
        log.info("%d images at fixed resolution %d x %d%s", len(images), height, width, overruled)
        return
    shapes = {input_size(image.height, image.width, scale, True, evaluation.pad, input_res)
              for image in images for scale in evaluation.multi_scales}
    many = "; a larger eval_config.pad or keep_res false makes them fewer" if len(shapes) > 30 else ""
    log.info("%d images at their own resolution: %d input sizes%s", len(images), len(shapes),
             f", each compiled once{many}" if backend.compiles else "")


def evaluate_network(network: nn.Cell, dataset: CocoDataset, config: Config, rank: int = 0,
                     size: int = 1) -> Metrics | None:
    """Evaluate a network as it is in the middle of a training, with the configuration's test settings.

    The network is in training mode afterwards if it was before. Ranks share the images; only rank 0 gets metrics.
    """
    evaluation, training = config.eval_config, network.training
    backend = CheckpointBackend(network, config.net_config, config.dataset_config, dataset.categories,
                                evaluation.K, evaluation.flip_test)
    try:
        detections = detect_dataset(backend, dataset, evaluation, config.dataset_config.input_res_test,
                                    config.num_workers, rank, size)
    finally:
        network.set_train(training)
    if rank:
        return None
    results = [row for image_id, boxes in detections.items()
               for row in to_coco_results(image_id, boxes, dataset.categories)]
    return evaluate_results(dataset.annotations, results, dataset.categories, detections)


def draw_detections(folder: Path, dataset: CocoDataset, detections: Mapping[int, np.ndarray],
                    score_thresh: float) -> None:
    """Draw what was found (score_thresh or better) to folder/pred_image, what is annotated to folder/gt_image."""
    names = dataset.categories.names
    annotated = any(len(image.boxes) for image in dataset.images)
    for image in tqdm(dataset.images, unit="picture", disable=None):
        pixels, boxes = read_image(image.path), detections[image.id]
        boxes = boxes[boxes[:, 4] >= score_thresh]
        # Absolute names, and those with "..", must not lead out of the folder: the images themselves may be there.
        name = Path(*[part for part in Path(image.file_name).parts if part not in ("..", Path(image.file_name).anchor)])
        save_picture(folder / "pred_image" / name,
                     draw_boxes(pixels, boxes[:, :4], boxes[:, 5].astype(int), names, boxes[:, 4]))
        if annotated:
            save_picture(folder / "gt_image" / name, draw_boxes(pixels, image.boxes, image.classes, names))
