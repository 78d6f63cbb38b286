"""Reading of safetensors files: a JSON header with type, shape and place of each tensor, then the bytes of all."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from centernet.documents import parse_object
from centernet.errors import UserError
from centernet.weights.raw_tensors import WrongTensor, array_of, item_size, whole_numbers

LARGEST_HEADER = 100_000_000  # the limit of the format's own library


def is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file of `size` bytes begins with the length of a JSON header and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read all tensors of a file: name -> array. bfloat16 becomes float32.

    Raises:
        UserError: the header is not one, or is of another length.
        WrongTensor: a tensor's type, shape or place is wrong.
    """
    data = path.read_bytes()
    length, subject = int.from_bytes(data[:8], "little"), f"--input {path} is cut off or is not a safetensors file"
    if len(data) < 10 or length > min(len(data) - 8, LARGEST_HEADER):
        raise UserError(f"{subject} ({len(data)} bytes): copy or download it again")
    header = parse_object(data[8:8 + length], f"{subject} ({len(data)} bytes): its header", "copy or download it again")
    header.pop("__metadata__", None)
    body, tensors, used = memoryview(data)[8 + length:], {}, 0
    for name, about in header.items():
        try:
            begin, end, kind, shape = _place(about)
            if end > len(body):
                raise UserError(f"{subject} ({len(data)} bytes): its tensors need {end} bytes, it has {len(body)}: "
                                "copy or download it again")
            if end - begin != math.prod(shape) * item_size(kind):
                raise WrongTensor(f"has {end - begin} bytes for the shape {list(shape)} of {kind}")
            used += end - begin
            tensors[name] = array_of(body[begin:end], kind, shape)
        except WrongTensor as error:
            raise UserError(f"--input {path}: its tensor {ascii(name[:80])} {error}") from error
    if used > len(body):
        raise UserError(f"{subject}: its tensors lie over each other. Copy or download it again")
    return tensors


def _place(about: Any) -> tuple[int, int, str, tuple[int, ...]]:
    """Return first byte, end, type and shape of a tensor from its part of the header."""
    if not isinstance(about, dict) or not isinstance(about.get("dtype"), str):
        raise WrongTensor("has no dtype in the file's header")
    places = whole_numbers(about.get("data_offsets"), "data_offsets")
    if len(places) != 2 or places[0] > places[1]:
        raise WrongTensor("has data_offsets that are not a first and a last byte")
    return *places, about["dtype"][:40], whole_numbers(about.get("shape"), "shape")
