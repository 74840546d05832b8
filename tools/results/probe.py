# ruff: noqa: INP001
"""Linear probes on frozen features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = np.ndarray[Any, Any]


def classify(train: Array, classes: Array, test: Array, *, strength: float = 1.0) -> Array:
    """``(M,)`` classes of test features ``(M, D)``: logistic regression on standardised features.

    Args:
        train: ``(N, D)``.
        classes: ``(N,)``.
        test: ``(M, D)``.
        strength: scikit-learn's C. It is fixed, not chosen by a result.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000))
    found: Array = probe.fit(train, classes).predict(test)
    return found


def regress(train: Array, values: Array, test: Array, *, shrink: float = 10.0) -> Array:
    """``(M,)`` or ``(M, K)`` values of test features: ridge regression on standardised features."""
    probe = make_pipeline(StandardScaler(), Ridge(alpha=shrink))
    found: Array = probe.fit(train, values).predict(test)
    return found
