"""YOLO: a text file of normalised boxes for each image, and data.yaml or a file with the names of the classes.

A line is: class (from 0), centre x, centre y, width, height; the last four as parts of the image's size. A line with
more numbers is an outline, class x1 y1 x2 y2 ...: its bounds are taken. An image without a file, or with an empty one,
has no objects.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from centernet.data.defects import MISSING, Report
from centernet.data.layouts.form import (
    DAMAGED,
    Box,
    Imported,
    Picture,
    head_has,
    images_below,
    make_picture,
    size_of,
)
from centernet.data.repair import number, whole
from centernet.errors import UserError, printable, shown
from centernet.files import exists, is_file, read_bytes, read_yaml

NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "classes.names", "_darknet.labels")
KEY = re.compile(rb"^names\s*:", re.MULTILINE)
SPLITS = ("train", "val", "valid", "test")
MOST_BYTES = 1 << 26   # of a text file
SLACK = 1e-3           # of normalised numbers; files have 6 digits


def evidence(root: Path) -> str:
    """Return what makes a folder a data set in YOLO's layout; "" if it is none."""
    file = _yaml(root)
    found = file or _names_file(root)
    damaged = file is not None and _has_names(file) is None
    return f"{found.relative_to(root)}{DAMAGED * damaged}" if found else ""


def read(root: Path, report: Report) -> Imported:
    """Read all images of all splits.

    Raises:
        UserError: the file with the names is damaged, a name in it is no text, or there are no images.
    """
    file = _yaml(root)
    document = _document(file) if file else {}
    source = file or _names_file(root) or root
    names = _names(_yaml_names(document, file) if file else _lines(source), printable(source))
    listed = _splits(root, document, report)
    pictures = [_picture(image, split, names, report.of(split)) for split, images in listed for image in images]
    _report_shared({picture.path for picture in pictures if picture}, report)
    return Imported("yolo", root, tuple(filter(None, pictures)), tuple(names), report)


def _yaml(root: Path) -> Path | None:
    """Return the YAML file with the names: data.yaml, or one of the folder that has the key names, a damaged one last.
    """
    usual = root / "data.yaml"
    files = [usual] if usual.is_file() else sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    found = {file: _has_names(file) for file in files}
    return next((file for wanted in (True, None) for file, has in found.items() if has is wanted), None)


def _has_names(file: Path) -> bool | None:
    """Return whether a YAML file has names; None: it is damaged, and read() says so."""
    try:
        return bool(_document(file).get("names"))
    except UserError:
        return None if file.name == "data.yaml" or head_has(file, KEY) else False


def _document(file: Path) -> dict[str, Any]:
    documents = read_yaml(file)
    if not documents or not isinstance(documents[0], dict):
        raise UserError(f"{printable(file)} must be a YAML mapping with the key names")
    return documents[0]


def _names_file(root: Path) -> Path | None:
    return next((root / name for name in NAMES if (root / name).is_file()), None)


def _yaml_names(document: dict[str, Any], file: Path) -> Any:
    """Return the names of data.yaml, a list or a mapping.

    A name must be a text, or a whole number that the file has in the usual form, such as 7. YAML reads yes and no as
    true and false, 007 as 7 and 1.0 as a number. Their texts would be other names than those that the file has.

    Raises:
        UserError: a name is such a value.
    """
    value, written = document.get("names"), read_yaml(file, as_text=True)[0].get("names")
    rows, texts = (list(names.values()) if isinstance(names, dict) else names if isinstance(names, list) else []
                   for names in (value, written))
    for name, text in zip(rows, texts):
        if not isinstance(name, str | list | dict) and (type(name) is not int or str(name) != text):
            raise UserError(f"{printable(file)}: names has {text or 'an empty value'}, which is {shown(name)} in YAML "
                            f"and no text. Write the name in quotes: {shown(text)}")
    return value


def _names(value: Any, source: str) -> list[str]:
    """Return the names of a list, or of a mapping from 0..N-1."""
    if isinstance(value, dict) and sorted(map(str, value)) == sorted(map(str, range(len(value)))):
        value = [value[key] for key in sorted(value, key=int)]
    # Bytes that are not UTF-8 have no place in a JSON file.
    rows = value if isinstance(value, list) and not any(isinstance(name, list | dict) for name in value) else []
    names = [str(name).encode(errors="surrogateescape").decode(errors="replace") for name in rows]
    if not names or len(set(names)) < len(names):
        raise UserError(f"{source}: names must be a list of different names, or a mapping of 0, 1, 2, ... to them; "
                        f"found {shown(value)}")
    return names


