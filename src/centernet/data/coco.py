"""Data sets in COCO format: find their files, and select the usable images and boxes."""
from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from centernet.categories import Categories
from centernet.data.annotations import (
    Annotation,
    Annotations,
    box_defect,
    is_image_id,
    make_annotations,
    parse_annotation_file,
)
from centernet.errors import UserError

# COCO's own names come first, then the names for other data sets. The model zoo's README writes "instance_".
ANNOTATION_NAMES = {
    "train": ("instances_train2017.json", "instance_train2017.json", "train.json"),
    "val": ("instances_val2017.json", "instance_val2017.json", "val.json"),
    "test": ("image_info_test-dev2017.json", "image_info_test2017.json", "test.json"),
}
IMAGE_DIRS = ("{}2017", "images/{}2017", "images/{}", "{}")
EXAMPLES = 3  # number of examples that are listed for each kind of defect


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image and its boxes."""

    id: int
    path: Path
    file_name: str      # as in the annotation file
    width: int          # pixels
    height: int
    boxes: np.ndarray   # (N, 4) float32: x1, y1, x2, y2 in pixels, as annotated (may extend beyond the image)
    classes: np.ndarray  # (N,) int32, 0..C-1


@dataclass
class Defects:
    """Defects of a data set by kind: their number, and the first few examples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: str) -> None:
        """Count a defect. `place` names the image or annotation."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        places = self.examples.setdefault(kind, [])
        if len(places) < EXAMPLES:
            places.append(place)

    def lines(self) -> list[str]:
        """Return one line with examples for each kind."""
        return [f"{count:8d}  {kind} ({'; '.join(self.examples[kind])}{'; ...' if count > EXAMPLES else ''})"
                for kind, count in self.counts.items()]


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """The usable images of an annotation file, all its annotations, and the defects found."""

    images: tuple[CocoImage, ...]
    annotations: Annotations
    image_dir: Path
    defects: Defects

    @property
    def categories(self) -> Categories:
        """Return the categories of the annotation file."""
        return self.annotations.categories

    @property
    def annotation_file(self) -> Path:
        """Return the path of the annotation file."""
        return self.annotations.path


def require_whole(dataset: CocoDataset) -> None:
    """Raise UserError if images of the annotation file are unusable: an AP of fewer images cannot be compared."""
    defects = dataset.defects
    lost = [line.strip() for kind, line in zip(defects.counts, defects.lines()) if kind.startswith("image ")]
    if lost:
        raise UserError(f"not all images of {dataset.annotation_file} can be evaluated: {'; '.join(lost)}. Complete "
                        f"{dataset.image_dir}, or use an annotation file that lists only the existing images")


def locate(data_dir: str, split: str, annotation_file: str = "", image_dir: str = "") -> tuple[Path, Path]:
    """Find the annotation file and the folder of images.

    Args:
        data_dir: folder in COCO's layout: annotations/instances_train2017.json with train2017/ or images/train2017/,
            or annotations/train.json with images/train/.
        split: "train", "val" or "test"; for test it uses image_info_test-dev2017.json or image_info_test2017.json.
        annotation_file, image_dir: paths to use instead of a search in data_dir.

    Raises:
        UserError: the file or folder was not found; the message lists the paths that were tried.
    """
    if annotation_file or image_dir:
        return _existing_pair(annotation_file, image_dir)
    if not data_dir:
        raise UserError("no data set is given: give the folder of a data set in COCO's layout, or --annotation_file "
                        "and --image_dir")
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"the data set's folder {root} does not exist or is not a folder")
    files = [root / "annotations" / name for name in ANNOTATION_NAMES[split]]
    folders = [root / pattern.format(split) for pattern in IMAGE_DIRS]
    found_file = next((path for path in files if path.is_file()), None)
    found_dir = next((path for path in folders if path.is_dir()), None)
    if found_file is None or found_dir is None:
        what, tried = ("annotation file", files) if found_file is None else ("folder of images", folders)
        listed = ", ".join(str(path.relative_to(root)) for path in tried)
        raise UserError(f"{root} has no {what} of the {split} split; tried {listed}. For another layout use "
                        "--annotation_file and --image_dir.")
    return found_file, found_dir


def _existing_pair(annotation_file: str, image_dir: str) -> tuple[Path, Path]:
    if not annotation_file or not image_dir:
        raise UserError("--annotation_file and --image_dir go together: set both")
    if not Path(annotation_file).is_file():
        raise UserError(f"--annotation_file {annotation_file}: there is no such file")
    if not Path(image_dir).is_dir():
        raise UserError(f"--image_dir {image_dir}: there is no such folder")
    return Path(annotation_file), Path(image_dir)


def read_coco(annotation_file: Path, image_dir: Path) -> CocoDataset:
    """Read an annotation file and find its images, without decoding them.

    Images with an unusable entry or file are left out, and so are unusable boxes; `defects` counts both. Crowd boxes
    and images without boxes are kept. A file without the key "annotations" (a test set) has no boxes.

    Raises:
        UserError: the file is not JSON in COCO format, or has no images, categories or annotations.
    """
    document = parse_annotation_file(annotation_file)
    defects = Defects()
    entries = _read_entries(document.images, defects)
    boxes = _read_boxes(document.annotations, entries, document.categories.class_of(), defects)
    finder = _ImageFinder(image_dir)
    images = []
    for image_id, entry in entries.items():
        path = finder.find(entry["file_name"], image_id, defects)
        if path is not None:
            rows = boxes.get(image_id, [])
            images.append(CocoImage(image_id, path, entry["file_name"], entry["width"], entry["height"],
                                    np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
                                    np.array([row[4] for row in rows], np.int32)))
    return CocoDataset(tuple(images), make_annotations(annotation_file, document), image_dir, defects)


def _read_entries(rows: list[Any], defects: Defects) -> dict[int, dict[str, Any]]:
    """Return the usable image entries by id, in the file's order."""
    entries: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        if not _is_entry(row):
            defects.add("image entry without id (0 to 2147483647), file_name, width and height",
                        f"entry {number}: {str(row)[:60]}")
        elif row["id"] in entries:
            defects.add("image id used twice, later entry left out", f"id {row['id']}: {row['file_name']}")
        else:
            entries[row["id"]] = row
    return entries


