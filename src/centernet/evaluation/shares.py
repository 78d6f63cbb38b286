"""Division of an evaluation's images among processes, so that each process compiles few input sizes."""
from __future__ import annotations

from collections.abc import Hashable, Sequence


def divide(sizes: Sequence[Hashable], processes: int) -> list[list[int]]:
    """Divide images among processes; images of one input size stay together as far as possible.

    The rarest size comes first, and each size goes to the process with the fewest images. So every process gets about
    the same number of sizes, and the common sizes at the end fill up the rest. A size is split only where its process
    would get more images than its share. This happens at most processes - 1 times, so all processes together compile at
    most that many graphs more than there are sizes. To give only whole sizes would not be balanced: one size can have a
    third of all images.

    Args:
        sizes: the input size of each image. The order decides between equal choices, so all processes get the same
            result.
        processes: number of processes.

    Returns:
        For each process the indices of its images, size by size. The numbers of images differ by at most 1. If there is
        only one size, each process gets every processes-th image.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    count = len(sizes)
    if len(groups) == 1:
        return [list(range(process, count, processes)) for process in range(processes)]
    shares: list[list[int]] = [[] for _ in range(processes)]
    room = [count // processes + (process < count % processes) for process in range(processes)]
    for group in sorted(groups.values(), key=len):
        while group:
            least = min((process for process in range(processes) if room[process]), key=lambda i: len(shares[i]))
            taken, group = group[:room[least]], group[room[least]:]
            shares[least] += taken
            room[least] -= len(taken)
    return shares
