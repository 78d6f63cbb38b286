"""Reading of MindSpore's checkpoint files (.ckpt) as arrays and texts, with a check of every size.

The format is a protocol buffer: Checkpoint { repeated Value = 1 }, Value { tag = 1, Tensor = 2 }, Tensor { repeated
dims = 1, type = 2, bytes = 3 }. MindSpore's own reader believes the dims: it returns memory behind the bytes if they
claim more, and it writes pages of log for a damaged file.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from centernet.weights.raw_tensors import WrongTensor, array_of, require_name

MOST_VALUES = 1_000_000
TYPES = {"Float32": "F32", "Float64": "F64", "Float16": "F16", "BFloat16": "BF16", "Bool": "BOOL",
         **{f"{prefix}Int{bits}": f"{short}{bits}" for prefix, short in (("", "I"), ("U", "U"))
            for bits in (8, 16, 32, 64)}}
TEXT = "str"  # a type of its own, in UTF-32
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields in protocol buffers


def parse_checkpoint(data: bytes | memoryview) -> dict[str, np.ndarray | str]:
    """Return all values of a checkpoint's bytes (without checksum): name -> array or text. bfloat16 becomes float32.

    Raises:
        ValueError: the bytes are not such a file. WrongTensor, a ValueError: a tensor has a wrong type or shape.
    """
    found: dict[str, np.ndarray | str] = {}
    pieces: list[memoryview] = []
    values = [_value(value) for field, value in _fields(memoryview(data)) if field == 1 and not isinstance(value, int)]
    if len(values) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values")
    for index, (name, kind, dims, content) in enumerate(values):
        pieces.append(content)
        if index + 1 < len(values) and values[index + 1][0] == name:
            continue  # MindSpore divides the bytes of large tensors into several values
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces = []
        if name in found:
            raise ValueError("two tensors with one name")
        try:
            found[require_name(name)] = _decoded(whole, kind, dims)
        except WrongTensor as error:
            raise WrongTensor(f"its tensor {ascii(name[:80])} {error}") from error
    if not found:
        raise ValueError("it has no tensors")
    return found


def _decoded(content: bytes | memoryview, kind: str, dims: list[int]) -> np.ndarray | str:
    if kind == TEXT:
        return bytes(content).decode("utf-32-le").rstrip("\0")
    shape = () if dims == [0] else tuple(dims)
    array = array_of(content, TYPES.get(kind, kind[:40]), shape)
    size = {"BFloat16": 2}.get(kind, array.itemsize)
    if array.size * size != len(content):
        raise WrongTensor(f"has the shape {list(shape)} of {kind}, but {len(content)} bytes")
    return array


def _value(data: memoryview) -> tuple[str, str, list[int], memoryview]:
    """Return name, type, dims and bytes of one value."""
    fields = dict(_fields(data))
    name, tensor = fields.get(1), fields.get(2)
    if not isinstance(name, memoryview) or not isinstance(tensor, memoryview):
        raise ValueError("a value without name or tensor")
    dims: list[int] = []
    kind, content = "", memoryview(b"")
    for field, value in _fields(tensor):
        if field == 1 and isinstance(value, int):
            dims.append(value)
        elif field == 1 and isinstance(value, memoryview):  # all in one, as newer programs write it
            place = 0
            while place < len(value):
                number, place = _varint(value, place)
                dims.append(number)
        elif field == 2 and isinstance(value, memoryview):
            kind = bytes(value).decode()
        elif field == 3 and isinstance(value, memoryview):
            content = value
    return bytes(name).decode(), kind, dims, content


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message. Raise ValueError at the first that is cut off or unknown."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        field, kind = tag >> 3, tag & 7
        if kind == VARINT:
            number, place = _varint(data, place)
            yield field, number
            continue
        if kind not in (FIXED64, BYTES, FIXED32):
            raise ValueError("a field of unknown kind")
        length, place = _varint(data, place) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}[kind], place)
        if length > len(data) - place:
            raise ValueError("a field that is longer than the file")
        yield field, data[place:place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("a number that is cut off")
