"""The common form of all layouts: what a reader gives, and how it becomes a document in COCO's format.

Boxes are x1, y1, x2, y2 in pixels. The left edge of the first pixel is 0, and x2 and y2 are the edges behind the last
pixel: a box of one pixel is 0, 0, 1, 1. This is the frame of COCO's boxes.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from centernet.data.defects import Report
from centernet.data.image_file import SUFFIXES
from centernet.data.image_size import image_size
from centernet.data.orientation import displayed_size
from centernet.data.repair import LARGEST, is_finite
from centernet.errors import UserError, shown
from centernet.files import files_below, require_utf8

USUAL = ("JPEGImages", "images")  # folders of images; those beside them may hold masks or other views of the same name
HEADER = 1 << 16      # bytes of an image file that usually have its size
HEAD = 1 << 16        # bytes of an annotation file that usually show of which layout it is
CUT = 0.01            # pixels; a box that reaches further past its image is counted when it is cut
DAMAGED = ", damaged"  # the end of what was found, if only a damaged file is like the layout
NOT_INSIDE = "box without area inside its image: left out"


@dataclass(frozen=True)
class Box:
    """One box: x1, y1, x2, y2 in pixels."""

    label: str
    corners: tuple[float, float, float, float]
    ignored: bool = False       # neither object nor background, as COCO's iscrowd
    area: float | None = None   # square pixels, if the file says one (the area of an outline)


@dataclass(frozen=True)
class Picture:
    """One image with its boxes."""

    path: Path
    width: int      # pixels, in the frame of the boxes
    height: int
    boxes: tuple[Box, ...]
    split: str      # as the data set calls it: "train", "trainval", "valid"; "": the data set has no splits


@dataclass(frozen=True)
class Imported:
    """A data set of any layout."""

    layout: str                     # one of found.READERS
    root: Path                      # folder of the data set; names of files are relative to it
    pictures: tuple[Picture, ...]   # in the order of the data set
    names: tuple[str, ...]          # of the classes, in the order of the model's classes
    report: Report = field(default_factory=Report)

    def of_split(self, split: str) -> list[Picture]:
        """Return the images of a split."""
        return [picture for picture in self.pictures if picture.split == split]

    def splits(self) -> list[str]:
        """Return the names of the splits, in the order of their first image."""
        return list(dict.fromkeys(picture.split for picture in self.pictures))


def cut(box: Box, width: int, height: int, place: str, report: Report) -> Box | None:
    """Return a box cut at the border of its image. None if it has no area there or is no box: then it is a defect."""
    if not all(map(is_finite, box.corners)) or max(map(abs, box.corners)) > LARGEST:
        report.defects.add("box with NaN, infinite or huge numbers: left out", f"{place}: {shown(box.corners)}")
        return None
    x1, y1, x2, y2 = box.corners
    corners = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        report.defects.add(NOT_INSIDE, f"{place}: {box.label} {shown(list(box.corners))}")
        return None
    if max(abs(new - old) for new, old in zip(corners, box.corners)) > CUT:
        report.notes.add("box that reaches past its image: cut at the border",
                         f"{place}: {box.label} {shown(list(box.corners))} in {width} x {height}")
    return replace(box, corners=corners)


def make_picture(path: Path, split: str, boxes: Iterable[Box], report: Report, said: tuple[int, int] | None = None,
                 size: tuple[int, int] | None = None) -> Picture | None:
    """Return an image with its boxes, cut at the border. None for a file that is not usable: then it is a defect.

    Args:
        path: the image file.
        boxes: in pixels.
        said: width and height in the annotation; None: it says none.
        size: what sizes() returned for the file, if the caller has it.
    """
    if size is None and (size := size_of(path, said, report)) is None:
        return None
    kept = [inner for box in boxes if (inner := cut(box, *size, path.name, report))]
    return Picture(path, *size, tuple(kept), split)


def size_of(path: Path, said: tuple[int, int] | None, report: Report) -> tuple[int, int] | None:
    """Return width and height of an image in the frame of its boxes; None if it is not usable (a defect).

    If the annotation says the size of the stored pixels, the boxes belong to these and not to the image as EXIF turns
    it. The conversion of shards decides in the same way, see data/orientation.py.
    """
    try:
        with path.open("rb") as file:
            data = file.read(HEADER)
            stored = image_size(data)
            # The EXIF data of a PNG file may come last. It is not needed if the annotation says the stored size.
            if stored is None or stored[::-1] != said and displayed_size(data, stored) is None:
                data += file.read()
                stored = image_size(data)
    except OSError as error:
        report.defects.add("image file not readable: image left out", f"{path.name}: {error.strerror}",
                           lost=True)
        return None
    if stored is None:
        report.defects.add("image file that is not an image: image left out", path.name, lost=True)
        return None
    shown_size = displayed_size(data, stored) or stored
    frames = [(shown_size[1], shown_size[0]), (stored[1], stored[0])]
    if said is None or min(said) <= 0:
        if said is not None:
            report.notes.add("annotation with a width or height of 0: taken from the image file", path.name)
        return frames[0]
    if said in frames:
        return said
    report.defects.add("image of another size than its annotation says: image left out",
                       f"{path.name}: {frames[0][0]} x {frames[0][1]}, annotated as {said[0]} x {said[1]}",
                       lost=True)
    return None


def first_evidence(root: Path, files: Iterable[Path], kind: str, is_own: Callable[[Path], bool],
                   looks_own: Callable[[Path], bool]) -> str:
    """Return what makes a folder a data set of a layout, FOLDER/*KIND; "" if it is none.

    The first file that can be read decides. If there is none, a damaged one may look like the layout: then the text
    ends with DAMAGED.

    Args:
        is_own: whether a file is an annotation of the layout. It raises UserError for a damaged one.
        looks_own: whether a damaged file looks like one.
    """
    damaged = ""
    for file in files:
        found = f"{file.parent.relative_to(root)}/*{kind}".removeprefix("./")
        try:
            return found if is_own(file) else damaged
        except UserError:  # the layout's read() says what is wrong
            damaged = damaged or (found + DAMAGED if looks_own(file) else "")
    return damaged


def head_has(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Return whether the first bytes of a file have a pattern. What is no file, or cannot be opened, has none."""
    try:
        if not file.is_file():  # a pipe would be waited for
            return False
        with file.open("rb") as opened:
            return bool(pattern.search(opened.read(HEAD)))
    except OSError:
        return False


def images_below(root: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, also linked ones, in the order of their paths."""
    return sorted(path for path in files_below(root) if path.name.lower().endswith(SUFFIXES))


def to_coco(imported: Imported, pictures: Iterable[Picture], prefix: str, allow_outside: bool) -> dict[str, Any]:
    """Return a document in COCO's format. Images and boxes count from 1, in the order of the data set.

    Args:
        prefix: what stands before the names of files, relative to the data set's folder: "" or "images/". An image
            outside of the folder gets its absolute path with a prefix.
        allow_outside: allow images outside of the data set's folder.

    Raises:
        UserError: an image is outside of the folder and allow_outside is false, or its name is not UTF-8.
    """
    number = {name: index for index, name in enumerate(imported.names, 1)}
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for picture in pictures:
        name = file_name(picture.path, imported, allow_outside)
        if prefix and name.startswith("../"):  # the prefix is a link: ".." behind it leads to another folder
            name = os.path.abspath(picture.path)
            require_utf8(name, "image")
        else:
            name = prefix + name
        images.append({"id": len(images) + 1, "file_name": name, "width": picture.width, "height": picture.height})
        for box in picture.boxes:
            x1, y1, x2, y2 = box.corners
            sides = [x2 - x1, y2 - y1]
            row = {"id": len(rows) + 1, "image_id": len(images), "category_id": number[box.label],
                   "bbox": [_plain(value) for value in (x1, y1, *sides)],
                   "area": _plain(sides[0] * sides[1] if box.area is None else box.area), "iscrowd": int(box.ignored)}
            rows.append({**row, "ignore": 1} if box.ignored else row)
    return {"images": images, "annotations": rows,
            "categories": [{"id": index, "name": name} for name, index in number.items()]}


def file_name(path: Path, imported: Imported, allow_outside: bool) -> str:
    """Return the name of an image relative to the data set's folder, with "/". Raise UserError as to_coco does."""
    name = os.path.relpath(path, imported.root)
    if name.split(os.sep)[0] == os.pardir and not allow_outside:
        raise UserError(f"the image {path} is outside of the data set's folder {imported.root}: put it below this "
                        "folder, or set --allow_outside true if you trust the data set")
    require_utf8(name, "image")
    return name.replace(os.sep, "/")


def _plain(value: float) -> float:
    """Return a number without the noise of x + width - x, and a whole number as int: 12.0 takes more space."""
    value = round(float(value), 9)
    return int(value) if value.is_integer() else value
