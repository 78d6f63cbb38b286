"""Conversion of a COCO-format data set to MindRecord shards."""
from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.mindrecord import FileWriter
from mindspore.mindrecord.common.exceptions import MindRecordException
from tqdm import tqdm

from centernet.config.schema import DatasetConfig
from centernet.data.coco import CocoDataset, CocoImage
from centernet.data.defects import Report
from centernet.data.image_file import decode_whole, foreign_format, is_cut, is_dark
from centernet.data.image_size import MAX_SIDE, ImageTooLarge
from centernet.data.info_file import info_path
from centernet.data.mindrecord import SCHEMA, describe_files, digest, first_message, shard_files
from centernet.data.orientation import DARK, STORED, in_frame
from centernet.data.summary import Summary
from centernet.errors import UserError
from centernet.files import replacing, require_space, temporary
from centernet.interrupt import stop_if_interrupted
from centernet.owner import OWNER, owned

LOG = logging.getLogger("centernet")

CHUNK = 64               # images that are read and written together; this many are in memory at a time
LARGEST_IMAGE = 1 << 27  # bytes; a page of MindRecord can hold twice as much
USUAL_PAGE = 1 << 23     # bytes; larger pages waste time: a shard's last pages are mostly empty, but hashed and copied
SMALL_SHARD = 1 << 32    # bytes; smaller shards do not need the default header of 16 MB
LOG_SECONDS = 10
MAX_OBJS = DatasetConfig().max_objs
# Two conversions can run in one process. The second one must not restore the stderr that the first one replaced.
STDERR_LOCK = threading.Lock()


def convert(dataset: CocoDataset, folder: Path, prefix: str, shard_num: int = 8, *, keep_empty: bool = False,
            strict: bool = False) -> Summary:
    """Write a data set as shards PREFIX0.. with PREFIX.info.json into `folder`.

    All files are first written and checked in a hidden folder inside `folder`. Until then, an earlier data set with
    the same prefix stays valid. Training refuses every state in between.

    Raises:
        UserError: there is nothing to write, strict is set and there is a defect, or the folder is not writable.
    """
    _check_arguments(prefix, shard_num)
    report = copy.deepcopy(dataset.report)
    report.require_none(str(dataset.annotation_file), strict, ", nothing was written")
    with _hidden_folder(folder, prefix) as part:
        summary = _write(dataset, _Writer(part, prefix, shard_num, dataset), keep_empty, report)
        report.require_none(str(dataset.annotation_file), strict, ", nothing was written")
        rows = _verify_rows(part, prefix, summary)
        _replace(part, folder, prefix, _info(dataset, part, prefix, summary, rows))
    return summary


@contextmanager
def _hidden_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """Give an empty hidden folder for the shards, which is removed at the end. Errors of writing become UserErrors."""
    part = folder / f".{prefix}.unfinished"
    with owned(folder, "--mindrecord_dir", f".{prefix}{OWNER}"):
        try:
            shutil.rmtree(part, ignore_errors=True)  # an interrupted conversion left it
            part.mkdir(parents=True)
            with temporary(part):
                yield part
        except (OSError, RuntimeError, MindRecordException) as error:  # MindSpore raises the last two
            reason = str(error) if isinstance(error, OSError) else first_message(error)
            raise UserError(f"--mindrecord_dir {folder}: cannot write the shards: {reason}. Is the disk full, or the "
                            "folder not writable?") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _check_arguments(prefix: str, shard_num: int) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", prefix):
        raise UserError(f"--mindrecord_prefix '{prefix}' is not allowed, because it is part of a file name: use only "
                        "letters, digits, '.', '_' and '-'")
    if not 1 <= shard_num <= 1000:
        raise UserError(f"--shard_num {shard_num} is not allowed: use 1 to 1000")


