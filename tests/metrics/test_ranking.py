"""Areas under ROC curves from histograms of scores, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepfm.metrics.ranking import roc, roc_auc, score_histogram


def scored(n=20_000, classes=3):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) * 2
    logits[np.arange(n), truth] += 1.5
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probability, truth, rng.integers(0, 30, n)


def test_areas_are_those_of_scikit_learn():
    probability, truth, event = scored()
    truth = np.where(truth == 2, -1, truth)  # not known: counts nowhere
    counts = score_histogram(probability, truth, event, 30)
    assert counts.shape == (30, 3, 2, 200)
    known = truth >= 0
    assert counts.sum() == 3 * known.sum()
    for which in (0, 1):
        wanted = roc_auc_score(truth[known] == which, probability[known, which])
        assert roc_auc(counts.sum(0)[which]) == pytest.approx(wanted, abs=1e-3)
    assert roc_auc(counts.sum(0)[2]) is None  # none of it is there


def test_a_curve_begins_at_none_and_ends_at_all():
    probability, truth, event = scored(500)
    background, signal = roc(score_histogram(probability, truth, event, 30).sum(0)[0])
    assert (background[0], signal[0], background[-1], signal[-1]) == (0, 0, 1, 1)
    assert (np.diff(signal) >= 0).all()
