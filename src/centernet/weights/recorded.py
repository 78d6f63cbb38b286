"""Checks of the settings that a checkpoint's record holds, before they build a network."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from centernet.config.declared import SETTINGS
from centernet.config.values import CANNOT, convert, plain, type_name

LARGEST_NUMBER = 16_384  # channels, blocks, sides in pixels; a wrong one must not take all memory


def checked(section: str, values: Any) -> dict[str, Any]:
    """Return recorded settings of a section as JSON values. Settings that this program does not know stay.

    Args:
        section: net_config or eval_config.
        values: setting -> value.

    Raises:
        ValueError: a value has another type than the setting, or is not allowed for it. The message says which.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{section} must be an object, found {type(values).__name__}")
    return {key: _checked(f"{section}.{key}", value) for key, value in values.items()}


def _checked(name: str, value: Any) -> Any:
    declared = SETTINGS.get(name)
    if declared is None:
        return value
    try:
        typed = convert(declared.kind, value)
    except (*CANNOT, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} must be {type_name(declared.kind)}, found {_short(value)}") from error
    if declared.choices and typed not in declared.choices:
        raise ValueError(f"{name} must be one of {', '.join(declared.choices)}; found {_short(value)}")
    if declared.limits and not declared.limits.hold(typed):
        raise ValueError(f"{name} must {declared.limits.wanted}, found {_short(value)}")
    numbers = typed if isinstance(typed, tuple) else (typed,)
    # Settings of an evaluation build no network. Training accepts larger ones, so their checkpoints must be readable.
    if not name.startswith("eval_config.") and any(
            isinstance(number, (int, float)) and not abs(number) <= LARGEST_NUMBER for number in numbers):
        raise ValueError(f"{name} must be at most {LARGEST_NUMBER}, found {_short(value)}")
    return plain(typed)


def _short(value: Any) -> str:
    return ascii(value)[:60]
