"""Reader of annotation files in COCO format. No other module parses them."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet.categories import Categories, categories_from_json
from centernet.data.defects import Report
from centernet.data.repair import (
    WRITTEN,
    ImageKey,
    box_defect,
    image_key,
    is_set,
    number,
    number_images,
    repaired_box,
    whole,
)
from centernet.documents import is_text, parse_json, require_plain
from centernet.errors import UserError, shown
from centernet.files import read_bytes
from centernet.program import command

LOG = logging.getLogger("centernet")

# Keys of image entries that are not needed. They would take memory while a large file is parsed.
UNUSED = frozenset({"license", "coco_url", "flickr_url", "date_captured"})
PARENT = ("category without boxes that is the supercategory of others: it becomes a class, remove it from the file if "
          "it is only a group")


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
    ignore: Any = None


@dataclass(frozen=True)
class Document:
    """The content of an annotation file in COCO format; the entries are not checked."""

    images: list[Any]
    annotations: list[Annotation]
    categories: Categories
    parents: frozenset[str] = frozenset()  # names that are the supercategory of another category


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of an annotation file in arrays, for evaluation.

    box_defect is the only check of the boxes, so that evaluation counts the same boxes as COCO's own programs. These
    include boxes without area inside their image, which training leaves out. `report` says what was left out or
    repaired.
    """

    path: Path
    categories: Categories
    image_ids: tuple[int, ...]  # of all images of the file, also of images that are missing or not usable
    box_images: np.ndarray      # (N,) int32 image id of each box
    box_classes: np.ndarray     # (N,) int32, 0..C-1
    boxes: np.ndarray           # (N, 4) float64: x, y, width, height in pixels, in the file's order
    areas: np.ndarray           # (N,) float64 square pixels; width * height if the file has no area
    crowds: np.ndarray          # (N,) bool; marked iscrowd or ignore: a region in which detections do not count
    box_ids: tuple[Any, ...] = ()  # of the boxes, as in the file, for messages
    images: tuple[dict[str, Any], ...] = ()  # entries of image_ids
    file_ids: Mapping[int, Any] = field(default_factory=dict)  # image ids as the file has them, if they differ
    report: Report = field(default_factory=Report)

    @property
    def annotated(self) -> bool:
        """Return whether there are boxes. The file of a test set can have none."""
        return len(self.boxes) > 0

    def with_categories(self, categories: Categories) -> Annotations:
        """Return the same boxes with the classes of other categories, which hold all names of these, see by_name."""
        if categories == self.categories:
            return self
        missing = len(categories) - len(self.categories)
        LOG.info("%s is evaluated by category name: %s", self.path, f"it lacks {missing} of the model's "
                 f"{len(categories)} categories" if missing else "its order is another one than the model's")
        classes = self.categories.classes_in(categories)
        return replace(self, categories=categories, box_classes=classes[self.box_classes])


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
    data = read_bytes(path, subject=subject)
    if data.lstrip()[:1] == b"<":
        raise UserError(f"{subject} is XML, not COCO's JSON. For Pascal VOC, name the data set's folder: "
                        f"{command('import_dataset')} --data FOLDER")
    document = parse_json(data, subject, "Is it truncated? Copy it again, or compare "
                          "its size with the size of the original", object_hook=_compact)
    for key in ("images", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise UserError(f"{name} {path} is not in COCO's format: it needs an object with the lists 'images', "
                            f"'annotations' and 'categories'; '{key}' is missing or not a list")
    require_plain(document["categories"], subject, place="categories")
    for index, row in enumerate(document["images"]):
        if isinstance(row, dict) and isinstance(row.get("file_name"), str) and not is_text(row["file_name"]):
            raise UserError(f"{subject}: images[{index}].file_name must be text that can be encoded as UTF-8, found "
                            f"{shown(row['file_name'])}")
    if not document["images"]:
        raise UserError(f"{name} {path}: the list 'images' is empty")
    rows = document.get("annotations", [])
    if "annotations" in document and (not isinstance(rows, list) or not rows):
        raise UserError(f"{name} {path}: 'annotations' is empty or not a list, so there are no boxes. If this is a "
                        "test set without annotations, remove the key.")
    return Document(document["images"], [row if isinstance(row, Annotation) else _annotation(row) for row in rows],
                    categories_from_json(document["categories"], str(path)),
                    frozenset(row["supercategory"] for row in document["categories"]
                              if isinstance(row.get("supercategory"), str) and row["supercategory"] != row["name"]))


def _compact(row: dict[str, Any]) -> dict[str, Any] | Annotation:
    """Reduce an object of the file to the needed keys, as soon as it is parsed."""
    if "image_id" in row and "file_name" not in row:
        return _annotation(row)
    return {key: value for key, value in row.items() if key not in UNUSED}


def _annotation(row: Any) -> Annotation:
    return Annotation._make(map(row.get, Annotation._fields)) if isinstance(row, dict) else Annotation()


def make_annotations(path: Path, document: Document) -> Annotations:
    """Return the usable annotations of a parsed file in arrays, with a report on the others."""
    report = Report()
    images = number_images(document.images, report)
    rows = _usable(document.annotations, images, document.categories.class_of(), report)
    _note_parent_categories(document, {row.category_id for row in rows}, report)
    return Annotations(path, document.categories, tuple(image_id for image_id, _ in images.values()),
                       np.array([row.image_id for row in rows], np.int32),
                       np.array([row.category_id for row in rows], np.int32),
                       np.array([row.bbox for row in rows], np.float64).reshape(-1, 4),
                       np.array([row.area for row in rows], np.float64),
                       np.array([row.iscrowd for row in rows], bool), tuple(row.id for row in rows),
                       tuple(entry for _, entry in images.values()),
                       {found: entry["id"] for found, entry in images.values() if found != entry["id"]}, report)


def _usable(rows: list[Annotation], images: Mapping[ImageKey, tuple[int, Any]], class_of: Mapping[int, int],
            report: Report) -> list[Annotation]:
    """Return the usable annotations with the number of the image, the class, the area, and iscrowd or ignore."""
    seen = set()
    usable = []
    for row in rows:
        key = image_key(row.id)
        if key is not None and key in seen:
            report.defects.add("annotation id used twice, boxes kept", place(row.id, row.image_id))
        seen.add(key)
        image, category, bbox = image_key(row.image_id), whole(row.category_id), repaired_box(row.bbox)
        if image is None or image not in images:
            report.defects.add("annotation of an unknown image", place(row.id, row.image_id))
        elif category is None or category not in class_of:
            report.defects.add("annotation of an unknown category",
                               f"{place(row.id, row.image_id)}: category_id {shown(row.category_id)}")
        elif defect := box_defect(bbox):
            report.defects.add(defect, f"{place(row.id, row.image_id)}: {shown(bbox)}")
        else:
            _note_repairs(row, image, bbox, report)
            region = is_set(row.iscrowd) or is_set(row.ignore)
            usable.append(Annotation(row.id, images[image][0], class_of[category], bbox, _area(row, bbox, report),
                                     region))
    return usable


def _note_repairs(row: Annotation, image: Any, bbox: Any, report: Report) -> None:
    if type(row.category_id) is not int:
        report.notes.add(WRITTEN, f"{place(row.id, row.image_id)}: category_id {shown(row.category_id)}")
    if type(row.image_id) is not int and type(image) is int:
        report.notes.add(WRITTEN, f"{place(row.id, row.image_id)}: image_id {shown(row.image_id)}")
    if is_set(row.ignore) and not is_set(row.iscrowd):
        report.notes.add("box marked ignore: neither object nor background, as iscrowd", place(row.id, row.image_id))
    if bbox is not row.bbox:
        report.notes.add("box with numbers written as text: taken as numbers",
                         f"{place(row.id, row.image_id)}: {shown(row.bbox)}")


def _area(row: Annotation, bbox: list[float], report: Report) -> float:
    area = number(row.area)
    if area is not None:
        return area
    if row.area is not None:
        report.notes.add("area that is not a number: width x height of the box is taken",
                         f"{place(row.id, row.image_id)}: {shown(row.area)}")
    return float(bbox[2]) * bbox[3]


def _note_parent_categories(document: Document, used: set[Any], report: Report) -> None:
    """Note categories without boxes that only group others: a detector would learn a class that does not exist."""
    for index, name in enumerate(document.categories.names):
        if name in document.parents and index not in used and used:
            report.notes.add(PARENT, shown(name))


def place(annotation_id: Any, image_id: Any) -> str:
    """Return the name of an annotation in messages."""
    return f"annotation {shown(annotation_id)} of image {shown(image_id)}"
