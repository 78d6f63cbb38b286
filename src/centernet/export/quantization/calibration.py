"""Ranges of activations for 8-bit quantisation: what a float model gives on real images, and where to cut it off."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BINS = 2048       # of the histogram of a tensor's absolute values
LEVELS = 256      # of an 8-bit number
MAX_BYTES = 1 << 29  # of activations that are looked at in one run of the model

Run = Callable[[Sequence[str], np.ndarray], list[np.ndarray]]  # tensors, images (B,3,H,W) -> their values
Inputs = Callable[[], Iterable[tuple[np.ndarray, int]]]        # -> images (B,3,H,W), and how many of them count


@dataclass
class Observed:
    """One tensor's values over all calibration images.

    counts are of the absolute values in BINS bins of equal width up to the largest one. Exact zeros are left
    out: they stay zeros at any scale, and after a ReLU they would outnumber everything else.
    """

    low: float
    high: float
    counts: np.ndarray

    @property
    def top(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)


def observe(run: Run, inputs: Inputs, sizes: dict[str, int], max_bytes: int = MAX_BYTES) -> dict[str, Observed]:
    """Look at tensors while a model runs, in two passes: their extremes first, then their histograms.

    Args:
        run: the float model.
        inputs: called for each pass.
        sizes: tensor -> its bytes in one run; tensors are looked at in groups of at most max_bytes.
    """
    found = {}
    for names in _groups(sizes, max_bytes):
        extremes = dict.fromkeys(names, (0.0, 0.0))  # zero is in every range, as it must be representable
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
    """Counts (BINS,) int64 of the non-zero absolute values, up to top."""
    absolute = np.abs(values[values != 0])
    return np.histogram(absolute, BINS, (0, top))[0] if top > 0 else np.zeros(BINS, np.int64)


def value_range(observed: Observed, method: str, percentile: float) -> tuple[float, float]:
    """The range (low, high) that 8 bits are spread over; values outside are cut off to it.

    Args:
        observed: a tensor's values.
        method: "minmax" keeps all values, "percentile" this share of the non-zero absolute values, "kl" cuts
            where the 8-bit distribution tells least apart from the float one, see kl_bins.
        percentile: in percent, for that method.
    """
    if method == "minmax" or not observed.counts.any():
        kept = BINS
    elif method == "percentile":
        share = np.cumsum(observed.counts) / observed.counts.sum()
        kept = int(np.searchsorted(share, percentile / 100)) + 1
    else:
        # A signed tensor spends half of its levels on each side.
        kept = kl_bins(observed.counts, LEVELS // 2 if observed.low < 0 else LEVELS)
    threshold = observed.top * min(kept, BINS) / BINS
    return max(observed.low, -threshold), min(observed.high, threshold)


def kl_bins(counts: np.ndarray, levels: int) -> int:
    """How many of the first bins to keep, by Kullback-Leibler divergence (Migacz, 8-bit inference, GTC 2017).

    For each candidate, P is the distribution cut off after so many bins, what lies beyond added to its last bin
    that is not empty; Q is the distribution of the kept bins alone at a resolution of `levels` equal steps, each
    spread evenly over its bins that are not empty. The candidate with the least sum P log(P / Q) wins, the
    smaller one among equals.

    Args:
        counts: (bins,) of absolute values.
        levels: steps that the kept bins are squeezed into; at least so many bins are kept.
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
