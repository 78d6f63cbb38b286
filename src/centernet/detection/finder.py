"""Detection as the user of `infer` asks for it: by tiles, of chosen classes, with a largest number."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centernet.categories import Categories
from centernet.config.near_flags import nearest
from centernet.detection.detector import Detector
from centernet.detection.result import Result, result_of
from centernet.detection.tiles import detect_tiles
from centernet.errors import UserError, printable, without_commas
from centernet.interrupt import stop_if_interrupted


@dataclass(frozen=True)
class Finder:
    """A detector with choices that do not concern the model.

    Attributes:
        detector: its score_thresh is the lowest score of a Result.
        classes: the classes to keep; () keeps all.
        tile: side of the tiles in pixels; 0: the whole image at once.
        overlap: see tiles.tile_windows.
        most: largest number of boxes of an image; 0: what the detector gives, or all of its tiles.
    """

    detector: Detector
    classes: tuple[int, ...] = ()
    tile: int = 0
    overlap: float = 0.2
    most: int = 0

    @property
    def score_thresh(self) -> float:
        """Return the lowest score of a Result."""
        return self.detector.settings.score_thresh

    def find(self, image: np.ndarray) -> tuple[Result, float]:
        """Detect objects in an image, (h, w, 3) uint8 BGR.

        Returns:
            The Result, and the highest score of all boxes of the chosen classes, also below score_thresh (0 without a
            box).

        Raises:
            UserError: the model's output is not finite.
        """
        whole = not self.tile or max(image.shape[:2]) <= self.tile
        rows = self.detector.rows(image) if whole else detect_tiles(self._above, image, self.tile, self.overlap)
        if self.classes:
            rows = rows[np.isin(rows[:, 5], self.classes)]
        result = result_of(rows[:self.most] if self.most else rows, image, self.detector.spec.categories,
                           self.score_thresh)
        return result, float(rows[:, 4].max(initial=0))

    def _above(self, image: np.ndarray) -> np.ndarray:
        """Return the boxes of a tile that can be in a Result, and the best one: thousands of weak ones take time."""
        stop_if_interrupted()
        rows = self.detector.rows(image)
        return rows[(rows[:, 4] >= self.score_thresh) | (np.arange(len(rows)) == 0)]


def chosen_classes(words: Sequence[str], categories: Categories) -> tuple[int, ...]:
    """Return the classes for the names or category ids of --classes, in the order of the classes.

    Raises:
        UserError: a word is neither a name nor an id of the model's categories.
    """
    lowered = {name.lower(): index for index, name in enumerate(categories.names)}
    by_id = {str(number): index for index, number in enumerate(categories.ids)}
    found = set()
    for word in words:
        index = next((known[key] for known, key in ((lowered, word.lower()), (by_id, word)) if key in known), None)
        if index is None:
            listed = ", ".join(f"{printable(name)} ({number})" for name, number in
                               list(zip(categories.names, categories.ids))[:100])
            raise UserError(f"--classes {printable(word)}: the model has no category with this name or id. It has "
                            f"{listed}{without_commas(word) or nearest(word[:80], categories.names)}")
        found.add(index)
    return tuple(sorted(found))
