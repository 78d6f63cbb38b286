"""MindRecord shards on disk: schema, info file, and checks before training.

A data set is PREFIX0 .. PREFIXn with an index file .db beside each, and PREFIX.info.json. The info file holds the
categories, counts, and the size and SHA-256 of every file, because MindRecord itself does not notice a changed byte.
The conversion writes it last. While shards are being replaced, it says that they are incomplete.
"""
from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np

from centernet.categories import Categories, categories_from_json, categories_from_names
from centernet.data.info_file import INFO, info_path, read_info
from centernet.data.verify import hash_files, verify_files
from centernet.data.wrong_folder import file_for_shards, no_shards
from centernet.errors import UserError, listed, printable
from centernet.files import is_file
from centernet.group import ALONE, Group
from centernet.program import command, convert_again

LOG = logging.getLogger("centernet")

# The model zoo's conversion writes the same layout.
SCHEMA = {
    "img_id": {"type": "int32", "shape": [1]},
    "image": {"type": "bytes"},                            # the image file, unchanged
    "num_objects": {"type": "int32"},                      # needed, because an empty (0, 4) array is read as shape ()
    "bboxes": {"type": "float32", "shape": [-1, 4]},       # x1, y1, x2, y2 in pixels
    "category_id": {"type": "int32", "shape": [-1]},       # class + 1; 0 is the background; negative: ignored region
}
FINGERPRINT = 32  # digits of the SHA-256 that are compared


@dataclass(frozen=True)
class Shards:
    """The shards of one data set, after the checks."""

    files: tuple[str, ...]
    categories: Categories
    rows: tuple[int, ...]  # row numbers in the order of their image ids (without an info file: in the shards' order)
    regions: int = 0       # ignored regions among the boxes
    box_counts: Mapping[int, int] = field(default_factory=dict)  # number of boxes -> images; {} if it is not known
    fingerprint: str = ""  # of all images and boxes; "": unknown

    @property
    def num_images(self) -> int:
        """Return the number of images in all shards."""
        return len(self.rows)