def _is_entry(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or not row["file_name"]:
        return False
    sizes = [_whole(row.get(key)) for key in ("width", "height")]
    return is_image_id(row.get("id")) and all(size is not None and size > 0 for size in sizes)


def _read_boxes(rows: list[Annotation], entries: dict[int, dict[str, Any]], class_of: dict[int, int],
                defects: Defects) -> dict[int, list[tuple[float, ...]]]:
    """Return (x1, y1, x2, y2, class) of the usable annotations by image id, in the file's order."""
    boxes: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    seen = set()
    for row in rows:
        number, image_id, category_id = _whole(row.id), _whole(row.image_id), _whole(row.category_id)
        if number is not None and number in seen:
            defects.add("annotation id used twice, boxes kept", _place(row))
        seen.add(number)
        if image_id not in entries:
            defects.add("annotation of an unknown image", _place(row))
        elif category_id not in class_of:
            defects.add("annotation of an unknown category", f"{_place(row)}: category_id {row.category_id}")
        else:
            entry = entries[image_id]
            defect = box_defect(row.bbox) or _outside_defect(row.bbox, entry["width"], entry["height"])
            if defect:
                defects.add(defect, f"{_place(row)}: {row.bbox}")
            else:
                x, y, w, h = row.bbox
                boxes[image_id].append((x, y, x + w, y + h, class_of[category_id]))
    return boxes


def _place(row: Annotation) -> str:
    return f"annotation {row.id} of image {row.image_id}"


def _whole(value: Any) -> int | None:
    """Return the value if it is an integer, otherwise None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _outside_defect(bbox: list[float], width: int, height: int) -> str:
    """Return the defect of a box x, y, w, h in an image of the given size; "" if it has none."""
    x, y, w, h = bbox
    inside = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    return "" if inside else "box without area inside the image"


class _ImageFinder:
    """Finds image files below a folder. Subfolders are searched once, for the first name that is not in the folder."""

    def __init__(self, image_dir: Path):
        self.image_dir = image_dir
        self.by_name: dict[str, list[str]] | None = None

    def find(self, file_name: str, image_id: int, defects: Defects) -> Path | None:
        """Return the path of an image, or None; then the reason is added to `defects`."""
        path = self.image_dir / file_name
        if not path.is_file():
            places = self._search(file_name)
            if len(places) != 1:
                kind = "image name in several folders" if places else "image file missing"
                defects.add(kind, f"id {image_id}: {', '.join(places[:2]) or file_name}")
                return None
            path = Path(places[0])
        if path.stat().st_size == 0:
            defects.add("image file of 0 bytes", f"id {image_id}: {file_name}")
            return None
        return path

    def _search(self, file_name: str) -> list[str]:
        """Return all files below image_dir whose path ends in file_name."""
        if self.by_name is None:
            self.by_name = defaultdict(list)
            for folder, _, names in os.walk(self.image_dir):
                for name in names:
                    self.by_name[name].append(os.path.join(folder, name))
        tail = "/" + os.path.normpath(file_name).lstrip("/")
        return sorted(path for path in self.by_name.get(os.path.basename(file_name), []) if path.endswith(tail))
