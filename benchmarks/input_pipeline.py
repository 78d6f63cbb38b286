"""Input pipeline of training, compared with decoding alone of the same images with the same number of threads.

python -m benchmarks.run input_pipeline --data_dir COCO
"""
from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from benchmarks.measure import Options, PeakMemory, Row, median, median_ratio, paired
from centernet.config.load import load_config
from centernet.config.schema import DatasetConfig
from centernet.data import pipeline
from centernet.data.coco import CocoDataset, locate, read_coco
from centernet.data.convert import convert
from centernet.data.image_file import decode
from centernet.data.pipeline import TrainingData, open_training_data

IMAGES = 480    # images of an epoch; a smaller data set is repeated with new image ids
BATCH_SIZE = 16
THREADS = (1, 2)
WARM_UP = 4     # number of batches until all queues are full
# Functions that data.pipeline calls; the rest of make_sample is "other".
STAGES = {"decode": "decode", "draw_view": "random view", "warp": "warp", "draw_colors": "colour jitter",
          "to_output_boxes": "boxes", "encode": "targets", "draw_heatmap": "heatmap (host only)"}
TARGETS = {"device": 280, "host": 130, "strong": 280}  # images/s with two threads
# Settings of strong augmentation, with device heatmaps and THREADS[-1] threads.
ONE_IMAGE = {"scale_range": (0.1, 2.0), "aspect": 0.4, "hue": 18.0, "min_visible": 0.1}
STRONG: dict[str, dict[str, Any]] = {
    "strong": ONE_IMAGE, "mosaic": {**ONE_IMAGE, "mosaic": 1.0}, "mixup": {**ONE_IMAGE, "mixup": 1.0}}
MEMORY_TARGET = 1024                    # MiB


def measure(options: Options) -> list[Row]:
    """Return rows about decoding alone, the pipeline, waiting times of a slow reader, memory, and each stage."""
    cv2.setNumThreads(0)  # as train.py does
    data = load_config("train", [], "").dataset_config
    host = dataclasses.replace(data, heatmap_on_device=False)
    images = repeat_images(read_coco(*locate(str(options.data_dir), "train")))
    convert(images, options.work, "coco", shard_num=8, keep_empty=True)
    rows = [memory_row(name, open_shards(options.work, settings, THREADS[-1]))
            for name, settings in (("device", data), ("host", host))]  # before the files are in memory
    files = [image.path.read_bytes() for image in images.images]
    functions: dict[str, Callable[[], object]] = {
        f"decode {threads}": partial(decode_all, files, threads) for threads in THREADS}
    for threads in THREADS:
        for name, settings in (("device", data), ("host", host)):
            functions[f"{name} {threads}"] = partial(run_epoch, open_shards(options.work, settings, threads))
    for name, changes in STRONG.items():
        training = open_shards(options.work, dataclasses.replace(data, **changes), THREADS[-1])
        functions[f"{name} {THREADS[-1]}"] = partial(run_epoch, training)
    seconds = paired(functions, options.repeats)
    rates = [rate_row(name, threads, seconds) for threads in THREADS for name in ("decode", "device", "host")]
    rates += [strong_row(name, seconds) for name in STRONG]
    rows = rates + [overlap_row(open_shards(options.work, data, THREADS[-1]))] + rows
    return rows + stage_rows(open_shards(options.work, host, 1))


def repeat_images(dataset: CocoDataset) -> CocoDataset:
    """Return IMAGES images with the ids 1, 2, ..."""
    chosen = [dataset.images[k % len(dataset.images)] for k in range(IMAGES)]
    return dataclasses.replace(dataset, images=tuple(dataclasses.replace(image, id=k) for k, image
                                                     in enumerate(chosen, 1)))


def open_shards(folder: Path, data: DatasetConfig, threads: int) -> TrainingData:
    """Open the shards of measure() as train.py does."""
    return open_training_data(str(folder), "coco", data, BATCH_SIZE, seed=1, num_workers=threads)


