"""Calibration of 8-bit quantisation: observe the activations of a float model on images, and choose their ranges."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BINS = 2048       # bins in the histogram of a tensor's absolute values
LEVELS = 256      # values of an 8-bit number
MAX_BYTES = 1 << 29  # size of the activations that are observed in one run of the model

Run = Callable[[Sequence[str], np.ndarray], list[np.ndarray]]  # names of tensors, images (B,3,H,W) -> their values
Inputs = Callable[[], Iterable[tuple[np.ndarray, int]]]        # -> images (B,3,H,W), how many are no padding


@dataclass
class Observed:
    """The values of one tensor over all calibration images.

    counts is a histogram of the absolute values with BINS bins of equal width, up to the largest value. It does not
    include exact zeros: they stay zero at any scale, and after a ReLU they would be the majority.
    """

    low: float
    high: float
    counts: np.ndarray

    @property
    def top(self) -> float:
        """Return the largest absolute value."""
        return max(-self.low, self.high)


def observe(run: Run, inputs: Inputs, sizes: dict[str, int], max_bytes: int = MAX_BYTES) -> dict[str, Observed]:
    """Observe tensors while a model runs, in two passes: first their minima and maxima, then their histograms.

    Args:
        run: the float model.
        inputs: called for each pass.
        sizes: tensor -> its bytes in one run.
        max_bytes: tensors are observed in groups of at most this size.
    """
    found = {}
    for names in _groups(sizes, max_bytes):
        extremes = dict.fromkeys(names, (0.0, 0.0))  # every range includes zero, because padding needs an exact zero
        for name, values in _values(run, inputs, names):
            low, high = extremes[name]
            extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
        for name in names:
            found[name] = Observed(*extremes[name], np.zeros(BINS, np.int64))
        for name, values in _values(run, inputs, names):
            found[name].counts += histogram(values, found[name].top)
    return found


def _groups(sizes: dict[str, int], max_bytes: int) -> Iterator[list[str]]:
    group: list[str] = []
    for name in sizes:
        if group and sum(sizes[member] for member in group) + sizes[name] > max_bytes:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _values(run: Run, inputs: Inputs, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    for images, count in inputs():
        for name, values in zip(names, run(names, images)):
            yield name, values[:count]


def histogram(values: np.ndarray, top: float) -> np.ndarray:
    """Return the histogram (BINS,) int64 of the non-zero absolute values, up to top."""
    absolute = np.abs(values[values != 0])
    return np.histogram(absolute, BINS, (0, top))[0] if top > 0 else np.zeros(BINS, np.int64)


def value_range(observed: Observed, method: str, percentile: float) -> tuple[float, float]:
    """Return the range (low, high) of the 8-bit values. Values outside of it are clipped.

    Args:
        observed: a tensor's values.
        method: "minmax" keeps all values. "percentile" keeps this percentage of the non-zero absolute values. "kl"
            clips where the 8-bit distribution differs least from the float distribution, see kl_bins.
        percentile: for method "percentile", in percent.
    """
    if method == "minmax" or not observed.counts.any():
        kept = BINS
    elif method == "percentile":
        fraction = np.cumsum(observed.counts) / observed.counts.sum()
        kept = int(np.searchsorted(fraction, percentile / 100)) + 1
    else:
        # A signed tensor has half of its levels on each side of zero.
        kept = kl_bins(observed.counts, LEVELS // 2 if observed.low < 0 else LEVELS)
    threshold = observed.top * min(kept, BINS) / BINS
    return max(observed.low, -threshold), min(observed.high, threshold)


def kl_bins(counts: np.ndarray, levels: int) -> int:
    """Return the number of bins to keep, by Kullback-Leibler divergence (Migacz, 8-bit inference, GTC 2017).

    Each candidate keeps a number of first bins. P is the distribution of the kept bins, with the counts of all other
    bins added to its last non-empty bin. Q is the distribution of the kept bins without these counts, reduced to
    `levels` equal steps; the count of a step is distributed evenly over its non-empty bins. The result is the candidate
    with the smallest sum of P log(P / Q), of equal candidates the smallest number.

    Args:
        counts: (bins,) histogram of absolute values.
        levels: number of steps; also the smallest number of bins to keep.
    """
    counts = counts.astype(np.float64)
    candidates = range(min(levels, len(counts)), len(counts) + 1)
    return min(candidates, key=lambda kept: _divergence(counts[:kept], counts[kept:].sum(), levels))


def _divergence(kept: np.ndarray, beyond: float, levels: int) -> float:
    filled = np.flatnonzero(kept)
    if not len(filled):
        return np.inf
    p = kept[filled]
    steps = filled * levels // len(kept)
    starts = np.flatnonzero(np.diff(steps, prepend=-1))
    bins_of_step = np.diff(starts, append=len(filled))
    q = np.repeat(np.add.reduceat(p, starts) / bins_of_step, bins_of_step) / p.sum()
    p = p.copy()
    p[-1] += beyond
    p /= p.sum()
    return float(np.sum(p * np.log(p / q)))