def _lines(file: Path) -> list[str]:
    text = read_bytes(file, MOST_BYTES).decode("utf-8-sig", "surrogateescape")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _splits(root: Path, document: dict[str, Any], report: Report) -> list[tuple[str, list[Path]]]:
    """Return the images of each split. Without splits in data.yaml they are those of the folders, or one, ""."""
    base = root / str(document.get("path") or "")
    found = []
    for split in SPLITS:
        values = document.get(split)
        places = [_place(base if exists(base) and base.is_dir() else root, root, str(value))
                  for value in (values if isinstance(values, list) else [values] if values else [])]
        if values and not any(places):
            report.notes.add("split that data.yaml names, and that is not there", f"{split}: {shown(values)}")
        if any(places):
            found.append((split, [image for place in places if place for image in _images(place, root)]))
    for split in [] if found else SPLITS:
        place = next((path for path in (root / f"images/{split}", root / f"{split}/images", root / split,
                                        root / f"{split}.txt") if path.exists()), None)
        if place:
            found.append((split, _images(place, root)))
    found = found or [("", _images(root / "images" if (root / "images").is_dir() else root, root))]
    if not any(images for _, images in found):
        raise UserError(f"{printable(root)} is in YOLO's layout, but has no images: looked for {', '.join(SPLITS)} as "
                        "data.yaml names them, images/SPLIT/, SPLIT/images/, SPLIT/ and SPLIT.txt")
    return found


def _place(base: Path, root: Path, value: str) -> Path | None:
    """Return a folder or list of data.yaml. Roboflow's files say ../train/images for train/images."""
    inner = value
    while inner.startswith(("../", "./")):
        inner = inner.partition("/")[2]
    return next((path for path in (base / value, root / value, root / inner) if exists(path)), None)


def _images(place: Path, root: Path) -> list[Path]:
    """Return the images of a folder and its subfolders, or of a list of paths."""
    if place.is_dir():
        return images_below(place)
    return [next((path for path in (root / line, place.parent / line) if exists(path)), root / line)
            for line in _lines(place)]


def _label_file(image: Path) -> Path:
    """Return the label file of an image: in labels/ where the image is in images/ (the last one), else beside it."""
    parts = list(image.parts)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            mirrored = Path(*parts[:index], "labels", *parts[index + 1:]).with_suffix(".txt")
            if mirrored.parent.is_dir():
                return mirrored
    return image.with_suffix(".txt")


def _report_shared(images: set[Path], report: Report) -> None:
    """Count images whose label file belongs to another image, too: 001.jpg and 001.png both have 001.txt."""
    first: dict[Path, Path] = {}
    for image in sorted(images):
        file = _label_file(image)
        other = first.setdefault(file, image)
        if other != image and is_file(file):
            report.defects.add("label file of two images: both kept with its boxes",
                               f"{file.name}: {printable(other.name)}, {printable(image.name)}")


def _picture(image: Path, split: str, names: list[str], report: Report) -> Picture | None:
    if not is_file(image):
        report.defects.add(MISSING, printable(image), lost=True)
        return None
    size = size_of(image, None, report)
    if size is None:
        return None
    file = _label_file(image)
    if not is_file(file):
        report.notes.add("image without label file: taken as an image without objects", str(image.name))
    boxes = []
    for position, line in enumerate(_lines(file) if is_file(file) else [], 1):
        box = _box(line.split(), names, size, f"{file.name} line {position}", report)
        boxes += [box] if box else []
    return make_picture(image, split, boxes, report, size=size)


def _box(words: list[str], names: list[str], size: tuple[int, int], place: str, report: Report) -> Box | None:
    index, values = whole(words[0]), [number(word) for word in words[1:]]
    found = [value for value in values if value is not None]
    text = f"{place}: {shown(' '.join(words))}"
    if index is None or None in values or len(found) != 4 and (len(found) < 6 or len(found) % 2):
        report.defects.add("label line that is not: class x y width height: left out", text)
    elif not 0 <= index < len(names):
        report.defects.add(f"class that is not from 0 to {len(names) - 1}: box left out", text)
    elif min(found) < -SLACK or max(found) > 1 + SLACK:
        report.defects.add("label line with numbers outside of 0..1 (pixels in place of parts?): left out", text)
    else:
        x1, y1, x2, y2 = found[0] - found[2] / 2, found[1] - found[3] / 2, found[0] + found[2] / 2, \
            found[1] + found[3] / 2
        if len(found) > 4:
            report.notes.add("outline: its bounds are taken as box", text)
            x1, y1, x2, y2 = min(found[::2]), min(found[1::2]), max(found[::2]), max(found[1::2])
        return Box(names[index], (x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1]))
    return None
