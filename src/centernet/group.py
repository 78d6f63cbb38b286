"""Communication between the processes of a group, outside of the training graph.

The processes exchange only bytes, with AllGather of MindSpore's communication library. AllGather exists on every
device, works between servers without a shared folder, and nothing is unpickled.
"""
from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from centernet.documents import whole_number
from centernet.errors import UserError, shown

MOST_PROCESSES = 1 << 20  # a larger number in the environment is a mistake
TIME_OUT = 1200    # seconds that processes wait for each other while a group forms
WORD = 4           # bytes of an int32: the type that AllGather supports on every device
SHORTEST = 1024    # words of the shortest message


@dataclass(frozen=True)
class Group:
    """The position of this process among those that work together: rank 0..size-1."""

    rank: int = 0
    size: int = 1


ALONE = Group()


def launched_number(environment: Mapping[str, str], name: str, default: int = 0, lowest: int = 0) -> int:
    """Return the number in an environment variable that launchers set, such as RANK_ID.

    Args:
        environment: the variables of the process.
        name: the variable.
        default: its value if it is not set, or "".
        lowest: the smallest allowed number.

    Raises:
        UserError: it is not a number, too small, or above what a group can have.
    """
    text = environment.get(name) or str(default)
    number = whole_number(text, MOST_PROCESSES)
    if number is None or number < lowest:
        raise UserError(f"the environment variable {name} must be a number from {lowest} to {MOST_PROCESSES - 1}, "
                        f"found {shown(text)}: launchers such as msrun set it; without a launcher, unset it")
    return number


def gather(part: bytes, group: Group) -> list[bytes]:
    """Return the bytes of all ranks, in the order of the ranks.

    Every rank of the group must call this function. All ranks get the same list.

    Args:
        part: this rank's bytes, of any length.
        group: the group that this process joined (join_group), or ALONE.
    """
    size = group.size
    if size == 1:
        return [part]
    lengths = _all_gather(np.array([len(part)], np.int32))
    words = padded_words(int(lengths.max()))
    if not words:
        return [b""] * size
    padded = np.frombuffer(part.ljust(words * WORD, b"\0"), np.int32)
    rows = _all_gather(padded).reshape(size, words)
    return [row.tobytes()[:length] for row, length in zip(rows, lengths)]


def padded_words(length: int) -> int:
    """Return the number of words of a message with `length` bytes: 0, or a power of two from SHORTEST on.

    The device compiles a graph for each shape. With powers of two, messages of all lengths have few shapes.
    """
    words = -(-length // WORD)
    return max(SHORTEST, 1 << (words - 1).bit_length()) if words else 0


def from_first(value: Any, group: Group) -> Any:
    """Return the first rank's value on every rank. Every rank of the group must call this function.

    Args:
        value: a JSON value; only that of the first rank counts.
        group: as for gather.
    """
    return json.loads(gather(json.dumps(value).encode(), group)[0])


def require_agreement(values: dict[str, Any], group: Group) -> None:
    """Raise UserError on every rank unless all ranks have the same values.

    Args:
        values: JSON values by their names in the message; the same names on every rank.
        group: as for gather.
    """
    first, *others = [json.loads(text) for text in gather(json.dumps(values).encode(), group)]
    for name, value in first.items():
        for rank, theirs in enumerate(others, 1):
            if theirs[name] != value:
                raise UserError(f"the processes start differently: {name} is {value!r} on rank 0 and "
                                f"{theirs[name]!r} on rank {rank}. Give all of them the same flags, files and versions")


def _all_gather(words: np.ndarray) -> np.ndarray:
    """Return the words of all ranks, one after the other: int32 (N,) -> (size * N,)."""
    import mindspore as ms  # here, so that importing Group is fast

    return _all_gather_cell()(ms.Tensor(words)).asnumpy()


@functools.cache
def _all_gather_cell() -> Callable[[Any], Any]:
    """Return the cell that runs AllGather. One cell serves all calls, because each cell compiles its own graphs.

    Outside of a cell, collective operations have given trouble on Ascend: the project mindyolo wraps them in cells as
    a "workaround for sync_wait".
    """
    from mindspore import nn, ops

    class AllGather(nn.Cell):
        """AllGather as a graph."""

        def __init__(self):
            super().__init__()
            self.all_gather = ops.AllGather()

        def construct(self, words):
            return self.all_gather(words)

    return AllGather()
