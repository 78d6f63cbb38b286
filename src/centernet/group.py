"""What the processes that train or evaluate together tell each other outside of the training graph.

Only bytes are exchanged, by the AllGather of the group's own engine: it is there on every device and between servers
that share no folder, and nothing is unpickled.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from centernet.errors import UserError

WORD = 4  # bytes of an int32, the type that AllGather takes on every device


@dataclass(frozen=True)
class Group:
    """This process among those that work together: rank 0..size-1."""

    rank: int = 0
    size: int = 1


ALONE = Group()


def gather(part: bytes, group: Group) -> list[bytes]:
    """The parts of all ranks, in their order; every rank of the group must call it, and gets the same.

    Args:
        part: this rank's bytes, of any length.
        group: it must have been joined, unless this process is alone.
    """
    size = group.size
    if size == 1:
        return [part]
    import mindspore as ms  # late, so that importing Group costs nothing

    all_gather = ms.ops.AllGather()
    lengths = all_gather(ms.Tensor([len(part)], ms.int32)).asnumpy()
    words = -(-int(lengths.max()) // WORD)
    if not words:
        return [b""] * size
    padded = np.frombuffer(part.ljust(words * WORD, b"\0"), np.int32)
    rows = all_gather(ms.Tensor(padded)).asnumpy().reshape(size, words)
    return [row.tobytes()[:length] for row, length in zip(rows, lengths)]


def require_agreement(values: dict[str, Any], group: Group) -> None:
    """Raise UserError on every rank unless all have the same values.

    Args:
        values: plain JSON values by the names that a user knows them by; the same names on every rank.
        group: as for gather.
    """
    first, *others = [json.loads(text) for text in gather(json.dumps(values).encode(), group)]
    for name, value in first.items():
        for rank, theirs in enumerate(others, 1):
            if theirs[name] != value:
                raise UserError(f"the processes do not start alike: {name} is {value!r} on rank 0 and "
                                f"{theirs[name]!r} on rank {rank}. Give all of them the same flags, files and versions")
