"""Values of annotation files as other tools write them: whole numbers as 1.0 or "1", ids of any size or as text."""
from __future__ import annotations

import math
import zlib
from typing import Any

from centernet.data.defects import Report
from centernet.errors import shown

ID_LIMIT = 2**31  # ids of images must fit into the int32 of a shard
LARGEST = 1e9  # of a box's numbers; sums and areas of larger ones leave the range of float32
NUMBERS = frozenset({int, float})  # types of numbers; bool does not count
WRITTEN = "number written as text or with a decimal point: taken as the whole number"

ImageKey = int | str


def whole(value: Any) -> int | None:
    """Return the whole number of 7, 7.0, "7" or "7.0"; None for all else."""
    if type(value) is int:
        return value
    if type(value) is str:
        return _whole_of_text(value)
    return int(value) if type(value) is float and value.is_integer() else None


def _whole_of_text(text: str) -> int | None:
    digits = text.strip().removesuffix(".0")
    # Only the usual form: "007" can be a name beside "7".
    plain = len(digits) < 20 and digits.isascii() and digits.removeprefix("-").isdigit()
    return int(digits) if plain and str(int(digits)) == digits else None


def number(value: Any) -> float | None:
    """Return the finite number of a value or of its text; None for all else."""
    if type(value) is str and len(value) < 100:
        try:
            value = float(value)
        except ValueError:
            return None
    return value if type(value) in NUMBERS and is_finite(value) else None


def is_finite(value: float) -> bool:
    """Return whether a number is finite and in the range of float."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float
        return False


def image_key(value: Any) -> ImageKey | None:
    """Return what identifies an image: its whole number, or a text; None for all else."""
    found = whole(value)
    return value if found is None and type(value) is str and value else found


def number_images(rows: list[Any], report: Report) -> dict[ImageKey, tuple[int, dict[str, Any]]]:
    """Give each image a number that fits into int32. Entries without an id, or with the id of another, are left out.

    An id from 0 to 2147483647 is its own number. Others get the CRC-32 of their text, so that an image has the same
    number in every file; if that number is taken, the next free one.

    Returns:
        Key of the id -> number and entry, in the file's order.
    """
    keys = [image_key(row.get("id")) if isinstance(row, dict) else None for row in rows]
    taken = {key for key in keys if type(key) is int and 0 <= key < ID_LIMIT}
    images: dict[ImageKey, tuple[int, dict[str, Any]]] = {}
    for position, (key, row) in enumerate(zip(keys, rows)):
        if key is None:
            report.defects.add("image entry without id (a whole number or text)", f"entry {position}: {shown(row)}",
                               lost=True)
        elif key in images:
            report.defects.add("image id used twice, later entry left out",
                               f"id {shown(key)}: {shown(row.get('file_name'))}", lost=True)
        elif type(key) is int and 0 <= key < ID_LIMIT:
            images[key] = key, row
            if type(row["id"]) is not int:
                report.notes.add(WRITTEN, f"image id {shown(row['id'])}")
        else:
            images[key] = _free_number(key, taken), row
            taken.add(images[key][0])
            report.notes.add(f"image id that is not from 0 to {ID_LIMIT - 1}: replaced by a number in shards and "
                             "prepared sets", f"{shown(key)}: {images[key][0]}")
    return images


def _free_number(key: ImageKey, taken: set[int]) -> int:
    found = zlib.crc32(str(key).encode("utf-8", "surrogatepass")) % ID_LIMIT
    while found in taken:
        found = (found + 1) % ID_LIMIT
    return found


def box_defect(bbox: Any) -> str:
    """Return the defect of a box x, y, width, height of the file; "" if it is a list of 4 finite numbers."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not NUMBERS.issuperset(map(type, bbox)):
        return "annotation without a bbox of 4 numbers"
    if not all(map(is_finite, bbox)):
        return "box with NaN or infinite numbers"
    return f"box with numbers above {LARGEST:g}" if max(map(abs, bbox)) > LARGEST else ""


def repaired_box(bbox: Any) -> Any:
    """Return a box with numbers in place of their texts, if all texts are numbers; otherwise the box as it is."""
    if not isinstance(bbox, list) or str not in map(type, bbox):
        return bbox
    numbers = [number(value) for value in bbox]
    return bbox if None in numbers else numbers


def is_set(value: Any) -> bool:
    """Return whether a mark such as iscrowd is set: true, a number other than 0, or its text."""
    found = number(int(value) if type(value) is bool else value)
    return found is not None and found != 0
