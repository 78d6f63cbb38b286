"""COCO's format in the layouts of other tools: Roboflow's SPLIT/_annotations.coco.json, CVAT's
annotations/instances_default.json with images/, and files of COCO's own layout, for a subset or another split.
"""
from __future__ import annotations

import re
from pathlib import Path

from centernet.data.annotations import PARENT, Annotations, Document, make_annotations, parse_annotation_file
from centernet.data.defects import UNNAMED, Report
from centernet.data.image_finder import ImageFinder
from centernet.data.info_file import INFO
from centernet.data.layouts.form import NOT_INSIDE, Box, Imported, Picture, head_has, size_of
from centernet.data.repair import whole
from centernet.errors import shown

KEYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')  # a file beside the images must have one of them
LABELME = re.compile(rb'"(shapes|imageData)"\s*:')  # imageData can be long and come first
# COCO's own layout, which data/coco.py reads: COCO's names come first, then the names for other data sets. The model
# zoo's README writes "instance_".
ANNOTATION_NAMES = {
    "train": ("instances_train2017.json", "instance_train2017.json", "train.json"),
    "val": ("instances_val2017.json", "instance_val2017.json", "val.json"),
    "test": ("image_info_test-dev2017.json", "image_info_test2017.json", "instances_test2017.json",
             "instance_test2017.json", "test.json"),
}
IMAGE_DIRS = ("{}2017", "images/{}2017", "images/{}", "{}", "images")
ROBOFLOW = "_annotations.coco.json"
WITHOUT_SPLIT = ("default", "instances", "annotations", "result", "_annotations", "coco", "labels")
OTHERS = ("imported_", "person_keypoints", "captions", "stuff", "panoptic", "image_info")  # files without our boxes
IMPORTED = "imported_{}.json"  # what centernet import-dataset writes


def evidence(root: Path) -> str:
    """Return what makes a folder a data set with files in COCO's format; "" if it is none."""
    return ", ".join(str(file.relative_to(root)) for file in list(files(root))[:3])


def files(root: Path) -> dict[Path, str]:
    """Return the annotation files of a data set, and the split of each.

    Files with keypoints, captions and the like are left out, those that an import wrote, the info files of shards, and
    LabelMe's files. A file in annotations/ that is of no known format stays, unless others there are LabelMe's: read()
    says what is wrong with it.
    """
    found = {file: file.parent.name for file in sorted(root.glob(f"*/{ROBOFLOW}"))}
    if not found and (root / ROBOFLOW).is_file():
        found[root / ROBOFLOW] = ""
    annotations = [] if found else sorted((root / "annotations").glob("*.json"))
    beside_labelme = any(map(is_labelme, annotations))
    for file in annotations:
        if not file.name.startswith(OTHERS) and (head_has(file, KEYS) or not beside_labelme):
            name = file.stem.removeprefix("instances_").removeprefix("instance_").removesuffix("2017")
            found[file] = "" if name in WITHOUT_SPLIT else name
    for file in [] if found else sorted(root.glob("*.json")):
        if head_has(file, KEYS) and not file.name.endswith(INFO):
            name = file.stem.removeprefix("instances_")
            found[file] = "" if name in WITHOUT_SPLIT else name
    return found


def is_labelme(file: Path) -> bool:
    """Return whether a JSON file is one of LabelMe, by its content: it can be in annotations/, or coconut.json."""
    return head_has(file, LABELME) and not head_has(file, KEYS)


def is_own(root: Path) -> bool:
    """Return whether the annotation files have the names of COCO's own layout."""
    own = {name for names in ANNOTATION_NAMES.values() for name in names}
    return all(file.parent.name == "annotations" and file.name in own for file in files(root))


def read(root: Path, report: Report, allow_outside: bool = False) -> Imported:
    """Read the annotation files of all splits. Classes are compared by name.

    Raises:
        UserError: a file is not in COCO's format, see annotations.parse_annotation_file; or the name of an image leads
            out of its folder and allow_outside is false.
    """
    documents = {file: parse_annotation_file(file) for file in files(root)}
    parsed = {file: make_annotations(file, document) for file, document in documents.items()}
    used = {name for found in parsed.values() for name, count in _counts(found).items() if count}
    names: dict[str, None] = {}
    for file, document in documents.items():
        for name in document.categories.names:
            if name in used or not _is_placeholder(name, document, file):
                names[name] = None
            elif name not in names:
                report.notes.add("category without boxes that only groups others: left out", name)
    pictures: list[Picture] = []
    for (file, split) in files(root).items():
        finder = ImageFinder(_image_dir(root, file, split), allow_outside)
        pictures += _pictures(parsed[file], split, finder, report.of(split))
    return Imported("coco", root, tuple(pictures), tuple(names), report)


def _counts(annotations: Annotations) -> dict[str, int]:
    classes = annotations.box_classes.tolist()
    return {name: classes.count(index) for index, name in enumerate(annotations.categories.names)}


def _is_placeholder(name: str, document: Document, file: Path) -> bool:
    """Return whether a category without boxes is none: it only groups others, or Roboflow put it first, with id 0."""
    first = file.name == ROBOFLOW and document.categories.names[0] == name and document.categories.ids[0] == 0
    return name in document.parents or first and len(document.categories) > 1


def _image_dir(root: Path, file: Path, split: str) -> Path:
    """Return the folder of the images of an annotation file."""
    if file.name == ROBOFLOW:
        return file.parent
    tried = [root / name.format(split or "default") for name in IMAGE_DIRS]
    return next((path for path in tried if path.is_dir()), root)


def _pictures(annotations: Annotations, split: str, finder: ImageFinder, report: Report) -> list[Picture]:
    annotations.report.notes.counts.pop(PARENT, None)  # read() leaves these categories out
    report.add_all(annotations.report)
    boxes: dict[int, list[Box]] = {}
    names = annotations.categories.names
    for row, image_id in enumerate(annotations.box_images.tolist()):
        x, y, width, height = annotations.boxes[row].tolist()
        boxes.setdefault(image_id, []).append(Box(names[annotations.box_classes[row]],
                                                  (x, y, x + width, y + height), bool(annotations.crowds[row]),
                                                  float(annotations.areas[row])))
    pictures = []
    for image_id, entry in zip(annotations.image_ids, annotations.images):
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            report.defects.add(UNNAMED, f"id {image_id}: {shown(entry)}", lost=True)
            continue
        path = finder.find(name, image_id, report)
        said = whole(entry.get("width")) or 0, whole(entry.get("height")) or 0
        size = size_of(path, said, report) if path else None
        if path and size:
            pictures.append(Picture(path, *size, tuple(_inside(boxes.get(image_id, []), size, path, report)), split))
    return pictures


def _inside(boxes: list[Box], size: tuple[int, int], path: Path, report: Report) -> list[Box]:
    """Return the boxes with area inside their image. They are not cut, because COCO's programs do not cut them."""
    kept = []
    for box in boxes:
        x1, y1, x2, y2 = box.corners
        if min(x2, size[0]) > max(x1, 0) and min(y2, size[1]) > max(y1, 0):
            kept.append(box)
        else:
            report.defects.add(NOT_INSIDE, f"{path.name}: {box.label} {list(box.corners)}")
    return kept
