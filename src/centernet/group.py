"""Communication between the processes of a group, outside of the training graph.

The processes exchange only bytes, with AllGather of MindSpore's communication library. AllGather exists on every
device, works between servers without a shared folder, and nothing is unpickled.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from centernet.errors import UserError

WORD = 4  # bytes of an int32: the type that AllGather supports on every device


@dataclass(frozen=True)
class Group:
    """The position of this process among those that work together: rank 0..size-1."""

    rank: int = 0
    size: int = 1


ALONE = Group()


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
    import mindspore as ms  # here, so that importing Group is fast

    all_gather = ms.ops.AllGather()
    lengths = all_gather(ms.Tensor([len(part)], ms.int32)).asnumpy()
    words = -(-int(lengths.max()) // WORD)
    if not words:
        return [b""] * size
    padded = np.frombuffer(part.ljust(words * WORD, b"\0"), np.int32)
    rows = all_gather(ms.Tensor(padded)).asnumpy().reshape(size, words)
    return [row.tobytes()[:length] for row, length in zip(rows, lengths)]


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
