"""Reader of info files: PREFIX.info.json, which describes the shards of a data set."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from centernet.errors import UserError, sentence
from centernet.files import read_json
from centernet.json_value import JsonValue
from centernet.program import convert_again

INFO = ".info.json"     # how its name ends
MOST_BYTES = 1 << 28  # of an info file, or of the index of a prepared set: 20 million images
KEYS = ("complete", "categories", "files", "image_ids")


def info_path(folder: Path, prefix: str) -> Path:
    """Return the path of a data set's info file."""
    return folder / f"{prefix}{INFO}"


def read_info(path: Path, needed: tuple[str, ...] = KEYS) -> dict[str, Any]:
    """Read the info file of a data set. The rows of `files` and `image_ids` are checked.

    Args:
        path: the file.
        needed: the keys that it must have.

    Raises:
        UserError: it is not readable, a value is of another form, or the data set is not complete.
    """
    info = read_json(path, remedy=sentence(convert_again()), most=MOST_BYTES)  # the remedy is a sentence of its own
    if info.get("complete") is False:
        raise UserError(f"{path}: a conversion was interrupted while it replaced the shards; {convert_again()}")
    missing = [key for key in needed if key not in info]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {convert_again()}")
    root = JsonValue(info, str(path), convert_again())
    root["complete"].boolean()
    if not root["files"].items():
        root["files"].fail("must name the shards")
    _check_files(root["files"].items())
    if "image_ids" in needed:
        _check_ids(root["image_ids"])
    return info


def _check_ids(ids: JsonValue) -> None:
    if not isinstance(ids.value, list) or not {int}.issuperset(map(type, ids.value)):
        for number in ids.items():
            number.whole()


def _check_files(rows: list[JsonValue]) -> None:
    for row in rows:
        name = row["name"].text()
        if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
            row["name"].fail("must be the name of a file in the same folder")
        row["size"].whole(0)
        row["sha256"].text()
