"""Energy deposits along straight segments, put on a grid of voxels by exact clipping.

Legend: S segments, K pieces of segments that each lie in one voxel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Pieces(NamedTuple):
    """Pieces in the order of their segments.

    Attributes:
        segment: ``(K,)`` int64.
        voxel: ``(K, 3)`` int64, unbounded: may lie outside a grid.
        share: ``(K,)`` float64, the piece's part of the segment's length; adds up to 1 for each segment.
    """

    segment: Array
    voxel: Array
    share: Array


def clip(start: Array, end: Array) -> Pieces:
    """Cuts segments at the planes between voxels.

    Args:
        start: ``(S, 3)`` float64 in voxels, from the grid's origin.
        end: The same.

    Returns:
        The pieces. A segment without length is one piece.
    """
    n = len(start)
    segments, cuts = [np.arange(n), np.arange(n)], [np.zeros(n), np.ones(n)]
    for axis in range(3):
        a, b = start[:, axis], end[:, axis]
        low, high = np.floor(np.minimum(a, b)), np.floor(np.maximum(a, b))
        count = (high - low).astype(np.int64)
        segment = np.repeat(np.arange(n), count)
        step = np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)
        plane = low[segment] + 1 + step
        segments.append(segment)
        cuts.append((plane - a[segment]) / (b - a)[segment])
    segment, t = np.concatenate(segments), np.clip(np.concatenate(cuts), 0.0, 1.0)
    order = np.lexsort((t, segment))
    segment, t = segment[order], t[order]
    inner = segment[1:] == segment[:-1]
    segment, t0, t1 = segment[1:][inner], t[:-1][inner], t[1:][inner]
    some = t1 > t0
    segment, t0, t1 = segment[some], t0[some], t1[some]
    middle = (0.5 * (t0 + t1))[:, None]
    voxel = np.floor(start[segment] + (end - start)[segment] * middle).astype(np.int64)
    return Pieces(segment, voxel, t1 - t0)


def sum_by(index: Array, n: int, values: Array) -> Array:
    """``(n,)`` float64 sums of ``values`` by group ``index``."""
    return np.bincount(index, weights=values, minlength=n)


def largest(group: Array, n: int, weight: Array) -> Array:
    """``(n,)`` int64: in each group, the row with the largest weight (of equal ones the first)."""
    order = np.lexsort((-np.arange(len(group)), weight, group))
    last = np.searchsorted(group[order], np.arange(n), side="right") - 1
    found: Array = order[last]
    return found
