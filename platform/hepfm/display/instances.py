"""Colours of instances: a particle has the same one in the truth and in the prediction.

Legend of shapes: N points, T true and P predicted instances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepfm.api import ClassName
from hepfm.display.scene import GREY, PALETTE

Array = np.ndarray[Any, Any]

_NAMED = 10
"""Instances that have an entry in the legend: the largest."""
_MIXED = ((0.0, "#000000"), (0.35, "#000000"), (0.45, "#ffffff"))
"""Shares of black or white in the palette's colours: once through all of them, then darker, then lighter."""
_LEAST = 0.1
"""Intersection over union of what counts as one particle: the largest piece of a broken track does."""
NONE = -1
"""Number of what is of no instance."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Instances of an event numbered anew, from 0, those of one particle alike.

    Attributes:
        truth: ``(N,)`` new number of each point's true instance, `NONE` for none.
        predicted: ``(N,)`` likewise.
        of_true: Old number to new number, of true instances: from the largest down.
        of_predicted: The same of predicted ones; those without a match come after the true ones.
        overlap: New number to intersection over union, of pairs.
    """

    truth: Array
    predicted: Array
    of_true: Mapping[int, int]
    of_predicted: Mapping[int, int]
    overlap: Mapping[int, float]

    @property
    def count(self) -> int:
        """New numbers."""
        return len({*self.of_true.values(), *self.of_predicted.values()})


def match(truth: Array, predicted: Array) -> Matched:
    """Pairs from the largest intersection over union down, each instance once.

    Args:
        truth: ``(N,)`` number of each point's true instance, negative for none.
        predicted: ``(N,)`` likewise.
    """
    true, row, size = np.unique(truth, return_inverse=True, return_counts=True)
    found, column, sizes = np.unique(predicted, return_inverse=True, return_counts=True)
    shared = np.bincount(row * len(found) + column, minlength=len(true) * len(found))
    shared = shared.reshape(len(true), len(found)).astype(np.float64)
    union = size[:, None] + sizes[None, :] - shared
    iou = np.where((true >= 0)[:, None] & (found >= 0), shared / np.maximum(union, 1), 0.0)
    partner: dict[int, int] = {}
    for cell in np.argsort(-iou, axis=None, kind="stable").tolist():
        k, m = divmod(cell, len(found))
        if iou[k, m] < _LEAST:
            break
        if k not in partner and m not in partner.values():
            partner[k] = m
    of_true = {
        int(true[k]): new
        for new, k in enumerate(each for each in np.argsort(-size, kind="stable").tolist() if true[each] >= 0)
    }
    of_found = {int(found[m]): of_true[int(true[k])] for k, m in partner.items()}
    for m in np.argsort(-sizes, kind="stable").tolist():
        if found[m] >= 0 and int(found[m]) not in of_found:
            of_found[int(found[m])] = len(of_true) + len(of_found) - len(partner)
    new_true, new_found = (
        np.array([numbers.get(int(value), NONE) for value in values], np.int64)
        for numbers, values in ((of_true, true), (of_found, found))
    )
    return Matched(
        truth=new_true[row.reshape(-1)],
        predicted=new_found[column.reshape(-1)],
        of_true=of_true,
        of_predicted=of_found,
        overlap={of_true[int(true[k])]: float(iou[k, m]) for k, m in partner.items()},
    )


def vocabulary(count: int) -> tuple[ClassName, ...]:
    """Names and colours of so many instances, and of `NONE`; the first ones have an entry in the legend."""
    named = [
        ClassName(value=k, name=f"{k + 1}" if k < _NAMED else "", colour=colour(k)) for k in range(count)
    ]
    return (*named, ClassName(value=NONE, name="of none", colour=GREY))


def colour(number: int) -> str:
    """Of an instance; after three times through the palette, in shades, they come again."""
    turn, which = divmod(number, len(PALETTE))
    share, other = _MIXED[turn % len(_MIXED)]
    parts = [
        round((1 - share) * int(PALETTE[which][i : i + 2], 16) + share * int(other[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)
