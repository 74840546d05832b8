"""How well a score ranks what is of a class above what is not, whatever the threshold.

Legend of shapes: N rows, B events, C classes, H bins of the score.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 200


def score_histogram(score: Array, truth: Array, event: Array, events: int, *, bins: int = BINS) -> Array:
    """``(B, C, 2, H)`` float64: rows by score of each class, of those that are not of it and those that are.

    Bins are even in the logarithm of the odds, where scores are spread out, from 1e-6 to 1 - 1e-6.

    Args:
        score: ``(N, C)`` probabilities.
        truth: ``(N,)`` classes from 0; rows of a negative one count nowhere.
        event: ``(N,)`` which event each is of.
        events: B.
        bins: H.
    """
    known = truth >= 0
    clipped = np.clip(score[known].astype(np.float64), 1e-6, 1 - 1e-6)
    share = (np.log(clipped / (1 - clipped)) / np.log(1e6) + 1) / 2
    bin_ = np.minimum((share * bins).astype(np.int64), bins - 1)
    classes = score.shape[1]
    each = np.arange(classes)
    of_it = truth[known][:, None] == each
    cell = ((event[known][:, None] * classes + each) * 2 + of_it) * bins + bin_
    counts = np.bincount(cell.ravel(), minlength=events * classes * 2 * bins)
    return counts.reshape(events, classes, 2, bins).astype(np.float64)


def roc(counts: Array) -> tuple[Array, Array]:
    """``(H + 1,)`` each: background that passes and signal that passes, from the highest threshold down.

    Args:
        counts: ``(2, H)`` by score, of background (first) and signal; both have rows.
    """
    passing = np.cumsum(counts[:, ::-1], axis=1)
    background, signal = np.pad(passing / passing[:, -1:], ((0, 0), (1, 0)))
    return background, signal


def roc_auc(counts: Array) -> float | None:
    """Probability that signal scores above background, of ``counts (2, H)``; rows of one bin tie.

    None where one of the two has no rows. Two rows that share a bin count one half, as ties do in
    Mann and Whitney's U: with 200 bins what is lost is below .001.
    """
    if not counts.sum(1).all():
        return None
    background, signal = roc(counts)
    return float(np.trapezoid(signal, background))
