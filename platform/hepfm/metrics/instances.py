"""How well the points of events are grouped into instances: particles, clusters, tracks.

Legend of shapes: N points, B events, T true and P predicted instances of an event, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MATCH = 0.5
"""Intersection over union above which instances match: of disjoint ones, no instance has two matches then."""


def overlaps(truth: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """Shared points of true and predicted instances of one event.

    Args:
        truth: ``(N,)`` number of the instance, negative for none.
        predicted: ``(N,)`` likewise.

    Returns:
        ``(T+1, P+1)`` float64, the last row and column for none; the numbers ``(T,)`` and ``(P,)``.
    """
    true, row = np.unique(truth[truth >= 0], return_inverse=True)
    found, column = np.unique(predicted[predicted >= 0], return_inverse=True)
    rows, columns = np.full(len(truth), len(true)), np.full(len(truth), len(found))
    rows[truth >= 0], columns[predicted >= 0] = row, column
    cell = rows * (len(found) + 1) + columns
    shared = np.bincount(cell, minlength=(len(true) + 1) * (len(found) + 1))
    return shared.reshape(len(true) + 1, len(found) + 1).astype(np.float64), true, found


def adjusted_rand(shared: Array) -> float:
    """Adjusted Rand index of two groupings with these shared points ``(T, P)`` (J. Classif. 2 (1985) 193)."""

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    both, rows, columns = pairs(shared), pairs(shared.sum(1)), pairs(shared.sum(0))
    total = pairs(shared.sum())
    expected, largest = rows * columns / total if total else 0.0, (rows + columns) / 2
    return 1.0 if largest == expected else (both - expected) / (largest - expected)


def matches(shared: Array) -> tuple[Array, Array, Array]:
    """Pairs of true and predicted instances with an intersection over union above `MATCH`.

    Args:
        shared: Of `overlaps`. Points without a true instance count in the union.

    Returns:
        Rows and columns of the pairs, and their intersection over union.
    """
    both = shared[:-1, :-1]
    union = shared.sum(1)[:-1, None] + shared.sum(0)[None, :-1] - both
    iou = both / np.maximum(union, 1.0)
    row, column = np.nonzero(iou > MATCH)
    return row, column, iou[row, column]


def instance_statistics(
    truth: Array, predicted: Array, offsets: Array, classes: Sequence[tuple[Array, Array]] = (), n: int = 0
) -> dict[str, Array]:
    """What `instance_figures` needs of each event.

    Args:
        truth: ``(N,)`` number of each point's true instance in its event, negative for none.
        predicted: ``(N,)`` likewise.
        offsets: ``(B+1,)`` points of each event.
        classes: For each event the classes ``(T,)`` and ``(P,)`` from 0 of its true and predicted instances,
            in order of their numbers; a true instance of a negative one counts in no class.
        n: C, number of classes.

    Returns:
        ``rand (B, 2)``: the adjusted Rand index of the points with a true instance, and whether there are
        such; ``match (B, 4)``: matched, predicted and true instances, sum of the intersections over unions;
        ``match_class (B, C, 4)``: those that agree in the class, too; ``shares (B, 4)``: points in their
        predicted instance's leading true one, points of predicted instances, points in their true
        instance's leading predicted one, points of true instances.
    """
    events = len(offsets) - 1
    statistics = {
        "rand": np.zeros((events, 2)),
        "match": np.zeros((events, 4)),
        "match_class": np.zeros((events, n, 4)),
        "shares": np.zeros((events, 4)),
    }
    for event, (first, last) in enumerate(pairwise(offsets)):
        shared, true, found = overlaps(truth[first:last], predicted[first:last])
        if len(true):
            statistics["rand"][event] = adjusted_rand(shared[:-1]), 1
        row, column, iou = matches(shared)
        statistics["match"][event] = len(row), len(found), len(true), iou.sum()
        statistics["shares"][event] = (
            shared[:-1, :-1].max(0, initial=0).sum(),
            shared[:, :-1].sum(),
            shared[:-1, :-1].max(1, initial=0).sum(),
            shared[:-1].sum(),
        )
        if n:
            of_true, of_found = classes[event]
            agreed = of_true[row] == of_found[column]
            for column_, values, weight in (
                (0, of_true[row][agreed], None),
                (1, of_found, None),
                (2, of_true, None),
                (3, of_true[row][agreed], iou[agreed]),
            ):
                known = values >= 0
                weights = None if weight is None else weight[known]
                statistics["match_class"][event, :, column_] = np.bincount(
                    values[known], weights, minlength=n
                )
    return statistics


def instance_figures(sums: Mapping[str, Array], names: Sequence[str] = ()) -> dict[str, float]:
    """Figures of summed `instance_statistics`; what is not defined is left out.

    ``ari``: mean adjusted Rand index of the events, of points with a true instance. ``precision``, ``recall``
    and ``f1`` of instances at an intersection over union above one half; ``pq``, ``sq`` and ``rq``: panoptic
    quality, and its factors segmentation quality and recognition quality, which is the F1 (Kirillov et al.,
    CVPR 2019). ``pq/NAME`` asks for the class to agree, and ``pq_class`` is their mean. ``purity``: of the
    points of predicted instances, the share in the instance's leading true one; ``efficiency``: of those of
    true instances, the share in the leading predicted one.
    """
    figures = {}
    index, events = sums["rand"]
    if events:
        figures["ari"] = float(index / events)
    matched, found, true, iou = sums["match"]
    if found:
        figures["precision"] = float(matched / found)
    if true:
        figures["recall"] = float(matched / true)
    if found + true:
        figures["f1"] = figures["rq"] = float(2 * matched / (found + true))
        figures["pq"] = float(2 * iou / (found + true))
    if matched:
        figures["sq"] = float(iou / matched)
    pure, clustered, complete, points = sums["shares"]
    if clustered:
        figures["purity"] = float(pure / clustered)
    if points:
        figures["efficiency"] = float(complete / points)
    return figures | _of_classes(sums["match_class"], names)


def _of_classes(sums: Array, names: Sequence[str]) -> dict[str, float]:
    figures = {
        f"pq/{name}": float(2 * iou / (found + true))
        for name, (_, found, true, iou) in zip(names, sums, strict=True)
        if found + true
    }
    return figures | ({"pq_class": sum(figures.values()) / len(figures)} if figures else {})
