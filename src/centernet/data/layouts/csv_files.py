"""CSV: a row for each box, file,x1,y1,x2,y2,label in pixels, with or without a header.

x1 and y1 count from 0, and x2 and y2 are the edges behind the last pixel. A row with a file alone is an image without
objects. The splits are the files train.csv, val.csv, test.csv, or a column split.
"""
from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from centernet.data.defects import MISSING, Report
from centernet.data.layouts.form import Box, Imported, make_picture
from centernet.data.layouts.image_index import ImageIndex, note_unlabelled
from centernet.data.repair import number
from centernet.errors import UserError, printable, shown
from centernet.files import read_bytes

COLUMNS = ("file", "x1", "y1", "x2", "y2", "label")
OTHER_NAMES = {
    "filename": "file", "image": "file", "image_path": "file", "path": "file", "img": "file", "file_name": "file",
    "xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2", "class": "label", "name": "label", "class_name": "label",
    "category": "label", "set": "split"}
MOST_BYTES = 1 << 30


def evidence(root: Path) -> str:
    """Return what makes a folder, or a file, a data set of CSV files; "" if it is none."""
    return ", ".join(file.name for file in _files(root)[:3])


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix.lower() == ".csv" else []
    return [file for file in sorted(root.glob("*.csv")) if _columns(file)]


def read(root: Path, report: Report) -> Imported:
    """Read all rows of all files. Rows of one image need not follow each other."""
    folder = root.parent if root.is_file() else root
    index = ImageIndex(folder)
    boxes: dict[tuple[str, str], list[Box]] = {}
    for file in _files(root):
        of_file = file.stem.lower() if file.stem.lower() in ("train", "val", "valid", "test") else ""
        for place, row in _rows(file):
            name = row.get("file", "").strip()
            if not name:
                report.defects.add("row without a file: left out", f"{place}: {shown(row)}")
                continue
            found = boxes.setdefault((row.get("split", "").strip() or of_file, name), [])
            if any(row.get(key, "").strip() for key in COLUMNS[1:]):
                box = _box(row, place, report)
                found += [box] if box else []
    pictures = []
    for (split, name), rows in boxes.items():
        own = report.of(split)
        image = _image(name, folder, index, own)
        if image and (picture := make_picture(image, split, rows, own)):
            pictures.append(picture)
    note_unlabelled(index, pictures, report)
    names = tuple(sorted({box.label for picture in pictures for box in picture.boxes}))
    return Imported("csv", folder, tuple(pictures), names, report)


def _image(name: str, folder: Path, index: ImageIndex, report: Report) -> Path | None:
    try:
        if (folder / name).is_file():
            return folder / name
    except (OSError, ValueError):  # too long, or a byte 0
        report.defects.add(MISSING, name, lost=True)
        return None
    return index.find(name, folder, report, name)


def _columns(file: Path) -> list[str]:
    """Return the columns of a CSV file: those of its header, or COLUMNS. [] if it has others."""
    try:
        first = next(iter(_lines(file)), [])
    except UserError:
        return list(COLUMNS)  # read() says what is wrong
    header = [OTHER_NAMES.get(word.strip().lower(), word.strip().lower()) for word in first]
    if set(COLUMNS) <= set(header):
        return header
    plain = len(first) == len(COLUMNS) and (not any(first[1:]) or None not in map(number, first[1:5]))
    return list(COLUMNS) if plain else []


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    columns = _columns(file)
    if not columns:
        raise UserError(f"{printable(file)}: the first line must be file,x1,y1,x2,y2,label, or the first box in this "
                        "order")
    for position, row in enumerate(_lines(file), 1):
        named = dict(zip(columns, row))
        if position == 1 and not number(named.get("x1")) and named.get("x1", "").strip().lower() in (
                "x1", "xmin"):
            continue
        if any(word.strip() for word in row):
            yield f"{file.name} line {position}", named


def _lines(file: Path) -> Iterator[list[str]]:
    """Yield the rows of a file that has "," or ";" between the values."""
    text = read_bytes(file, MOST_BYTES).decode("utf-8-sig", "replace")
    first = text.partition("\n")[0]
    try:
        yield from csv.reader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ",")
    except csv.Error as error:
        raise UserError(f"{printable(file)} is not a CSV file: {error}") from error


def _box(row: dict[str, str], place: str, report: Report) -> Box | None:
    corners = [number(row.get(key, "").strip()) for key in COLUMNS[1:5]]
    label = row.get("label", "").strip()
    if None in corners or not label:
        report.defects.add("row without 4 numbers and a label: left out", f"{place}: {shown(list(row.values()))}")
        return None
    x1, y1, x2, y2 = (float(value or 0) for value in corners)
    return Box(label, (x1, y1, x2, y2))
