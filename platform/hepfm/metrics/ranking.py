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


def told_apart(
    signal: Array,
    background: Array,
    *,
    rare: float = 0.05,
    signal_ids: Array | None = None,
    background_ids: Array | None = None,
    draws: int = 0,
    seed: int = 1,
) -> Array:
    """``(1 + R, 2)``: area under the ROC curve, and the share of signal that is rare among the background.

    The area is the probability that a signal event scores above a background event, ties one half (Mann and
    Whitney's U). Rare is an event whose p-value, (1 + background events that score as much) / (1 + all), is
    at most ``rare``. The first row is of all events; in the others events are drawn again, of either kind as
    many as there are. An event that is both, by its id, is drawn for both.

    Args:
        signal: ``(N,)`` scores; NaN are left out.
        background: ``(M,)``, likewise.
        rare: Largest p-value.
        signal_ids: ``(N,)``; none where nothing is drawn.
        background_ids: ``(M,)``, likewise.
        draws: R.
        seed: Of the draws.
    """
    kept = [np.isfinite(signal), np.isfinite(background)]
    _, place = np.unique(np.concatenate((signal[kept[0]], background[kept[1]])), return_inverse=True)
    places = np.split(place, [int(kept[0].sum())])
    found = np.full((1 + draws, 2), np.nan)
    found[0] = _told_apart(places, [np.ones(len(each)) for each in places], rare)
    if not draws:
        return found
    assert signal_ids is not None
    assert background_ids is not None
    ids, which = np.unique(
        np.concatenate((signal_ids[kept[0]], background_ids[kept[1]])), return_inverse=True
    )
    rows = np.split(which, [len(places[0])])
    of = np.zeros(len(ids), np.int64)  # 1: signal, 2: background, 3: both
    for bit, each in enumerate(rows, start=1):
        of[each] |= bit
    rng = np.random.default_rng(seed)
    times = np.zeros(len(ids))
    for draw in range(draws):
        for kind in (1, 2, 3):
            n = int((of == kind).sum())
            if n:
                times[of == kind] = rng.multinomial(n, np.full(n, 1 / n))
        found[1 + draw] = _told_apart(places, [times[each] for each in rows], rare)
    return found


def _told_apart(places: list[Array], weights: list[Array], rare: float) -> tuple[float, float]:
    size = max((int(each.max()) + 1 for each in places if len(each)), default=0)
    signal, background = (
        np.bincount(each, weight, size) for each, weight in zip(places, weights, strict=True)
    )
    n_signal, n_background = signal.sum(), background.sum()
    if not n_signal or not n_background:
        return np.nan, np.nan
    up_to = np.cumsum(background)
    p = (1 + n_background - up_to + background) / (1 + n_background)
    area = signal @ (up_to - background / 2) / (n_signal * n_background)
    return float(area), float(signal @ (p <= rare) / n_signal)
