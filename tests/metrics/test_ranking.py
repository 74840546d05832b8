"""Areas under ROC curves from histograms of scores, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepfm.metrics.ranking import roc, roc_auc, score_histogram, told_apart


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


def test_scores_are_told_apart_as_scikit_learn_has_it_and_whole_events_are_drawn_again():
    rng = np.random.default_rng(2)
    signal, background = rng.normal(1, 1, 150).round(1), rng.normal(0, 1, 250).round(1)  # with ties
    ids = np.arange(400)
    given = (np.append(signal, np.nan), np.append(background, np.nan))
    found = told_apart(
        *given, signal_ids=np.append(ids[:150], 900), background_ids=np.append(ids[150:], 901), draws=2000
    )
    area = roc_auc_score(np.repeat([1, 0], (150, 250)), np.concatenate((signal, background)))
    assert found[0, 0] == pytest.approx(area)
    p = np.array([(1 + (background >= each).sum()) / 251 for each in signal])
    assert found[0, 1] == pytest.approx((p <= 0.05).mean())
    # The error of an area: Hanley and McNeil, Radiology 143 (1982) 29.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 149 * (q1 - area**2) + 249 * (q2 - area**2)) / 150 / 250)
    assert found[1:, 0].std() == pytest.approx(error, rel=0.15)
    # The same events on both sides are drawn together.
    twins = told_apart(background, background, signal_ids=ids[150:], background_ids=ids[150:], draws=20)
    assert twins[:, 0] == pytest.approx(0.5, abs=1e-12)
    assert np.isnan(told_apart(np.array([np.nan]), background)).all()
