"""Conversion of COCO to MindRecord: speed compared with a copy of the image files, and memory per image."""
from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.measure import Options, PeakMemory, Row, median, median_ratio, paired
from centernet.files import read_json

IMAGES = 2000               # in the comparison with cp: the images of the data set, repeated
FEW, MANY = 2_000, 20_000   # images in the memory measurement
BOXES = 7                   # boxes of each image, as the mean of COCO
COCO_IMAGES = 118_287       # images of train2017
SHARDS = 8


@dataclass(frozen=True)
class Memory:
    """Resident MiB of a converting process."""

    start: float        # after the import of MindSpore
    annotations: float  # peak while annotations are read
    read: float         # after the annotations are read
    convert: float      # peak while shards are written


def measure(options: Options) -> list[Row]:
    """Return rows about speed, the limits of the speed, and memory."""
    return [*_speed(options), *_memory(options.work)]


def _speed(options: Options) -> list[Row]:
    from centernet.data.coco import locate, read_coco
    from centernet.data.convert import convert

    source = _multiply(*locate(str(options.data_dir), "train"), options.work / "many")
    images, out = source[1], options.work / "out"
    contents = [(path.stem, path.read_bytes()) for path in sorted(images.iterdir())]
    count, mib = len(contents), sum(len(data) for _, data in contents) / 2**20
    dataset, copy = read_coco(*source), [shutil.which("cp") or "cp", "-r", str(images), str(out)]
    seconds = paired({"cp": lambda: subprocess.run(copy, check=True),
                      "convert": lambda: convert(read_coco(*source), out, "mind", SHARDS),
                      "images": lambda: convert(dataset, out, "mind", SHARDS),
                      "decode": lambda: _decode_only(contents),
                      "writer": lambda: _write_only(contents, out)},
                     options.repeats, before=lambda: _clear(out))
    rows = []
    for name, what, note in (
            ("cp", "copy of the image files with cp", f"{count} images, {mib:.0f} MiB, all in the page cache; its time "
             "is spent in the kernel for memory, which differs much between virtual machines"),
            ("convert", "conversion", "reads annotations with outlines, decodes every image, writes shards and index, "
                                      "reads the rows again, SHA-256 of all files"),
            ("images", "conversion without reading annotations", ""),
            ("decode", "only decoding of the images", f"images in memory, {os.cpu_count()} threads"),
            ("writer", "only MindSpore's FileWriter", "images in memory: the limit of any conversion")):
        target = ">= 0.8 of cp" if name == "convert" else ""
        ratio = 1 / median_ratio(seconds, name, "cp")
        rows.append(Row(what, count / median(seconds[name]), "images/s", None if name == "cp" else ratio, "cp", target,
                        ratio >= 0.8 if target else None, note))
    return rows


