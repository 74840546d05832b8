"""How well classes are told apart.

Legend of shapes: N rows, B events, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def confusion(truth: Array, predicted: Array, offsets: Array, classes: int) -> Array:
    """``(B, C, C)`` float64: rows of each event by true class (first) and predicted class.

    Args:
        truth: ``(N,)`` classes from 0; rows of a negative one, whose class is not known, count nowhere.
        predicted: ``(N,)`` classes from 0.
        offsets: ``(B+1,)`` rows of each event.
        classes: C.
    """
    events = len(offsets) - 1
    event = np.repeat(np.arange(events), np.diff(offsets))
    known = truth >= 0
    cell = (event[known] * classes + truth[known]) * classes + predicted[known]
    counts = np.bincount(cell, minlength=events * classes * classes)
    return counts.reshape(events, classes, classes).astype(np.float64)


def class_figures(table: Array, names: Sequence[str]) -> dict[str, float]:
    """Figures of a table ``(C, C)`` of true (first) and predicted classes.

    ``accuracy``; for each class ``recall/NAME`` (efficiency: of what is of the class, the share that is
    found), ``precision/NAME`` (purity: of what is found, the share that is of the class) and their harmonic
    mean ``f1/NAME``; and ``macro_f1``, the mean of the latter over classes. Left out is what is not defined:
    the recall of a class that is not there, the precision of one that is never predicted, the F1 of both.
    """
    right, there, found = np.diagonal(table), table.sum(1), table.sum(0)
    total = table.sum()
    figures = {"accuracy": float(right.sum() / total)} if total else {}
    f1 = []
    for name, hits, actual, called in zip(names, right, there, found, strict=True):
        if actual:
            figures[f"recall/{name}"] = float(hits / actual)
        if called:
            figures[f"precision/{name}"] = float(hits / called)
        if actual + called:
            f1.append(float(2 * hits / (actual + called)))
            figures[f"f1/{name}"] = f1[-1]
    if f1:
        figures["macro_f1"] = sum(f1) / len(f1)
    return figures