def shard_files(folder: Path, prefix: str) -> list[Path]:
    """Return the files PREFIX<number> of a folder in the order of their numbers, without the index files."""
    numbered = [(re.fullmatch(re.escape(prefix) + r"(\d+)", path.name), path) for path in folder.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


def describe_files(files: list[Path]) -> list[dict[str, Any]]:
    """Return name, size and SHA-256 of files, in the form of the info file. Threads read the complete files."""
    return [{"name": path.name, "size": path.stat().st_size, "sha256": found}
            for path, found in zip(files, hash_files(files))]


def open_shards(folder: Path, prefix: str, names: tuple[str, ...], num_classes: int, verify: bool = True,
                group: Group = ALONE) -> Shards:
    """Find the shards of a data set and check them against their info file.

    Args:
        folder, prefix: folder and file name prefix of the shards.
        names, num_classes: the categories of shards without an info file (those of the model zoo).
        verify: also compare the SHA-256 of every file, which reads all files once. Sizes are always compared.
        group: the processes that verify together, see verify_files. All of them must call this function.

    Raises:
        UserError: there are no shards, a conversion was interrupted, or files are missing or changed.
    """
    if is_file(folder):
        raise UserError(f"--mindrecord_dir {printable(folder)} {file_for_shards(folder)}")
    if not folder.is_dir():
        raise UserError(f"--mindrecord_dir {str(folder) or '(empty)'}: there is no such folder. Convert a data set "
                        f"first: {command('dataset')} --data DATA --out {str(folder) or 'SHARDS'}")
    path, regions = info_path(folder, prefix), 0
    box_counts: dict[int, int] = {}
    if path.exists():
        info = read_info(path)
        files, rows = _checked_files(folder, info, path), info["files"]
        categories, image_ids = categories_from_json(info["categories"], str(path)), info["image_ids"]
        regions, box_counts = _counts(info, path)
    else:
        info = {}
        files, rows = _files_without_info(folder, prefix), []
        categories, image_ids = _named_categories(names, num_classes), None
        LOG.warning("%s is missing: the shards are not checked, and the categories are dataset_config.coco_classes "
                    "(%d names)", path, len(names))
    if verify:  # also without an info file: another process may have one, and wait
        verify_files(folder, rows, path.name, convert_again(), group)
    count = _count_rows(files)
    if image_ids is not None and len(image_ids) != count:
        raise UserError(f"{folder}: the shards hold {count} images, but {path.name} lists {len(image_ids)}; "
                        f"{convert_again()}")
    # FileWriter distributes rows over the shards partly at random. Sorting by image id makes their order the same.
    rows = range(count) if image_ids is None else sorted(range(count), key=image_ids.__getitem__)
    fingerprint = _fingerprint(info, files if verify else [])
    return Shards(tuple(map(str, files)), categories, tuple(rows), regions, box_counts, fingerprint)


def digest(image_id: int, data: bytes, boxes: np.ndarray, classes: np.ndarray) -> bytes:
    """Return the SHA-256 of one image with its id, boxes (N, 4) and classes (N,). The conversion sums them up."""
    found = hashlib.sha256(f"{image_id} {len(data)} ".encode())
    for part in (data, boxes.astype("<f4").tobytes(), classes.astype("<i4").tobytes()):
        found.update(part)
    return found.digest()


def _fingerprint(info: dict[str, Any], files: list[Path]) -> str:
    """Return a checksum of a data set's content.

    That of the conversion does not depend on how the images are divided among shards. Without it, as in older info
    files, it is that of the files; without an info file they are read for it.
    """
    if isinstance(content := info.get("content"), str):
        return f"content {content[:FINGERPRINT]}"
    rows = info["files"] if info else describe_files(files)
    text = json.dumps(sorted([row["name"], row["sha256"]] for row in rows if not row["name"].endswith(".db")))
    return f"files {hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT]}" if rows else ""


def _counts(info: dict[str, Any], path: Path) -> tuple[int, dict[int, int]]:
    """Return the ignored regions, and the images by their number of boxes. Older info files have neither."""
    try:
        return int(info.get("regions", 0)), {int(boxes): int(images) for boxes, images in
                                             info.get("box_counts", {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: regions or box_counts have another form ({error}); "
                        f"{convert_again()}") from error


def _checked_files(folder: Path, info: dict[str, Any], path: Path) -> list[Path]:
    files = [folder / row["name"] for row in info["files"]]
    for row, file in zip(info["files"], files):
        size = file.stat().st_size if file.is_file() else None
        if size != row["size"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise UserError(f"shard file {file} {found}, but {path.name} lists it with {row['size']} bytes. Copy the "
                            f"whole folder again, or {convert_again()}")
    return [file for file in files if file.suffix != ".db"]


def _files_without_info(folder: Path, prefix: str) -> list[Path]:
    files = shard_files(folder, prefix)
    if not files:
        others = sorted(path.name for path in folder.glob(f"*{INFO}"))
        hint = f"the folder has {listed(others)}: is --mindrecord_prefix correct?" if others else \
            no_shards(folder) or f"an interrupted conversion leaves none: {convert_again()}"
        raise UserError(f"there are no shards {folder / prefix}0, ...; {hint}")
    numbers = [int(path.name[len(prefix):]) for path in files]
    lost = [f"{prefix}{number}" for number in sorted(set(range(numbers[-1])) - set(numbers))]
    lost += [f"{path.name}.db" for path in files if not path.with_name(path.name + ".db").is_file()]
    if lost:
        raise UserError(f"{folder}: shard files are missing: {', '.join(lost)}. Copy the whole folder again, or "
                        f"{convert_again()}")
    return files


def _named_categories(names: tuple[str, ...], num_classes: int) -> Categories:
    if len(names) != num_classes:
        raise UserError(f"dataset_config.coco_classes has {len(names)} names, but dataset_config.num_classes is "
                        f"{num_classes}: for shards without an info file, both must describe the shards")
    return categories_from_names(names)


def _count_rows(files: list[Path]) -> int:
    try:
        return ds.MindDataset(list(map(str, files)), shuffle=False).get_dataset_size()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{files[0].parent}: MindSpore cannot read the shards: {first_message(error)}; "
                        f"{convert_again()}") from error


def first_message(error: Exception) -> str:
    """Return the useful sentence of a mindspore.dataset error, which is a page of text."""
    marked = re.search(r"\[ERROR\] *(.+)", str(error))
    return (marked[1] if marked else str(error).strip().partition("\n")[0])[:300]


def announce_boxes(shards: Shards, max_objs: int, ignored_regions: str, most_images: int = 1) -> None:
    """Log how many boxes the training treats in another way than all others.

    Args:
        most_images: the largest number of images in one training image, see mosaic.most_images.
    """
    most = max(shards.box_counts, default=0) * most_images
    many = {boxes: images for boxes, images in shards.box_counts.items() if boxes > max_objs}
    if many:
        lost = sum((boxes - max_objs) * images for boxes, images in many.items())
        LOG.warning("%d images have more boxes than dataset_config.max_objs %d (at most %d): up to %d boxes are left "
                    "out and count as background. To train on all: --dataset_config.max_objs %d", sum(many.values()),
                    max_objs, max(many), lost, most)
    if most_images > 1 and most > max_objs:
        LOG.warning("mosaic and mixup put up to %d images into one training image, which then has up to %d boxes. "
                    "Those above dataset_config.max_objs %d are left out and count as background. To train on all: "
                    "--dataset_config.max_objs %d", most_images, most, max_objs, most)
    if shards.regions:
        LOG.info("%d boxes marked ignore or iscrowd: %s", shards.regions, "neither objects nor background in training"
                 if ignored_regions == "mask" else "objects as all others (dataset_config.ignored_regions)")


def annotated_row(row: Sequence[np.ndarray],
                  mask: bool) -> tuple[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the image id of a row of SCHEMA, and the first three arguments of make_sample.

    With mask, ignored regions have the class ~c; without, c as all other objects.

    Raises:
        UserError: a category is 0, the background.
    """
    img_id, image, num_objects, bboxes, category_id = row
    count = int(num_objects.item())
    boxes = bboxes.reshape(-1, 4)[:count] if count else np.zeros((0, 4), np.float32)
    numbers = category_id.reshape(-1)[:count] if count else np.zeros(0, np.int32)
    if (numbers == 0).any():
        raise UserError("one of its categories is 0, but only 1 and above are allowed, or below 0 for ignored regions; "
                        f"{convert_again()}")
    # ~class is -(class + 1), as in the shard.
    classes = np.where(numbers < 0, numbers if mask else ~numbers, numbers - 1).astype(np.int32)
    return int(img_id.item()), (image, boxes, classes)