def decode_all(files: list[bytes], threads: int) -> None:
    """Decode files in threads and discard the pixels."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode, files):
            pass


def run_epoch(training: TrainingData) -> None:
    """Read an epoch as fast as possible."""
    for _ in training.epoch(0):
        pass


def rate_row(name: str, threads: int, seconds: dict[str, list[float]]) -> Row:
    """Return a row about images per second of decoding alone or of the pipeline."""
    rate = IMAGES / median(seconds[f"{name} {threads}"])
    noun = f"{threads} thread{'s' * (threads > 1)}"
    if name == "decode":
        return Row(f"decoding alone, {noun}", rate, "images/s")
    target = TARGETS[name] if threads == THREADS[-1] else None
    return Row(f"pipeline, {name} heatmaps, {noun}", rate, "images/s",
               1 / median_ratio(seconds, f"{name} {threads}", f"decode {threads}"), f"decoding alone, {noun}",
               f">= {target} images/s" if target else "", rate >= target if target else None)


def strong_row(name: str, seconds: dict[str, list[float]]) -> Row:
    """Return a row about images per second with strong augmentation, compared with the paper's."""
    rate, target = IMAGES / median(seconds[f"{name} {THREADS[-1]}"]), TARGETS.get(name)
    return Row(f"pipeline, {name} augmentation of each image" if target else f"pipeline, each image with {name}", rate,
               "images/s", 1 / median_ratio(seconds, f"{name} {THREADS[-1]}", f"device {THREADS[-1]}"),
               "the paper's augmentation", f">= {target} images/s" if target else "",
               rate >= target if target else None)


def memory_row(name: str, training: TrainingData) -> Row:
    """Return a row about the peak resident memory during an epoch."""
    with PeakMemory() as memory:
        run_epoch(training)
    return Row(f"resident memory, {name} heatmaps", memory.mib, "MiB", target=f"< {MEMORY_TARGET} MiB",
               met=memory.mib < MEMORY_TARGET, note="of the process, Python and MindSpore included")


def overlap_row(training: TrainingData) -> Row:
    """Return a row about the waiting time of a reader that is about as slow as the pipeline, like an accelerator."""
    batch_seconds = steady_seconds(training, 0.0)
    waited = steady_seconds(training, 1.25 * batch_seconds)
    return Row("waiting for a batch, with steps of 1.25 x its time", 1000 * waited, "ms", waited / batch_seconds,
               "a batch of the pipeline alone", note="0: the pipeline works during the step")


def steady_seconds(training: TrainingData, step: float) -> float:
    """Return the mean waiting time for a batch in seconds, without the first WARM_UP; a step takes `step` seconds."""
    waits, start = [], time.perf_counter()
    for _ in training.epoch(0):
        waits.append(time.perf_counter() - start)
        time.sleep(step)
        start = time.perf_counter()
    return float(np.mean(waits[WARM_UP:]))


def stage_rows(training: TrainingData) -> list[Row]:
    """Return rows about CPU milliseconds per image of each stage, during an epoch with one thread."""
    seconds: dict[str, float] = defaultdict(float)
    with timed(seconds, [*STAGES, "make_sample"]):
        start = time.process_time()
        run_epoch(training)
        total = time.process_time() - start
    drawing = seconds["draw_heatmap"]
    rest = {"other in Python": seconds["make_sample"] - sum(seconds[name] for name in STAGES) + drawing,
            "reading, batching, copying": total - seconds["make_sample"] - drawing}
    spent = {**{stage: seconds[name] for name, stage in STAGES.items()}, **rest}
    return [Row(f"CPU time of an image: {stage}", 1000 * value / IMAGES, "ms", value / seconds["decode"], "decode")
            for stage, value in spent.items()]


@contextlib.contextmanager
def timed(seconds: dict[str, float], names: list[str]) -> Iterator[None]:
    """Sum the CPU seconds of functions of data.pipeline by name. Each must run in only one thread."""
    def wrapped(name: str, function: Callable) -> Callable:
        def run(*arguments):
            start = time.thread_time()
            result = function(*arguments)
            seconds[name] += time.thread_time() - start
            return result
        return run

    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(pipeline, name, wrapped(name, getattr(pipeline, name))))
        yield
