"""Threads of this process in the place of a group's processes (`from tests.threads_as_ranks import together`)."""
import threading

import numpy as np

from centernet import group
from centernet.group import Group


def together(monkeypatch, size, work):
    """Run work(Group(rank, size)) in one thread for each rank.

    Returns:
        What each rank returned or raised, in the order of the ranks, and the lengths of all messages in words.
    """
    barrier, place, rows, lengths = threading.Barrier(size, timeout=10), threading.local(), [None] * size, set()

    def all_gather(words):
        rows[place.rank] = words
        barrier.wait()
        assert len({row.shape for row in rows}) == 1 and words.dtype == np.int32  # what AllGather demands
        lengths.add(words.size)
        result = np.concatenate(rows)
        barrier.wait()
        return result

    def run(rank):
        place.rank = rank
        try:
            results[rank] = work(Group(rank, size))
        except Exception as error:
            results[rank] = error

    monkeypatch.setattr(group, "_all_gather", all_gather)
    results = [None] * size
    threads = [threading.Thread(target=run, args=[rank]) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, lengths
