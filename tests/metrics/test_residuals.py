"""Histograms of residuals that add up, against numpy's and scipy's quantiles of all values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepfm.metrics.residuals import (
    histogram,
    in_bins,
    logarithmic,
    quantile,
    residual_figures,
    two_sided,
)


def drawn(n=40_000):
    rng = np.random.default_rng(0)
    return stats.t(df=4, loc=0.3, scale=2.0).rvs(n, random_state=rng), rng.integers(0, 50, n)


def test_histograms_of_events_add_up_to_that_of_all():
    values, event = drawn()
    edges = two_sided(1e-3, 1e3)
    counts = histogram(values, event, 50, edges)
    assert counts.shape == (50, len(edges) + 1)
    np.testing.assert_array_equal(counts.sum(0)[1:-1], np.histogram(values, edges)[0])
    np.testing.assert_array_equal(counts.sum(1), np.bincount(event, minlength=50))


@pytest.mark.parametrize("q", [0.05, 0.16, 0.5, 0.84, 0.95])
def test_quantiles_are_those_of_the_values(q):
    values, event = drawn()
    edges = two_sided(1e-3, 1e3)
    counts = histogram(values, event, 50, edges).sum(0)
    assert quantile(counts, edges, q) == pytest.approx(np.quantile(values, q), rel=0.01)
    distances = logarithmic(1e-2, 1e3)
    counts = histogram(np.abs(values), event, 50, distances).sum(0)
    assert quantile(counts, distances, q) == pytest.approx(np.quantile(np.abs(values), q), rel=0.01)


def test_bias_and_resolution_are_those_of_the_distribution():
    values, event = drawn()
    edges = two_sided(1e-3, 1e3)
    found = residual_figures(histogram(values, event, 50, edges).sum(0), edges)
    low, high = stats.t(df=4, loc=0.3, scale=2.0).interval(0.682689)
    assert found["bias"] == pytest.approx(0.3, abs=0.03)
    assert found["resolution"] == pytest.approx((high - low) / 2, rel=0.02)


def test_what_is_not_there_or_beyond_is_said_so():
    edges = np.array([0.0, 1, 2])
    counts = histogram(np.array([np.nan, -5, 0, 1.5, 2, 7]), np.zeros(6, int), 1, edges)
    np.testing.assert_array_equal(counts, [[1, 1, 1, 2]])
    assert [quantile(counts[0], edges, q) for q in (0.1, 0.9)] == [0, 2]
    assert np.isnan(quantile(np.zeros(4), edges, 0.5))
    assert residual_figures(np.zeros(4), edges) == {}
    np.testing.assert_array_equal(in_bins(np.array([-1, 0, 1.5, 2, np.nan]), edges), [-1, 0, 1, -1, -1])
