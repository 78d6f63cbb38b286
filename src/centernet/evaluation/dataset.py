"""Detection in all images of a data set, with all processes of a group, and evaluation."""
from __future__ import annotations

import logging
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from mindspore import nn
from tqdm import tqdm

from centernet.config.schema import Config
from centernet.config.threads import input_threads
from centernet.data.coco import CocoDataset, CocoImage
from centernet.data.defects import report_all
from centernet.data.orientation import read_annotated
from centernet.detection.detector import Detector, Prepared
from centernet.detection.postprocess import to_coco_results
from centernet.errors import UserError
from centernet.evaluation.metrics import Metrics, evaluate_results
from centernet.evaluation.shares import divide
from centernet.group import ALONE, Group, gather, require_agreement
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import exported_settings
from centernet.spec import configured_spec

LOG = logging.getLogger("centernet")


def evaluate(detector: Detector, dataset: CocoDataset, num_workers: int = 2, group: Group = ALONE) -> Metrics | None:
    """Detect objects in all images of an annotated data set and compute COCO's metrics.

    Args:
        detector: a model with the data set's categories.
        dataset: annotated images.
        num_workers: threads that read and prepare images.
        group: the processes that divide the images among them.

    Returns:
        The metrics on the first rank, None on the other ranks.
    """
    detections = detect_dataset(detector, dataset, num_workers, group)
    if group.rank:
        return None
    return evaluate_detections(dataset, detections, detector.settings.max_dets, detector.most)


class NetworkEvaluation:
    """Evaluation of a network during its training, with the configured test settings. A call returns as evaluate does.

    The graphs of one evaluation serve the next ones, so each input size is compiled once in a training. They read the
    network's parameters when they run, so they always evaluate the current weights.

    Args:
        network, dataset, group: see CheckpointBackend and evaluate.
        config: the test settings, and the configuration of the network.

    Attributes:
        detector: the network with the test settings.
        first_runs: see CheckpointBackend.
    """

    def __init__(self, network: nn.Cell, dataset: CocoDataset, config: Config, group: Group = ALONE):
        settings = config.eval_config
        spec = configured_spec(config.dataset_config, config.net_config, dataset.categories)
        backend = CheckpointBackend(network, config.net_config, spec, settings.K, settings.flip_test)
        self.detector = Detector(backend, settings)
        self.first_runs = backend.first_runs
        self._network = network
        self._evaluate = partial(evaluate, self.detector, dataset, input_threads(config), group)

    def __call__(self) -> Metrics | None:
        """Evaluate. Afterwards the network has the mode (training or evaluation) that it had before."""
        training = self._network.training
        try:
            return self._evaluate()
        finally:
            self._network.set_train(training)


def evaluate_detections(dataset: CocoDataset, detections: Mapping[int, np.ndarray], max_dets: int = 100,
                        K: int | None = None) -> Metrics:
    """Compute COCO's metrics of detections: image id -> (N, 6), as detect_dataset returns them; see evaluate_results.
    """
    results = [row for image_id, boxes in detections.items()
               for row in to_coco_results(image_id, boxes, dataset.categories)]
    return evaluate_results(dataset.annotations, results, dataset.categories, detections, max_dets, K)


def evaluate_exported(backend: ExportedBackend, dataset: CocoDataset, config: Config,
                      num_workers: int = 2) -> Metrics:
    """Return COCO's metrics of an exported model with its test settings, see runtimes.manifest.exported_settings.

    Raises:
        UserError: the data set has other categories.
    """
    settings = exported_settings(backend.manifest, config)
    dataset = dataset.of_model(backend.spec.categories, "the model",
                               "Use an annotation file with the categories of the training.")
    detector = Detector(backend, settings)
    detections = detect_dataset(detector, dataset, num_workers)
    return evaluate_detections(dataset, detections, settings.max_dets, detector.most)


def detect_dataset(detector: Detector, dataset: CocoDataset, num_workers: int = 2,
                   group: Group = ALONE) -> dict[int, np.ndarray]:
    """Detect objects in all images of a data set and show the progress.

    Images of one input size are processed together, whatever their order in the data set.

    Args:
        detector, dataset, num_workers: as for evaluate.
        group: the processes that divide the images among them, see divide.

    Returns:
        Image id -> boxes as Detector.rows returns them, of all images, on every rank, in the data set's order.

    Raises:
        UserError: no image was found, the ranks have different images, an image cannot be read, or the model's output
            is not finite.
    """
    if not dataset.images:
        raise UserError(f"none of the images of {dataset.annotation_file} was found in {dataset.image_dir}")
    sizes = [detector.input_sizes(image.height, image.width) for image in dataset.images]
    require_agreement({"the number of images to evaluate": len(sizes),
                       "the checksum of the input sizes of the images to evaluate":
                           zlib.crc32(repr(sizes).encode())}, group)
    shares = divide(sizes, group.size)
    if group.size > 1 and group.rank == 0:
        LOG.info("%d processes divide %d images among them; the lines below count the images of the first process",
                 group.size, len(sizes))
    boxes = _detect_share(detector, [dataset.images[index] for index in shares[group.rank]], num_workers,
                          group.rank == 0)
    found = {index: rows for share, part in zip(shares, _exchange(boxes, group)) for index, rows in zip(share, part)}
    return {image.id: found[index] for index, image in enumerate(dataset.images)}


