"""Evaluation with a ResNet-50 on the CPU as in eval.py, compared with inference alone on the same images.

python -m benchmarks.run evaluation --data_dir COCO
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import mindspore as ms
import numpy as np

from benchmarks.measure import Options, Row, median, median_ratio, paired
from centernet.categories import Categories
from centernet.config.load import PRESETS, load_config
from centernet.config.schema import Config, EvalConfig
from centernet.data.coco import CocoDataset, locate, read_coco
from centernet.data.image_file import read_image
from centernet.detection.detector import Backend, Detector
from centernet.detection.postprocess import merge, to_coco_results, to_image_boxes, write_results
from centernet.detection.transform import prepare_image
from centernet.device import set_up_device
from centernet.errors import UserError
from centernet.evaluation.dataset import detect_dataset
from centernet.evaluation.metrics import evaluate_results
from centernet.models.centernet import build_centernet
from centernet.open_model import to_onnxruntime
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.maps import MapsBackend
from centernet.spec import configured_spec

ROUNDS = 2           # largest number of complete evaluations
SIZE = (512, 512)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
OWN_RESOLUTION_IMAGES = 20
MULTI_SCALE_IMAGES = 4
SHARE = 1.1          # target: time of the complete evaluation / time of inference alone
POST_PROCESSING = 1  # target, milliseconds per image


def measure(options: Options) -> list[Row]:
    """Return rows about complete evaluations (fixed and own resolution), each stage, and several scales with flip."""
    set_up_device("CPU", 0, seed=1)
    config = load_config("eval", ["--config_path", str(PRESETS / "resnet50_plain.yaml"), "--device_target", "CPU"], "")
    dataset = read_coco(*locate(str(options.data_dir), "val"))
    evaluation = dataclasses.replace(config.eval_config, keep_res=False)
    backend = open_backend(config, dataset.categories, False)
    rows: list[Row] = []
    few = dataclasses.replace(dataset, images=dataset.images[:OWN_RESOLUTION_IMAGES])
    own = dataclasses.replace(evaluation, keep_res=True)
    for name, part, settings in (("fixed 512 x 512", dataset, evaluation), ("own resolution", few, own)):
        rows += evaluation_rows(name, backend, part, settings, options)
    return rows + stage_rows(backend, dataset, evaluation, options) + [multi_scale_row(config, dataset)]


def open_backend(config: Config, categories: Categories, flip: bool) -> Backend:
    """Open a ResNet-50 with random weights and overlapping boxes, with the runtime of --backend auto."""
    network = build_centernet(config.net_config, len(categories)).set_train(False)
    bias = network.heads.wh[-1].bias
    bias.set_data(ms.Tensor(np.full(bias.shape, 12, np.float32)))
    spec = dataclasses.replace(configured_spec(config.dataset_config, config.net_config, categories), input_size=SIZE)
    rest = config.net_config, spec, config.eval_config.K, flip
    try:
        return MapsBackend(to_onnxruntime(network, config.net_config), *rest)
    except UserError:  # onnx or onnxruntime is missing
        return CheckpointBackend(network, *rest)


def evaluation_rows(name: str, backend: Backend, dataset: CocoDataset, evaluation: EvalConfig,
                    options: Options) -> list[Row]:
    """Compare eval.py, from the first image to the AP, with network and decoding alone on prepared inputs."""
    inputs = [prepared(image, backend, evaluation) for image in dataset.images]
    for shape in {x.shape for x in inputs}:
        backend(np.zeros(shape, np.float32))  # compile before the measurement

    def bare() -> None:
        for x in inputs:
            backend(x)

    seconds = paired({"whole": partial(evaluate, backend, dataset, evaluation, options), "bare": bare},
                     min(ROUNDS, options.repeats), 0)
    ratio = median_ratio(seconds, "whole", "bare")
    return [Row(f"{len(inputs)} images, {name}: network and decoding alone", median(seconds["bare"]), "s"),
            Row(f"{len(inputs)} images, {name}: evaluation", median(seconds["whole"]), "s", ratio,
                "network and decoding alone", f"<= {SHARE}", ratio <= SHARE,
                "reading, preparing, network, decoding, post-processing, result files, COCOeval")]


def prepared(image, backend: Backend, evaluation: EvalConfig) -> np.ndarray:
    """Return the network's input for an image, float32 (1,3,H,W)."""
    return prepare_image(read_image(image.path), backend.spec, keep_res=evaluation.keep_res,
                         pad=evaluation.pad)[0][None]


def evaluate(backend: Backend, dataset: CocoDataset, evaluation: EvalConfig, options: Options) -> None:
    """Evaluate as eval.py does, after its start and the reading of the annotations."""
    detections = detect_dataset(Detector(backend, evaluation), dataset)
    names = {image.id: image.file_name for image in dataset.images}
    results = write_results(options.work, "val", detections, names, dataset.categories)
    evaluate_results(dataset.annotations, results, dataset.categories, detections)


def stage_rows(backend: Backend, dataset: CocoDataset, evaluation: EvalConfig, options: Options) -> list[Row]:
    """Return milliseconds per image of each stage, measured one at a time."""
    images = dataset.images[:16]
    pixels = [read_image(image.path) for image in images]
    inputs = [prepare_image(image, backend.spec) for image in pixels]
    found = [(backend(x[None])[0], meta) for x, meta in inputs]
    boxes = [to_image_boxes(*pair) for pair in found]
    kept = {image.id: merge([rows], evaluation.K, True) for image, rows in zip(images, boxes)}
    results = [row for key, rows in kept.items() for row in to_coco_results(key, rows, dataset.categories)]
    stages: dict[str, Callable[[], object]] = {
        "reading": lambda: [read_image(image.path) for image in images],
        "preparing": lambda: [prepare_image(image, backend.spec) for image in pixels],
        "boxes in the image": lambda: [to_image_boxes(*pair) for pair in found],
        "soft-NMS and the best K": lambda: [merge([rows], evaluation.K, True) for rows in boxes],
        "COCO results": lambda: [to_coco_results(key, rows, dataset.categories) for key, rows in kept.items()],
        "COCOeval": lambda: evaluate_results(dataset.annotations, results, dataset.categories, kept)}
    seconds = paired(stages, max(options.repeats, 3))
    spent = {name: 1000 * median(values) / len(images) for name, values in seconds.items()}
    total = spent["boxes in the image"] + spent["soft-NMS and the best K"]
    return [*[Row(f"an image: {name}", value, "ms") for name, value in spent.items()],
            Row("an image: post-processing (boxes in the image, soft-NMS)", total, "ms",
                target=f"<= {POST_PROCESSING} ms", met=total <= POST_PROCESSING)]


def multi_scale_row(config: Config, dataset: CocoDataset) -> Row:
    """Return a row about detection at five scales with flip test and own resolution."""
    images = dataset.images[:MULTI_SCALE_IMAGES]
    plain = dataclasses.replace(config.eval_config, keep_res=True)
    several = dataclasses.replace(plain, multi_scales=SCALES, flip_test=True)
    few = dataclasses.replace(dataset, images=images)
    backends = [open_backend(config, dataset.categories, flip) for flip in (False, True)]
    seconds = paired({name: partial(detect_dataset, Detector(backend, settings), few) for name, backend, settings in (
        ("one scale", backends[0], plain), ("five scales", backends[1], several))}, 1, 0)
    return Row("an image at 5 scales (0.5 to 1.5) with flip", median(seconds["five scales"]) / len(images), "s",
               median_ratio(seconds, "five scales", "one scale"), "one scale without flip",
               note="the inputs have about 11 times as many pixels")
