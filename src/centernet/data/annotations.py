"""Reader of annotation files in COCO format. No other module parses them."""
from __future__ import annotations

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet.categories import Categories, categories_from_json
from centernet.documents import is_text, parse_json, require_plain
from centernet.errors import UserError, shown
from centernet.files import read_bytes

LOG = logging.getLogger("centernet")

# Keys of image entries that are not needed. They would take memory while a large file is parsed.
UNUSED = frozenset({"license", "coco_url", "flickr_url", "date_captured"})
NUMBERS = frozenset({int, float})  # types of numbers; bool does not count


class Annotation(NamedTuple):
    """One entry of a file's list 'annotations', not checked; None for a missing key.

    Segmentation outlines take nine tenths of COCO's files. They are dropped while the file is parsed.
    """

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None


@dataclass(frozen=True)
class Document:
    """The content of an annotation file in COCO format; the entries are not checked."""

    images: list[Any]
    annotations: list[Annotation]
    categories: Categories


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of an annotation file in arrays, for evaluation.

    box_defect is the only check of the boxes, so that evaluation counts the same boxes as COCO's own programs. These
    include boxes without area inside their image, which training leaves out.
    """

    path: Path
    categories: Categories
    image_ids: tuple[int, ...]  # of all images of the file, also of images that are missing or not usable
    box_images: np.ndarray      # (N,) int32 image id of each box
    box_classes: np.ndarray     # (N,) int32, 0..C-1
    boxes: np.ndarray           # (N, 4) float64: x, y, width, height in pixels, in the file's order
    areas: np.ndarray           # (N,) float64 square pixels; width * height if the file has no area
    crowds: np.ndarray          # (N,) bool


def read_annotations(path: Path, name: str = "annotation file") -> Annotations:
    """Read the annotation file `path`. Error messages call it `name`, for example the flag that gave the path.

    Raises:
        UserError: as parse_annotation_file does.
    """
    return make_annotations(path, parse_annotation_file(path, name))


def parse_annotation_file(path: Path, name: str = "annotation file") -> Document:
    """Parse an annotation file and check its format. Without the key 'annotations' (a test set) there are no boxes.

    Raises:
        UserError: the file cannot be read, is not JSON in COCO's format, or has no images, annotations or
            categories.
    """
    LOG.info("reading %s", path)
    subject = f"{name} {path}"
    document = parse_json(read_bytes(path, subject=subject), subject, "Is it truncated? Copy it again, or compare "
                          "its size with the size of the original", object_hook=_compact)
    for key in ("images", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise UserError(f"{name} {path} is not in COCO's format: it needs an object with the lists 'images', "
                            f"'annotations' and 'categories'; '{key}' is missing or not a list")
    require_plain(document["categories"], subject, place="categories")
    for number, row in enumerate(document["images"]):
        if isinstance(row, dict) and isinstance(row.get("file_name"), str) and not is_text(row["file_name"]):
            raise UserError(f"{subject}: images[{number}].file_name must be text that can be encoded as UTF-8, found "
                            f"{shown(row['file_name'])}")
    if not document["images"]:
        raise UserError(f"{name} {path}: the list 'images' is empty")
    rows = document.get("annotations", [])
    if "annotations" in document and (not isinstance(rows, list) or not rows):
        raise UserError(f"{name} {path}: 'annotations' is empty or not a list, so there are no boxes. If this is a "
                        "test set without annotations, remove the key.")
    return Document(document["images"], [row if isinstance(row, Annotation) else _annotation(row) for row in rows],
                    categories_from_json(document["categories"], str(path)))


def _compact(row: dict[str, Any]) -> dict[str, Any] | Annotation:
    """Reduce an object of the file to the needed keys, as soon as it is parsed."""
    if "image_id" in row and "file_name" not in row:
        return _annotation(row)
    return {key: value for key, value in row.items() if key not in UNUSED}


def _annotation(row: Any) -> Annotation:
    return Annotation._make(map(row.get, Annotation._fields)) if isinstance(row, dict) else Annotation()


def make_annotations(path: Path, document: Document) -> Annotations:
    """Return the usable annotations of a parsed file in arrays."""
    entries = (row.get("id") if isinstance(row, dict) else None for row in document.images)
    image_ids: dict[int, None] = dict.fromkeys(entry for entry in entries if entry is not None and is_image_id(entry))
    class_of = document.categories.class_of()
    rows = [row for row in document.annotations if _is_in(row.image_id, image_ids)
            and _is_in(row.category_id, class_of) and not box_defect(row.bbox)]
    return Annotations(path, document.categories, tuple(image_ids),
                       np.array([row.image_id for row in rows], np.int32),
                       np.array([class_of[row.category_id] for row in rows], np.int32),
                       np.array([row.bbox for row in rows], np.float64).reshape(-1, 4),
                       np.array([_area(row) for row in rows], np.float64),
                       np.array([_is_crowd(row.iscrowd) for row in rows], bool))


def is_image_id(value: Any) -> bool:
    """Return whether a value can be an image's id: an integer that fits into the int32 of a shard."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def box_defect(bbox: Any) -> str:
    """Return the defect of a box x, y, width, height of the file; "" if it is a list of 4 finite numbers."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not NUMBERS.issuperset(map(type, bbox)):
        return "annotation without a bbox of 4 numbers"
    return "" if _are_finite(bbox) else "box with NaN or infinite numbers"


def _are_finite(numbers: list[float]) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:  # an integer beyond the range of float
        return False


def _is_in(value: Any, known: Collection[int]) -> bool:
    return isinstance(value, (int, float)) and value in known


def _area(row: Annotation) -> float:
    if isinstance(row.area, float) or (type(row.area) is int and _are_finite([row.area])):
        return row.area
    return float(row.bbox[2]) * row.bbox[3]


def _is_crowd(value: Any) -> bool:
    try:
        return int(value or 0) != 0
    except (TypeError, ValueError, OverflowError):
        return False
