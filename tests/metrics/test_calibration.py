"""Calibration from bins that add up, against a sum over rows and scikit-learn's curve."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from hepfm.metrics.calibration import expected_calibration_error, reliability


def test_bins_are_those_of_scikit_learn_and_the_error_follows():
    rng = np.random.default_rng(2)
    n = 5000
    probability = rng.dirichlet((1.0, 1.0, 0.5), n)
    truth = np.array([rng.choice(3, p=p**2 / (p**2).sum()) for p in probability])  # too cautious
    event = rng.integers(0, 20, n)
    sums = reliability(probability, truth, event, 20).sum(0)
    confidence, right = probability.max(1), probability.argmax(1) == truth
    share, mean = calibration_curve(right, confidence, n_bins=15)
    there = sums[0] > 0
    np.testing.assert_allclose(sums[2][there] / sums[0][there], share)
    np.testing.assert_allclose(sums[1][there] / sums[0][there], mean)
    weights = sums[0][there] / n
    assert expected_calibration_error(sums) == pytest.approx((weights * np.abs(share - mean)).sum())
    assert expected_calibration_error(sums) > 0.05


def test_rows_whose_class_is_not_known_count_nowhere():
    sums = reliability(np.array([[0.9, 0.1], [1.0, 0.0]]), np.array([-1, 0]), np.array([0, 1]), 3)
    np.testing.assert_array_equal(sums.sum(2), [[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert expected_calibration_error(sums[0]) is None
