"""How far predicted values are from true ones: histograms of residuals, whose sums give quantiles.

Legend of shapes: N values, B events, H bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ONE_SIGMA = 0.682689492137086
"""Probability within one standard deviation of a normal distribution."""


def logarithmic(low: float, high: float, *, per_decade: int = 50) -> Array:
    """Edges from 0 over ``low`` to ``high``, evenly in the logarithm: of distances, or other sizes.

    Quantiles between are interpolated, and good to a small part of a bin (2 % at 50 bins per decade).
    """
    decades = np.log10(high / low)
    return np.concatenate(([0.0], np.geomspace(low, high, int(np.ceil(decades * per_decade)) + 1)))


def two_sided(low: float, high: float, *, per_decade: int = 50) -> Array:
    """Edges as `logarithmic` has them, and their negatives: of residuals."""
    edges = logarithmic(low, high, per_decade=per_decade)
    return np.concatenate((-edges[:0:-1], edges))


def histogram(values: Array, event: Array, events: int, edges: Array) -> Array:
    """``(B, H + 2)`` float64: values in each bin, the first below all edges, the last at or above.

    Args:
        values: ``(N,)``; those that are NaN count nowhere.
        event: ``(N,)`` which event each is of.
        events: B.
        edges: ``(H + 1,)``, ascending.
    """
    known = ~np.isnan(values)
    bins = len(edges) + 1
    cell = event[known] * bins + np.searchsorted(edges, values[known], side="right")
    return np.bincount(cell, minlength=events * bins).reshape(events, bins).astype(np.float64)


def quantile(counts: Array, edges: Array, q: float) -> float:
    """The value below which a share q of ``counts (H + 2,)`` lies, evenly within a bin.

    NaN where there are no counts. What lies beyond the edges is put on them.
    """
    total = counts.sum()
    if not total:
        return float("nan")
    below = np.cumsum(counts)[:-1] / total  # at each edge
    after = int(np.searchsorted(below, q, side="left"))
    if after == 0:
        return float(edges[0])
    if after == len(edges):
        return float(edges[-1])
    share = (q - below[after - 1]) / (below[after] - below[after - 1])
    return float(edges[after - 1] + share * (edges[after] - edges[after - 1]))


def residual_figures(counts: Array, edges: Array) -> dict[str, float]:
    """``bias``, the median, and ``resolution``, half the width of the central 68 %; none of no residuals.

    Of a normal distribution they are mean and standard deviation; tails change them little.
    """
    if not counts.sum():
        return {}
    ends = (1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2
    low, high = (quantile(counts, edges, q) for q in ends)
    return {"bias": quantile(counts, edges, 0.5), "resolution": (high - low) / 2}


def in_bins(values: Array, edges: Array) -> Array:
    """``(N,)`` int64: the bin of each value, with its lower edge; -1 outside of all, and for NaN."""
    found = np.searchsorted(edges, values, side="right") - 1
    return np.where(np.isnan(values) | (found >= len(edges) - 1), -1, found)
