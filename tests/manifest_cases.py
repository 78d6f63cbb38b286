"""The rules of manifests (tests/data/manifest_cases.json), which the readers in Python and in C++ share."""
import json
from pathlib import Path

DOCUMENT = json.loads((Path(__file__).parent / "data" / "manifest_cases.json").read_text())
CASES = DOCUMENT["cases"]


def manifest_text(case, digest):
    """The text of the good manifest with the changes of a case, for a model file of this SHA-256."""
    return as_json({**DOCUMENT["good"], "sha256": digest}, case["change"])


def as_json(value, change, place=""):
    """The JSON text of a value, with the changes of a case."""
    if change.get(place):
        return change[place]
    if isinstance(value, dict):
        added = {key: None for key in change if not place and "." not in key and key not in value}
        rows = [(key, as_json(item, change, f"{place}.{key}".lstrip("."))) for key, item in {**value, **added}.items()
                if change.get(f"{place}.{key}".lstrip("."), "") is not None]
        return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in rows) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_json(item, change, f"{place}.{key}") for key, item in enumerate(value)) + "]"
    return json.dumps(value)