def _detect_share(detector: Detector, images: Sequence[CocoImage], num_workers: int, first: bool) -> list[np.ndarray]:
    """Detect objects in the images of this process. The first process logs the plan, progress and compilations."""
    compiled = detector.backend.first_runs
    before = set(compiled or ())
    if first:
        _log_plan(detector, images)
    boxes, start, step = [], time.perf_counter(), max(1, len(images) // 10)
    progress = tqdm(detect_images(detector, images, num_workers), total=len(images), unit="image",
                    disable=None if first else True)
    for _, found in progress:
        boxes.append(found)
        if first and len(boxes) % step == 0 and not sys.stderr.isatty():
            LOG.info("processed %d of %d images, %.1f images/s", len(boxes), len(images),
                     len(boxes) / (time.perf_counter() - start))
    if first and compiled:
        seconds = [spent for shape, spent in compiled.items() if shape not in before]
        LOG.info("input sizes compiled: %d, with their first runs %.1f s; compiled before: %d", len(seconds),
                 sum(seconds), len(before))
    return boxes


def detect_images(detector: Detector, images: Sequence[CocoImage],
                  num_workers: int = 2) -> Iterator[tuple[CocoImage, np.ndarray]]:
    """Detect objects in image files, in order. Yield each image with its boxes as Detector.rows returns them.

    Neighbours of the same input size form batches. Threads read and prepare the next images while the model runs.
    """
    size = detector.batch_size
    unusual: list[tuple[str, str]] = []

    def work(image: CocoImage) -> Prepared:
        with detector.clock("read"):
            pixels = read_annotated(image.path, image.width, image.height, unusual)
        return detector.prepare(pixels)

    for batch in _batches(_ahead(images, work, num_workers, num_workers + size), size):
        stop_if_interrupted()
        found = detector.finish([prepared for _, prepared in batch], size)
        yield from zip([image for image, _ in batch], found)
    report_all("the images", unusual)


def _batches(items: Iterable[tuple[CocoImage, Prepared]], size: int) -> Iterator[list[tuple[CocoImage, Prepared]]]:
    """Yield batches of up to `size` neighbours whose inputs have the same sizes.

    The prepared inputs decide, not the annotation file: its width and height may be wrong.
    """
    batch: list[tuple[CocoImage, Prepared]] = []
    for item in items:
        if batch and _shapes(item[1]) != _shapes(batch[0][1]):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _shapes(prepared: Prepared) -> list[tuple[int, ...]]:
    return [planes.shape for planes, _ in prepared]


def _ahead(images: Iterable[CocoImage], work: Callable[[CocoImage], Prepared], num_workers: int,
           depth: int) -> Iterator[tuple[CocoImage, Prepared]]:
    """Yield each image with work(image), in order. Threads compute work for up to depth images in advance."""
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


def _exchange(boxes: list[np.ndarray], group: Group) -> list[list[np.ndarray]]:
    """Return the boxes of each rank: for each of its images (N, 6) float32."""
    if group.size == 1:
        return [boxes]
    counts = gather(np.array([len(rows) for rows in boxes], np.int32).tobytes(), group)
    values = gather(np.concatenate([np.zeros((0, 6)), *boxes]).astype(np.float32).tobytes(), group)
    return [np.split(np.frombuffer(rows, np.float32).reshape(-1, 6), np.cumsum(np.frombuffer(lengths, np.int32))[:-1])
            for lengths, rows in zip(counts, values)]


def _log_plan(detector: Detector, images: Sequence[CocoImage]) -> None:
    if not detector.keeps_resolution:
        LOG.info("%d images at fixed resolution %d x %d%s", len(images), *detector.spec.input_size,
                 " of the exported model" if detector.backend.fixed_shape else "")
        return
    shapes = {size for image in images for size in detector.input_sizes(image.height, image.width)}
    compiled = detector.backend.first_runs
    new = sum((detector.batch_size, 3, *size) not in (compiled or ()) for size in shapes)
    many = "; with a larger eval_config.pad or keep_res false there are fewer sizes" if new > 30 else ""
    which = "one compilation for each size" if new == len(shapes) else f"{new} of them to compile"
    LOG.info("%d images at their own resolution: %d input sizes%s", len(images), len(shapes),
             f", {which}{many}" if compiled is not None else "")
