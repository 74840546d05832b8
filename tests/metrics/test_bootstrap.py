"""Intervals by drawing events again."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.metrics.bootstrap import intervals, redrawn


def mean(sums):
    return {"mean": float(sums["total"] / sums["count"])} if sums["count"] else {}


def test_the_interval_of_a_mean_is_its_standard_error():
    """Of events with one value each, drawing events again is drawing values again."""
    values = np.random.default_rng(7).exponential(3.0, 400)
    found = intervals({"total": values, "count": np.ones(400)}, mean, draws=4000)["mean"]
    error = values.std() / 20
    assert found == pytest.approx((values.mean() - error, values.mean() + error), abs=0.1 * error)


def test_rows_of_an_event_are_drawn_together():
    """Events of 100 equal rows tell no more than events of one."""
    values = np.random.default_rng(3).normal(size=100)
    one = intervals({"total": values, "count": np.ones(100)}, mean, level=0.95)
    many = intervals({"total": 100 * values, "count": np.full(100, 100.0)}, mean, level=0.95)
    assert many["mean"] == pytest.approx(one["mean"])


def test_intervals_come_back_with_the_seed_and_of_no_event_there_is_none():
    statistics = {"total": np.random.default_rng(5).normal(size=50), "count": np.ones(50)}
    assert intervals(statistics, mean, seed=3) == intervals(statistics, mean, seed=3)
    assert intervals(statistics, mean, seed=3) != intervals(statistics, mean, seed=4)
    assert intervals({"total": np.empty(0), "count": np.empty(0)}, mean) == {}


def test_two_models_on_the_same_events_are_compared_in_the_same_draws():
    """Events differ a lot, the models by a constant: their difference does not vary."""
    values = np.random.default_rng(9).normal(0, 10, 60)
    one, two = (redrawn({"total": v, "count": np.ones(60)}, mean)["mean"] for v in (values, values + 0.5))
    assert one.std() > 1
    np.testing.assert_allclose(two - one, 0.5)
