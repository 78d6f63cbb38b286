"""LabelMe: a JSON file for each image, with rectangles, polygons and circles in pixels; boxes are their bounds."""
from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

from centernet.data.defects import Report
from centernet.data.layouts.coco_files import KEYS, is_labelme
from centernet.data.layouts.form import (
    Box,
    Imported,
    Picture,
    first_evidence,
    head_has,
    make_picture,
)
from centernet.data.layouts.image_index import ImageIndex, note_unlabelled
from centernet.data.repair import number, whole
from centernet.errors import UserError, shown
from centernet.files import read_json

MOST_BYTES = 1 << 27  # of an annotation file; it can hold the image itself
SHAPES = re.compile(rb'"shapes"\s*:\s*\[')
OUTLINES = ("rectangle", "polygon", "circle", "mask", "rotation")


def evidence(root: Path) -> str:
    """Return what makes a folder a data set in LabelMe's layout; "" if it is none."""
    doubtful_last = sorted(files(root), key=lambda file: (_has_coco_name(file) or _is_in_annotations(file))
                           and not is_labelme(file))
    return first_evidence(root, doubtful_last, ".json", lambda file: "shapes" in read_json(file, most=MOST_BYTES),
                          lambda file: head_has(file, SHAPES))


def files(root: Path) -> list[Path]:
    """Return the JSON files of the folder and of its subfolders, but not those of COCO's layouts.

    A name is not enough: instances_2.json is left out if it is in COCO's format. Of a folder annotations/ without a
    file of LabelMe none is taken.
    """
    found = sorted(itertools.chain(root.glob("*.json"), root.glob("*/*.json"), root.glob("*/*/*.json")))
    ours = {path.parent for path in found if _is_in_annotations(path) and is_labelme(path)}
    return [path for path in found if path.parent in ours or not _is_in_annotations(path)
            if not (path.parent in ours or _has_coco_name(path)) or not head_has(path, KEYS)]


def _is_in_annotations(file: Path) -> bool:
    return file.parent.name == "annotations"


def _has_coco_name(file: Path) -> bool:
    return "coco" in file.name or file.name.startswith("instances")


def read(root: Path, report: Report) -> Imported:
    """Read all JSON files. One in a folder train, valid, ... belongs to the split of that name."""
    index, pictures = ImageIndex(root), []
    for file in files(root):
        split = next((part for part in file.relative_to(root).parts[:-1] if part in ("train", "val", "valid", "test")),
                     "")
        pictures.append(_picture(file, split, index, report.of(split)))
    found = [picture for picture in pictures if picture]
    note_unlabelled(index, found, report)
    names = tuple(sorted({box.label for picture in found for box in picture.boxes}))
    return Imported("labelme", root, tuple(found), names, report)


def _picture(file: Path, split: str, index: ImageIndex, report: Report) -> Picture | None:
    try:
        document = read_json(file, most=MOST_BYTES)
    except UserError as error:
        report.defects.add("JSON file that cannot be read: image left out", str(error), lost=True)
        return None
    shapes, name = document.get("shapes"), document.get("imagePath")
    if not isinstance(shapes, list):
        # A file of another kind can be among them. An image of its name tells that it is an annotation.
        lost = index.has_stem(file.stem)
        report.defects.add(f"JSON file without the list shapes: {'image ' * lost}left out", file.name, lost)
        return None
    inner = " (the JSON file holds its pixels: save it as an image file)" if document.get("imageData") else ""
    image = index.find(name if isinstance(name, str) else "", file.parent, report,
                       f"{file.name}: {shown(name)}{inner}", stem=file.stem)
    if image is None:
        return None
    said = [whole(document.get(key)) or 0 for key in ("imageWidth", "imageHeight")]
    return make_picture(image, split, _boxes(shapes, file, report), report, (said[0], said[1]))


def _boxes(shapes: list[Any], file: Path, report: Report) -> list[Box]:
    """Return the boxes of all shapes. Shapes of one label and group_id are parts of one object."""
    parts: dict[Any, list[tuple[float, float, float, float]]] = {}
    for position, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, dict) else None
        bounds = _bounds(shape) if isinstance(label, str) and label else None
        if bounds is None:
            kind = shape.get("shape_type") if isinstance(shape, dict) else None
            report.defects.add("shape without label, points or area (point, line): left out",
                               f"{file.name}: {shown(label)} {shown(kind)}")
            continue
        group = shape.get("group_id")
        if type(group) not in (int, str):
            group = None
        parts.setdefault((label, group, position if group is None else None), []).append(bounds)
    boxes = []
    for (label, group, _), pieces in parts.items():
        if len(pieces) > 1:
            report.notes.add("shapes of one group_id: one box around them",
                             f"{file.name}: {label}, group {shown(group)}, {len(pieces)} shapes")
        x1, y1, x2, y2 = zip(*pieces)
        boxes.append(Box(label, (min(x1), min(y1), max(x2), max(y2))))
    return boxes


def _bounds(shape: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the bounds of a shape; None if it has none."""
    kind, rows = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in OUTLINES or not isinstance(rows, list):
        return None
    points = [(number(row[0]), number(row[1])) for row in rows if isinstance(row, list) and len(row) == 2]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    if len(known) < 2 or len(known) != len(rows):
        return None
    if kind == "circle":  # the centre, and a point on the line
        (x, y), radius = known[0], math.dist(known[0], known[1])
        return x - radius, y - radius, x + radius, y + radius
    across, down = zip(*known)
    return min(across), min(down), max(across), max(down)