def _page_size(sizes: list[int], shard_num: int) -> int:
    """Return the page size in bytes, a power of two.

    A page holds the data of one shard, but at most USUAL_PAGE. It is at least twice the size of the largest image.
    """
    wanted = max(2 * min(max(sizes, default=0), LARGEST_IMAGE), min(sum(sizes) // shard_num, USUAL_PAGE), 1 << 18)
    return 1 << (wanted - 1).bit_length()


class _Writer:
    """A FileWriter with a suitable page size. Its shards are numbered from 0 and hold equal numbers of rows."""

    def __init__(self, folder: Path, prefix: str, shard_num: int, dataset: CocoDataset):
        # FileWriter adds no number to the name of a single shard.
        self.writer = FileWriter(str(folder / (prefix if shard_num > 1 else f"{prefix}0")), shard_num)
        sizes = [image.path.stat().st_size for image in dataset.images]
        require_space(folder, sum(sizes), f"--mindrecord_dir {folder.parent}: the shards")
        self.writer.set_page_size(_page_size(sizes, shard_num))
        if sum(sizes) < shard_num * SMALL_SHARD:
            self.writer.set_header_size(1 << 20)
        self.writer.add_schema(SCHEMA, "images and boxes of a detection data set")
        # FileWriter distributes the rows of each call evenly, and the remaining rows to random shards.
        self.chunk = shard_num * max(1, CHUNK // shard_num)
        self.rows: list[dict[str, Any]] = []

    def add(self, image: CocoImage, data: bytes) -> None:
        """Add one row; rows are written in chunks."""
        self.rows.append({"img_id": np.array([image.id], np.int32), "image": data, "num_objects": len(image.boxes),
                          "bboxes": image.boxes,
                          "category_id": np.where(image.ignored, ~image.classes, image.classes + np.int32(1))})
        if len(self.rows) == self.chunk:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were added since the last write."""
        if self.rows:
            self.writer.write_raw_data(self.rows)
        self.rows = []

    def finish(self) -> None:
        """Write the remaining rows and the index files."""
        self.flush()
        self.writer.commit()


def _write(dataset: CocoDataset, target: _Writer, keep_empty: bool, report: Report) -> Summary:
    counts = np.zeros((2, len(dataset.categories)), np.int64)
    image_ids: list[int] = []
    regions, box_counts = 0, Counter[int]()
    digests: list[tuple[int, bytes]] = []
    wanted = [image for image in dataset.images if keep_empty or len(image.boxes)]
    for image, data in _read_images(wanted, report):
        target.add(image, data)
        image_ids.append(image.id)
        _note_boxes(image, report)
        classes = np.where(image.ignored, ~image.classes, image.classes)
        digests.append((image.id, digest(image.id, data, image.boxes, classes)))
        regions += int(image.ignored.sum())
        box_counts[len(image.boxes)] += 1
        objects = image.classes[~image.ignored]
        np.add.at(counts[0], objects, 1)
        counts[1][np.unique(objects)] += 1
    if not image_ids or not counts.any():
        lines = "\n".join(report.lines())
        raise UserError(f"{dataset.annotation_file} with images in {dataset.image_dir}: no image with a box is left to "
                        f"write ({len(dataset.images)} images found, {len(dataset.images) - len(wanted)} without boxes)"
                        f"{f'. Defects:{chr(10)}{lines}' if lines else '.'}")
    target.finish()
    return Summary(tuple(image_ids), tuple(counts[0].tolist()), tuple(counts[1].tolist()), regions,
                   dict(sorted(box_counts.items())), len(dataset.images) - len(wanted), dataset.categories, report,
                   hashlib.sha256(b"".join(value for _, value in sorted(digests))).hexdigest())


def _note_boxes(image: CocoImage, report: Report) -> None:
    if len(image.boxes) > MAX_OBJS:
        report.notes.add(f"image with more than {MAX_OBJS} boxes: train with a larger dataset_config.max_objs, or the "
                         "other boxes count as background", f"id {image.id}: {len(image.boxes)} boxes")


def _read_images(images: list[CocoImage], report: Report) -> Iterator[tuple[CocoImage, bytes]]:
    """Yield the decodable images in order, with the bytes of their files. Threads read and decode them in chunks."""
    start = last = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=len(images), unit="img", disable=None) as bar:
        for first in range(0, len(images), CHUNK):
            stop_if_interrupted()
            chunk = images[first:first + CHUNK]
            # The previous chunk is not written at the same time: FileWriter holds Python's global lock while writing.
            with _without_stderr():
                read = list(pool.map(_read_image, chunk))
            for image, (data, defect, note) in zip(chunk, read):
                if note:
                    (report.defects if note == DARK else report.notes).add(note, f"id {image.id}: {image.file_name}")
                if defect:
                    report.defects.add(defect, f"id {image.id}: {image.file_name}")
                else:
                    yield image, data
            bar.update(len(chunk))
            now, done = time.monotonic(), first + len(chunk)
            if bar.disable and now - last > LOG_SECONDS:
                LOG.info("converted %d of %d images, %.0f images/s", done, len(images), done / (now - start))
                last = now


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard the process's output to stderr: libjpeg and libpng print warnings there without the file's name."""
    with STDERR_LOCK, open(os.devnull, "wb") as nowhere:
        stderr = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _read_image(image: CocoImage) -> tuple[bytes, str, str]:
    """Return the bytes of an image file, their defect and a note ("" for none). It uses the decoder of training."""
    try:
        if image.path.stat().st_size > LARGEST_IMAGE:
            return b"", f"image file of more than {LARGEST_IMAGE >> 20} MB", ""
        data = image.path.read_bytes()
    except OSError as error:
        return b"", f"image file not readable ({error.strerror})", ""
    if is_cut(data):
        return b"", "image file cut off or damaged", ""
    try:
        pixels = decode_whole(data)
    except ImageTooLarge:
        return b"", f"image file of more than max_image_pixels, or with a side above {MAX_SIDE} pixels", ""
    if pixels is None:
        name = foreign_format(data)
        return b"", (f"image file in the format {name}, which is not supported: convert it to JPEG or PNG" if name else
                     "image file that is not an image, or damaged"), ""
    data, fitting = in_frame(data, pixels, image.width, image.height)
    if fitting.shape[:2] != (image.height, image.width):
        return b"", "image of another size than its entry says (rotated by EXIF?)", ""
    return data, "", STORED if fitting is not pixels else DARK if is_dark(data) else ""


def _verify_rows(part: Path, prefix: str, summary: Summary) -> list[int]:
    """Read the shards again to check them: FileWriter omits rows that it does not accept, with only a warning.

    Returns the image ids in the order of the rows.
    """
    files = [str(path) for path in shard_files(part, prefix)]
    rows = ds.MindDataset(files, ["img_id", "num_objects"], shuffle=False).batch(1024)
    image_ids: list[int] = []
    boxes = 0
    for batch in rows.create_dict_iterator(num_epochs=1, output_numpy=True):
        stop_if_interrupted()
        image_ids += batch["img_id"].ravel().tolist()
        boxes += int(batch["num_objects"].sum())
    if sorted(image_ids) != sorted(summary.image_ids) or boxes != sum(summary.boxes) + summary.regions:
        raise UserError(f"the shards contain only {len(image_ids)} of {len(summary.image_ids)} images: MindSpore did "
                        "not write all of them. Is the disk full?")
    return image_ids


def _info(dataset: CocoDataset, part: Path, prefix: str, summary: Summary, rows: list[int]) -> dict[str, Any]:
    shards = shard_files(part, prefix)
    files = [file for shard in shards for file in (shard, shard.with_name(shard.name + ".db"))]
    return {"complete": True, "categories": dataset.categories.to_json(), "images": len(rows),
            "objects": sum(summary.boxes), "regions": summary.regions, "box_counts": summary.box_counts,
            "files": describe_files(files),
            "source": {"annotation_file": str(dataset.annotation_file.resolve()),
                       "image_dir": str(dataset.image_dir.resolve())},
            "content": summary.content, "defects": summary.defects.counts, "image_ids": rows}


def _replace(part: Path, folder: Path, prefix: str, info: dict[str, Any]) -> None:
    """Move the shards to their folder. The info file marks them as incomplete until the last one is moved."""
    _write_info(info_path(folder, prefix), {"complete": False})
    # os.replace would also work without this. But some file systems flush a file to disk before it replaces another.
    for old in shard_files(folder, prefix):
        for file in (old, old.with_name(old.name + ".db")):
            file.unlink(missing_ok=True)
    names = {row["name"] for row in info["files"]}
    mode = info_path(folder, prefix).stat().st_mode  # FileWriter ignores the umask: its files are readable by the owner
    for name in sorted(names):
        os.chmod(part / name, mode)
        os.replace(part / name, folder / name)
    _write_info(info_path(folder, prefix), info)


def _write_info(path: Path, document: dict[str, Any]) -> None:
    """Write an info file completely or not at all."""
    # One line for each key. json's indent would write each image id on its own line.
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    with replacing(path) as draft:
        draft.write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")
