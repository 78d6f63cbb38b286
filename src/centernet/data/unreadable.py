"""Images of a training that cannot be decoded: they are counted, named and replaced; too many of them end the run.

A shard of a long training may be damaged after its checksum was verified. One image of a million is no reason to stop.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np

from centernet.errors import UserError

LOG = logging.getLogger("centernet")
LARGEST_SHARE = 0.01  # of the images of a data set; one image is always allowed
UNREADABLE = -1       # value of reg_mask that marks a sample without an image


class UnreadableImage(UserError):
    """The file of an image cannot be decoded."""


class UnreadableImages:
    """Counts the images of a data set that cannot be decoded. Threads add them, the training's thread reports them.

    Args:
        num_images: number of images of the data set.
        strict: the first one ends the training.
    """

    def __init__(self, num_images: int, strict: bool = False):
        self.limit = 0 if strict else max(1, int(num_images * LARGEST_SHARE))
        self.num_images = num_images
        self.found: dict[int, str] = {}
        self.told = 0
        self.lock = threading.Lock()

    def add(self, number: int, message: str) -> None:
        """Count an image by its id. The same image in a later epoch does not count again."""
        with self.lock:
            self.found.setdefault(number, message)

    def report(self) -> None:
        """Log the new ones. Raise UserError if there are too many."""
        with self.lock:
            messages = list(self.found.values())
        if len(messages) > self.limit:
            raise UserError(messages[-1] if self.limit == 0 else
                            f"{len(messages)} of {self.num_images} images cannot be decoded, more than {self.limit} "
                            f"are too many; the last one: {messages[-1]}")
        for message in messages[self.told:]:
            LOG.warning("warning: %s. Another image of its batch is used in its place (--strict true: an error)",
                        message)
        self.told = len(messages)


def replace_unreadable(batch: tuple[np.ndarray, ...], mask: int) -> tuple[np.ndarray, ...]:
    """Replace each marked sample of a batch by the next one of the batch that is not marked.

    This depends on nothing but the batch, so a resumed run has the same images. If all samples are marked, they stay
    what they are: black images without objects.

    Args:
        batch: the columns, see pipeline.COLUMNS.
        mask: number of the column reg_mask.
    """
    marked = batch[mask][:, 0] == UNREADABLE
    if not marked.any():
        return batch
    size = len(marked)
    rows = [next((row % size for row in range(start, start + size) if not marked[row % size]), start)
            for start in range(size)]
    columns = [column[rows] for column in batch]
    columns[mask] = np.maximum(columns[mask], 0)
    return tuple(columns)


def marked_sample(columns: Sequence[np.ndarray], mask: int) -> tuple[np.ndarray, ...]:
    """Return a sample without objects as one that is to be replaced."""
    return tuple(np.full_like(column, UNREADABLE) if index == mask else column for index, column in enumerate(columns))
