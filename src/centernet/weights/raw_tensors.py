"""Arrays from the bytes of a weight file, after a check of their numbers' type, shape and place."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Types of numbers by their names in safetensors files. NumPy has no bfloat16: it becomes float32.
DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
          "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}
MOST_AXES = 32
LONGEST_NAME = 1000


class WrongTensor(ValueError):
    """A tensor's description is impossible, or it does not fit to the bytes. The message says which part."""


def item_size(kind: str) -> int:
    """Return the bytes of one number of a type, a key of DTYPES. Raise WrongTensor for another type."""
    if kind not in DTYPES:
        raise WrongTensor(f"has numbers of the type {kind}, which this program does not read: save them as float32")
    return np.dtype(DTYPES[kind]).itemsize


def array_of(data: bytes | memoryview, kind: str, shape: Sequence[int], order: str = "<", offset: int = 0,
             strides: Sequence[int] | None = None) -> np.ndarray:
    """Return the array of a tensor: a view of the bytes; a copy for bfloat16.

    Args:
        data: the bytes that hold the tensor's numbers.
        kind: type of the numbers, a key of DTYPES.
        shape: size of each axis.
        order: "<" for little-endian numbers, ">" for big-endian numbers.
        offset: index of the first number.
        strides: distance of neighbours on each axis, in numbers; default: rows after rows without gaps.

    Raises:
        WrongTensor: the type is unknown, or the shape needs numbers that are not there or more than are there.
    """
    size = item_size(kind)
    shape = whole_numbers(shape, "shape")
    numbers = np.frombuffer(data, order + DTYPES[kind], count=len(data) // size)
    count = math.prod(shape)
    if strides is None:
        strides = [math.prod(shape[axis + 1:]) for axis in range(len(shape))]
    strides = whole_numbers(strides, "strides")
    (offset,) = whole_numbers([offset], "offset")
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides))
    if len(strides) != len(shape) or count > len(numbers) or (count and last >= len(numbers)):
        raise WrongTensor(f"has the shape {list(shape)}, which needs more numbers than the {len(numbers)} in its place")
    if not count:
        if max(shape) >= 1 << 32:
            raise WrongTensor(f"has the impossible shape {list(shape)}")
        values = np.zeros(shape, numbers.dtype)
    else:
        values = np.lib.stride_tricks.as_strided(numbers[offset:], shape, [step * size for step in strides],
                                                 writeable=False)
    if kind == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values if order == "<" else values.astype(values.dtype.newbyteorder("<"))


def whole_numbers(values: object, what: str) -> tuple[int, ...]:
    """Return whole numbers from 0 to 2^48, at most MOST_AXES. Raise WrongTensor for anything else."""
    if not isinstance(values, (list, tuple)) or len(values) > MOST_AXES:
        raise WrongTensor(f"has no list of at most {MOST_AXES} numbers as its {what}")
    if not all(type(value) is int and 0 <= value < 1 << 48 for value in values):
        raise WrongTensor(f"has a {what} with something else than whole numbers from 0 to 2^48")
    return tuple(values)


def require_name(name: str) -> str:
    """Return the name of a tensor. Raise WrongTensor if it is too long, or holds characters that no text can have."""
    if len(name) > LONGEST_NAME:
        raise WrongTensor(f"has a name of {len(name)} characters (at most {LONGEST_NAME})")
    if not name.isprintable():
        raise WrongTensor(f"has a name with characters that cannot be printed: {ascii(name[:80])}")
    return name
