"""Ranges of activations, against histograms worked out by hand."""
import numpy as np
import pytest

from centernet.export.quantization.calibration import BINS, Observed, histogram, kl_bins, observe, value_range


def test_kl_cuts_off_a_rare_tail():
    # Keeping 4 bins: P = (40, 20, 10, 5 + 1) / 76, Q = (40, 20, 10, 5) / 75, sum P ln(P / Q) = 0.0011.
    # Keeping 8: steps of two bins, P = (40, 20, 10, 5, 1) / 76, Q = (30, 30, 7.5, 7.5, 1) / 76, 0.0559.
    assert kl_bins(np.array([40, 20, 10, 5, 0, 0, 0, 1]), levels=4) == 4


def test_kl_keeps_a_tail_that_matters():
    # Keeping 4 bins costs 70/135 ln(75/135) + 65/135 ln(65/135 / (5/75)) = 0.647, keeping 8 again 4.248/135 = 0.031.
    assert kl_bins(np.array([40, 20, 10, 5, 0, 0, 0, 60]), levels=4) == 8


def test_kl_keeps_everything_that_is_told_apart_at_no_loss():
    assert kl_bins(np.array([10, 10, 10, 10, 0, 0, 0, 1]), levels=4) == 8  # even within steps: no divergence at all


def test_minmax_takes_the_extremes_and_kl_does_not():
    values = np.abs(np.random.default_rng(0).normal(0, 1, 200_000))
    values[0] = 40.0  # one outlier: 8 bits over 40 have steps of 0.16, a sixth of the standard deviation
    seen = Observed(0.0, 40.0, histogram(values, 40.0))
    assert value_range(seen, "minmax", 0) == (0.0, 40.0)
    low, high = value_range(seen, "kl", 0)
    assert low == 0.0 and 4.5 < high < 6


def test_percentile_counts_absolute_values():
    seen = Observed(-4.0, 8.0, np.ones(BINS, np.int64))  # 2048 values, evenly up to 8
    assert value_range(seen, "percentile", 75.0) == (-4.0, 6.0)
    assert value_range(seen, "percentile", 25.0) == (-2.0, 2.0)
    assert value_range(seen, "percentile", 100.0) == (-4.0, 8.0)


def test_a_signed_tensor_has_half_the_levels_on_each_side():
    counts = (100_000 * 0.9 ** np.arange(BINS)).astype(np.int64)
    counts[-1] = 1
    assert value_range(Observed(-16.0, 16.0, counts), "kl", 0) == (-1.0, 1.0)  # 128 of 2048 bins, the fewest
    assert value_range(Observed(0.0, 16.0, counts), "kl", 0) == (0.0, 2.0)  # 256 of them


def test_a_tensor_of_zeros_has_an_empty_range():
    assert value_range(Observed(0.0, 0.0, histogram(np.zeros(5), 0.0)), "kl", 0) == (0.0, 0.0)


def test_zeros_are_not_counted():
    assert histogram(np.array([0.0, 0.0, -1.0, 0.5]), 1.0).sum() == 2


@pytest.mark.parametrize("max_bytes, runs", [(1000, 2 * 2), (100, 4 * 2), (1, 4 * 2)])
def test_tensors_are_looked_at_in_groups(max_bytes, runs):
    calls = []

    def run(names, images):
        calls.append(names)
        return [images * float(name) for name in names]

    def inputs():
        yield np.array([[1.0], [-2.0]]), 2
        yield np.array([[3.0], [99.0]]), 1  # 99 fills the batch up and does not count

    found = observe(run, inputs, dict.fromkeys(("1", "2"), 60), max_bytes)
    assert len(calls) == runs
    assert (found["1"].low, found["1"].high) == (-2.0, 3.0) and (found["2"].low, found["2"].high) == (-4.0, 6.0)
    assert all(seen.counts.sum() == 3 and seen.counts[-1] == 1 for seen in found.values())
