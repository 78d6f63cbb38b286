"""Check that this host prepares training images fast enough for its devices.

python -m benchmarks.feed_rate --devices 8 --mindrecord_dir SHARDS
python -m benchmarks.feed_rate --devices 8 --data_dir COCO        converts some of its images first

Exit status: 0 fast enough, 1 too slow, 2 wrong usage.
"""
from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from centernet.config.load import Config, load_config
from centernet.device import prepare_environment
from centernet.errors import UserError, reports_errors

PREFIX = Config().mindrecord_prefix
CONVERTED = 256   # number of images of --data_dir to convert
DECODED = 128     # images for the measurement of decoding alone; they are in memory


def count_steps(steps: Iterator[int], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return images/s of an iterator that yields numbers of images, measured for at least `seconds`.

    The first item is not counted, because pipelines start slowly.
    """
    next(steps)
    start, images = clock(), 0
    while (passed := clock() - start) < seconds:
        images += next(steps)
    return images / passed


def batches(config: Config, workers: int) -> Iterator[int]:
    """Run epochs of the training pipeline and yield the number of images of each batch."""
    from centernet.data.pipeline import open_training_data

    batch = config.train_config.batch_size
    data = open_training_data(config.mindrecord_dir, config.mindrecord_prefix, config.dataset_config, batch, 1,
                              num_workers=workers, verify=False)
    data.steps_per_epoch()
    epoch = 0
    while True:
        for _ in data.epoch(epoch):
            yield batch
        epoch += 1


def decode_rate(config: Config, workers: int, seconds: float) -> float:
    """Return images/s of decoding alone, in threads, for files in memory."""
    import mindspore.dataset as ds

    from centernet.data.image_file import decode
    from centernet.data.mindrecord import open_shards

    shards = open_shards(Path(config.mindrecord_dir), config.mindrecord_prefix, config.dataset_config.coco_classes,
                         config.dataset_config.num_classes, verify=False)
    rows = ds.MindDataset(list(shards.files), ["image"], shuffle=False, num_samples=min(DECODED, shards.num_images))
    files = [row[0].tobytes() for row in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]

    def rounds() -> Iterator[int]:
        with ThreadPoolExecutor(workers) as pool:
            while True:
                yield sum(1 for _ in pool.map(decode, files))
    return count_steps(rounds(), seconds)


def feed_together(config: Config, processes: int, workers: int, seconds: float) -> float:
    """Return the total images/s of one process for each device, all at the same time."""
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        child = context.Process(target=_feed, args=(theirs, config, workers, seconds), daemon=True)
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    try:
        for pipe in pipes:
            pipe.recv()  # the child's pipeline runs
        for pipe in pipes:
            pipe.send(True)
        return sum(pipe.recv() for pipe in pipes)
    except EOFError as error:
        raise UserError("a process that prepared images was killed. Is there too little memory?") from error
    finally:
        for child in children:
            child.kill()
            child.join()


def _feed(pipe: Connection, config: Config, workers: int, seconds: float) -> None:
    _prepare()
    steps = batches(config, workers)
    next(steps)
    pipe.send(True)
    pipe.recv()
    pipe.send(count_steps(steps, seconds))
    pipe.recv()  # wait until it is killed: a process that ends early would leave its cores to the others


def verdict(rate: float, devices: int, wanted: float, cores: int) -> tuple[bool, str]:
    """Return whether the images/s are enough for devices that need `wanted` each, and advice as text."""
    needed = devices * wanted
    have = f"{rate:.0f} images/s from {cores} cores; {devices} device(s) need {needed:.0f} ({wanted:g} each)"
    if rate >= needed:
        return True, f"yes: {have}. This is {rate / needed:.1f} times the required rate."
    fed, missing = int(rate // wanted), math.ceil(needed / (rate / cores))
    return False, (f"no: {have}. This is enough for {fed} of them; the others would wait. All devices need about "
                   f"{missing} such cores. Or: keep dataset_config.heatmap_on_device true; store smaller images (long "
                   "side 640); end other jobs on this host; train on fewer devices of it.")


def measure_host(config: Config, devices: int, wanted: float, seconds: float) -> bool:
    """Print the tables and the result. Return whether this host is fast enough."""
    cores = len(os.sched_getaffinity(0))
    counts = sorted({2 ** power for power in range(cores.bit_length()) if 2 ** power <= cores} | {cores})
    print("threads  decode only  pipeline of one process (images/s)", flush=True)
    for workers in counts:
        bare, whole = decode_rate(config, workers, seconds), count_steps(batches(config, workers), seconds)
        print(f"{workers:7d} {bare:12.0f} {whole:9.0f}", flush=True)
    processes = min(devices, cores)
    workers = max(1, cores // devices)
    print(f"{processes} process(es) with {workers} thread(s) each, together ...", flush=True)
    rate = feed_together(config, processes, workers, seconds)
    fits, words = verdict(rate, devices, wanted, cores)
    print(f"{rate:.0f} images/s, {rate / cores:.0f} per core\n{words}")
    return fits


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Raise UserError for invalid values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, required=True, help="devices of this host that train")
    parser.add_argument("--mindrecord_dir", default="", help="shards of src/dataset.py")
    parser.add_argument("--mindrecord_prefix", default=PREFIX, help="default %(default)s")
    parser.add_argument("--data_dir", default="", help="data set in COCO's layout, instead of shards")
    parser.add_argument("--rate", type=float, default=75.0,  # docs/scaling.md: ResNet-50 on an Ascend 910
                        help="images/s that a device needs (default %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="batch size (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0,
                        help="length of each measurement (default %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.devices < 1 or arguments.batch < 1 or not arguments.rate > 0 or not arguments.seconds > 0:
        raise UserError("--devices and --batch must be at least 1, --rate and --seconds above 0")
    if bool(arguments.mindrecord_dir) == bool(arguments.data_dir):
        raise UserError("give either shards with --mindrecord_dir or a data set in COCO's layout with --data_dir")
    return arguments


def _prepare() -> None:
    """Prepare this process as the commands do: MindSpore's environment, and no threads of OpenCV."""
    prepare_environment()
    import cv2

    cv2.setNumThreads(0)


def _convert(data_dir: str, folder: Path) -> None:
    from centernet.data.coco import locate, read_coco
    from centernet.data.convert import convert

    dataset = read_coco(*locate(data_dir, "train"))
    with_boxes = tuple(image for image in dataset.images if len(image.boxes))[:CONVERTED]
    print(f"converting {len(with_boxes)} images of {data_dir} ...", flush=True)
    convert(replace(dataset, images=with_boxes), folder, PREFIX, 1)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Measure this host and return the exit status: 0 fast enough, 1 too slow, 2 a UserError."""
    arguments = parse(argv)
    _prepare()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.data_dir:
            _convert(arguments.data_dir, Path(temporary))
        config = load_config("train", [
            "--mindrecord_dir", arguments.mindrecord_dir or temporary, "--mindrecord_prefix",
            arguments.mindrecord_prefix, "--train_config.batch_size", str(arguments.batch)], "")
        return 0 if measure_host(config, arguments.devices, arguments.rate, arguments.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
