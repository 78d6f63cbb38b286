"""The Ascend devices of this server, and the numbers by which a process knows them.

A device file has the server's number of the device, also in a container: /dev/davinci4 and /dev/davinci5. But CANN
counts the devices that a process sees from 0, so there they are the devices 0 and 1. ASCEND_RT_VISIBLE_DEVICES selects
some of these devices, and they are counted from 0 again. (ASCEND_VISIBLE_DEVICES is not read here: it only tells the
container runtime which device files to put into a container.)
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from centernet.errors import UserError, shown

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"


def ascend_devices() -> list[int]:
    """Return the numbers N of the files /dev/davinciN, in ascending order."""
    return sorted(int(path.name[7:]) for path in Path("/dev").glob("davinci*") if path.name[7:].isdecimal())


def visible_devices(files: Sequence[int], variable: str) -> tuple[int, ...]:
    """Return the file number of each device that a process sees: of device 0, device 1, ...

    Args:
        files: numbers of the device files in ascending order.
        variable: value of ASCEND_RT_VISIBLE_DEVICES; "" if it is not set.

    Raises:
        UserError: CANN would ignore a part of the value. (It stops reading at the first character or number that it
            does not expect, without an error.)
    """
    if not variable or not files:
        return tuple(files)
    found = f"{VISIBLE} is {shown(variable)}"
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", variable):
        raise UserError(f"{found}, but it must be numbers with commas between them and no spaces, such as 0,1")
    numbers = [int(word) for word in variable.split(",")]
    if numbers != sorted(set(numbers)):
        raise UserError(f"{found}, but the numbers must be in ascending order, each of them once")
    if numbers[-1] >= len(files):
        raise UserError(f"{found}, but there {'are' if len(files) > 1 else 'is'} only {len(files)} "
                        f"device{'s' * (len(files) > 1)}: its numbers must be below {len(files)}")
    return tuple(files[number] for number in numbers)


def describe_numbers(visible: Sequence[int], variable: str) -> str:
    """Return a text that tells which device files have the numbers 0, 1, ..., if they are not the same numbers."""
    if list(visible) == list(range(len(visible))) and not variable:
        return ""
    named = ", ".join(f"{index} is /dev/davinci{number}" for index, number in enumerate(visible))
    return f" ({named}{f', because {VISIBLE} is {variable}' if variable else ''})"
