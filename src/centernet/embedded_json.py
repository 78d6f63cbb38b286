"""JSON inside binary files: records in checkpoints, headers and metadata of models."""
from __future__ import annotations

import json
import math
from typing import Any

from centernet.errors import UserError

DEEPEST = 32


def parse_object(data: bytes | str, subject: str, remedy: str) -> dict[str, Any]:
    """Return the object of a JSON text with finite numbers, texts that can be encoded, and at most DEEPEST levels.

    Raises:
        UserError: it is not such a text. The message is "SUBJECT is not ...: what. REMEDY".
    """
    try:
        value = json.loads(data, parse_constant=_no_constant)
        if not isinstance(value, dict):
            raise ValueError(f"an object was expected, found {type(value).__name__}")
        _require_plain(value, DEEPEST)
    # ValueError: from the decoder of UTF-8, too.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{subject} is not valid JSON: {ascii(str(error))[1:-1][:120]}. {remedy[:1].upper()}"
                        f"{remedy[1:]}") from error
    return value


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a finite number")


def _require_plain(value: Any, levels: int) -> None:
    """Raise ValueError for nesting that is deeper than `levels`, infinite numbers, and lone surrogates."""
    if not levels:
        raise ValueError(f"more than {DEEPEST} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError("a whole number is too large")
    if isinstance(value, str):
        value.encode()
    for item in value if isinstance(value, list) else ():
        _require_plain(item, levels - 1)
    for key, item in value.items() if isinstance(value, dict) else ():
        key.encode()
        _require_plain(item, levels - 1)
