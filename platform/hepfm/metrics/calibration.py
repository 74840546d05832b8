"""Whether a predicted probability is how often it comes true (Guo et al., arXiv:1706.04599).

Legend of shapes: N rows, B events, C classes, H bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 15


def reliability(probability: Array, truth: Array, event: Array, events: int, *, bins: int = BINS) -> Array:
    """``(B, 3, H)`` float64: rows by confidence, the sum of their confidences, and how many are right.

    Confidence is the probability of the most probable class; bins are even from 0 to 1.

    Args:
        probability: ``(N, C)``.
        truth: ``(N,)`` classes from 0; rows of a negative one count nowhere.
        event: ``(N,)`` which event each is of.
        events: B.
        bins: H.
    """
    known = truth >= 0
    call, confidence = probability[known].argmax(1), probability[known].max(1).astype(np.float64)
    bin_ = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    cell = event[known] * bins + bin_
    right = (call == truth[known]).astype(np.float64)
    sums = [np.bincount(cell, weights, events * bins) for weights in (None, confidence, right)]
    return np.stack([each.reshape(events, bins) for each in sums], 1).astype(np.float64)


def expected_calibration_error(sums: Array) -> float | None:
    """Mean over rows of how far their bin's confidence is from its accuracy, of ``sums (3, H)``.

    None where there are no rows.
    """
    rows, confidence, right = sums
    return float(np.abs(confidence - right).sum() / rows.sum()) if rows.sum() else None
