"""Time of each stage of a detection, summed over all threads."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stage:
    """Calls of a stage and their seconds; those of the first call, which may compile, are part of them."""

    calls: int = 0
    seconds: float = 0.0
    first: float = 0.0


class StageClock:
    """Measures stages: `with clock("model"): ...`. Threads may use it at the same time.

    Attributes:
        stages: the measured stages by name, in the order of their first end.
    """

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        with self._lock:
            stage = self.stages.setdefault(name, Stage(first=spent))
            stage.calls += 1
            stage.seconds += spent
