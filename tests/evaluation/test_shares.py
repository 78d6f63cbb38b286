"""Which process of an evaluation gets which images."""
from itertools import chain

import numpy as np
import pytest

from centernet.evaluation.shares import divide

# Like COCO: a common size, and a long tail of rare ones.
LONG_TAIL = [40, 25, 10, *[3] * 5, *[1] * 12]


def sizes_of(counts, seed=0):
    sizes = [size for size, count in enumerate(counts) for _ in range(count)]
    return [sizes[index] for index in np.random.default_rng(seed).permutation(len(sizes))]


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 200])
@pytest.mark.parametrize("counts", [LONG_TAIL, [10] * 9, [1, 100], [7], [2, 2]])
def test_every_image_once_and_balanced_with_few_compilations(counts, processes):
    sizes = sizes_of(counts)
    shares = divide(sizes, processes)
    assert len(shares) == processes and sorted(chain(*shares)) == list(range(len(sizes)))
    assert {len(share) for share in shares} <= {len(sizes) // processes, -(-len(sizes) // processes)}
    compilations = [len({sizes[index] for index in share}) for share in shares]
    if len(counts) > 1:
        assert sum(compilations) <= len(counts) + processes - 1
    for share in shares:  # the images of one size follow each other
        changes = sum(sizes[one] != sizes[other] for one, other in zip(share, share[1:]))
        assert changes == max(len({sizes[index] for index in share}) - 1, 0)


def test_rare_sizes_are_spread_over_the_processes():
    sizes = sizes_of(LONG_TAIL)
    compilations = [len({sizes[index] for index in share}) for share in divide(sizes, 4)]
    assert max(compilations) <= 7  # of 20 sizes
    # To divide the images without their sizes would compile nearly all of them everywhere.
    assert sum(len({sizes[index] for index in range(rank, len(sizes), 4)}) for rank in range(4)) > 35
    assert sum(compilations) <= 23


def test_images_of_one_size_are_dealt_in_turn():
    assert divide(["a"] * 5, 2) == [[0, 2, 4], [1, 3]] and divide(["a"], 2) == [[0], []]
