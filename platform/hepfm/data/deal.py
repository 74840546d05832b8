"""Dealing a global batch to ranks and micro-batches, so that none waits for another.

Longest first: each event goes, from the costliest to the cheapest, to the rank with the least so far
(Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 1969).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]


def deal(
    costs: np.ndarray[Any, Any], world: int, micro_batch_cost: int, *, together: int = 1
) -> list[list[Rows]]:
    """Which events of a global batch each rank computes, and in which of its micro-batches.

    All ranks have the same number of micro-batches; some may be empty. A micro-batch stays within its
    budget unless it holds a single event, or group, that is larger. An event without rows counts as 1.

    Args:
        costs: ``(B,)`` stored rows of each event of the global batch.
        world: Number of ranks.
        micro_batch_cost: Budget of a micro-batch, in stored rows.
        together: Events of a group, which stay in one micro-batch: groups are successive ones, the last one
            what is left.

    Returns:
        For each rank, for each of its micro-batches, the rows ``(n,)`` of ``costs``, ascending.
    """
    weights = np.maximum(np.asarray(costs, np.int64), 1)
    if together > 1 and len(weights):
        groups = np.add.reduceat(weights, np.arange(0, len(weights), together))
        return [
            [_members(micro, together, len(weights)) for micro in rank]
            for rank in deal(groups, world, micro_batch_cost)
        ]
    longest_first = np.argsort(-weights, kind="stable")
    ranks = _lightest_first(longest_first.tolist(), weights, world)
    loads = [int(weights[rows].sum()) for rows in ranks]
    most_events = max(map(len, ranks))  # more micro-batches than events would be empty on every rank
    n_micro = max(1, min(-(-max(loads) // micro_batch_cost), most_events))
    while True:
        dealt = [_lightest_first(rows, weights, n_micro) for rows in ranks]
        if all(_fits(rows, weights, micro_batch_cost) for rank in dealt for rows in rank):
            return [[np.sort(np.asarray(rows, np.int64)) for rows in rank] for rank in dealt]
        # One event a micro-batch always fits. Growing by an eighth keeps the search short for many.
        n_micro += max(1, n_micro // 8)


def _members(groups: Rows, size: int, n_events: int) -> Rows:
    """The events of groups, ascending."""
    rows = (groups[:, None] * size + np.arange(size)).ravel()
    return rows[rows < n_events]


def _lightest_first(rows: Sequence[int], weights: np.ndarray[Any, Any], bins: int) -> list[list[int]]:
    """Rows, in their order, each into the bin with the least weight so far."""
    filled: list[list[int]] = [[] for _ in range(bins)]
    if bins == 1:
        filled[0].extend(rows)
        return filled
    heap = [(0, i) for i in range(bins)]
    for row, weight in zip(rows, weights[np.asarray(rows, np.int64)].tolist(), strict=True):
        load, i = heap[0]
        filled[i].append(row)
        heapq.heapreplace(heap, (load + weight, i))
    return filled


def _fits(rows: Sequence[int], weights: np.ndarray[Any, Any], budget: int) -> bool:
    return len(rows) <= 1 or int(weights[np.asarray(rows)].sum()) <= budget