def _clear(folder: Path) -> None:
    """Remove the files of the function before, and wait until the disk has finished."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()


def _multiply(annotation_file: Path, image_dir: Path, folder: Path) -> tuple[Path, Path]:
    """Build a data set of at least IMAGES images: repeat the given one, each time with new files and ids."""
    document = read_json(annotation_file)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True)
    new_ids = {row["id"]: number for number, row in enumerate(document["images"])}
    for copy in range(-(-IMAGES // len(new_ids))):
        for row in document["images"]:
            image_id = copy * len(new_ids) + new_ids[row["id"]]
            name = f"{image_id:06d}{Path(row['file_name']).suffix}"
            shutil.copyfile(image_dir / row["file_name"], folder / "images" / name)
            images.append({**row, "id": image_id, "file_name": name})
        annotations += [{**row, "id": len(annotations) + number, "image_id": copy * len(new_ids) + new_ids[
            row["image_id"]]} for number, row in enumerate(document["annotations"])]
    path = folder / "annotations.json"
    path.write_text(json.dumps({**document, "images": images, "annotations": annotations}), encoding="utf-8")
    return path, folder / "images"


def _decode_only(contents: list[tuple[str, bytes]]) -> None:
    from centernet.data.image_file import decode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda content: decode(content[1]) is None, contents):
            pass


def _write_only(contents: list[tuple[str, bytes]], out: Path) -> None:
    from mindspore.mindrecord import FileWriter

    from centernet.data.mindrecord import SCHEMA

    out.mkdir()
    writer = FileWriter(str(out / "mind"), SHARDS)
    writer.set_page_size(1 << 23)
    writer.set_header_size(1 << 20)
    writer.add_schema(SCHEMA, "images and boxes")
    boxes, classes = np.ones((BOXES, 4), np.float32), np.ones(BOXES, np.int32)
    for first in range(0, len(contents), 64):
        writer.write_raw_data([{"img_id": np.array([int(name)], np.int32), "image": data, "num_objects": BOXES,
                                "bboxes": boxes, "category_id": classes} for name, data in contents[first:first + 64]])
    writer.commit()


def _memory(work: Path) -> list[Row]:
    found = {}
    for count in (FEW, MANY):
        print(f"    memory of converting {count} images ...", flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found[count] = pool.submit(_watch_conversion, work / f"synthetic{count}", count).result()
    few, many = found[FEW], found[MANY]
    per_image = (many.annotations - few.annotations) / (MANY - FEW)
    kept = (many.read - few.read) / (MANY - FEW)
    coco = many.annotations + per_image * (COCO_IMAGES - MANY)
    return [
        *(Row(f"peak memory while shards are written, {count} images", found[count].convert, "MiB",
              note=f"{found[count].convert - found[count].read:.0f} MiB more than after reading the annotations")
          for count in found),
        *(Row(f"peak memory while annotations are read, {count} images", found[count].annotations, "MiB",
              note=f"{BOXES} boxes per image with outlines; includes {found[count].start:.0f} MiB for the program")
          for count in found),
        Row(f"the same for COCO's {COCO_IMAGES} images, extrapolated", coco, "MiB",
            note=f"{per_image * 1024:.1f} KiB per image while reading, {kept * 1024:.1f} KiB afterwards"),
    ]


def _watch_conversion(folder: Path, count: int) -> Memory:
    import mindspore.mindrecord  # noqa: F401  (its memory counts for the program, not for the conversion)

    from centernet.data.coco import read_coco
    from centernet.data.convert import convert

    _synthesize(folder, count)
    with PeakMemory() as start:
        pass
    with PeakMemory() as annotations:
        dataset = read_coco(folder / "annotations.json", folder / "images")
    with PeakMemory() as read:
        pass
    with PeakMemory() as written:
        convert(dataset, folder / "out", "mind", SHARDS)
    shutil.rmtree(folder)
    return Memory(start.mib, annotations.mib, read.mib, written.mib)


def _synthesize(folder: Path, count: int) -> None:
    """Write one JPEG under many names, and annotations as long as those of COCO, line by line."""
    (folder / "images").mkdir(parents=True)
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8), (9, 9), 4)
    cv2.imwrite(str(folder / "one.jpg"), pixels)
    outline = np.random.default_rng(1).uniform(0, 480, 50).round(2).tolist()
    with open(folder / "annotations.json", "w", encoding="utf-8") as file:
        file.write('{"categories": [{"id": 1, "name": "thing"}], "images": [')
        for number in range(count):
            name = f"{number:012d}.jpg"
            os.link(folder / "one.jpg", folder / "images" / name)
            row = {"id": number, "file_name": name, "height": 480, "width": 640, "license": 4,
                   "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                   "date_captured": "2013-11-14 11:18:45",
                   "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg"}
            file.write(", " * (number > 0) + json.dumps(row))
        file.write('], "annotations": [')
        for number in range(count * BOXES):
            row = {"id": number, "image_id": number // BOXES, "category_id": 1, "iscrowd": 0, "area": 702.1,
                   "bbox": [10.5 + number % 300, 20.25, 99.9, 120.4], "segmentation": [outline]}
            file.write(", " * (number > 0) + json.dumps(row))
        file.write("]}")
