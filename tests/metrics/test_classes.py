"""Figures of classes, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from hepfm.metrics.classes import class_figures, confusion

NAMES = ("shower", "track", "Michel")


@given(
    st.lists(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2)), max_size=8), min_size=1, max_size=5)
)
def test_figures_are_those_of_scikit_learn(events):
    offsets = np.cumsum([0, *map(len, events)])
    rows = np.array([pair for event in events for pair in event], int).reshape(-1, 2)
    tables = confusion(rows[:, 0], rows[:, 1], offsets, 3)
    assert tables.shape == (len(events), 3, 3)
    assert tables.sum((1, 2)).tolist() == [sum(truth >= 0 for truth, _ in event) for event in events]
    truth, predicted = rows[rows[:, 0] >= 0].T
    figures = class_figures(tables.sum(0), NAMES)
    if not len(truth):
        assert figures == {}
        return
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    scores = precision_recall_fscore_support(truth, predicted, labels=[0, 1, 2], zero_division=np.nan)
    for index, name in enumerate(NAMES):
        for key, values in zip(("precision", "recall", "f1"), scores, strict=False):
            if np.isnan(values[index]):
                assert f"{key}/{name}" not in figures
            else:
                assert figures[f"{key}/{name}"] == pytest.approx(values[index])
    seen = sorted({*truth.tolist(), *predicted.tolist()})
    assert figures["macro_f1"] == pytest.approx(scores[2][seen].mean())
