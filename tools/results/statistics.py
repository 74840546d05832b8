# ruff: noqa: INP001
"""Figures with intervals: groups of what belongs together are drawn again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DRAWS = 1000


def interval(groups: Array, figure: Callable[[Array], float], *, seed: int = 1) -> list[float]:
    """A figure of all rows, and the ends of its 68 % interval under a bootstrap over groups.

    Args:
        groups: ``(N,)`` which group each row is of; rows of a group (a channel, an event) are drawn together.
        figure: Of the rows at some indices.
        seed: Of the draws.
    """
    _, group = np.unique(groups, return_inverse=True)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group))[:-1])
    rng = np.random.default_rng(seed)
    drawn = [
        figure(np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]))
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(drawn, [0.16, 0.84])
    return [round(float(value), 4) for value in (figure(np.arange(len(groups))), low, high)]


def ratio_interval(groups: Array, above: Array, below: Array, *, seed: int = 1) -> list[float]:
    """As `interval`, of the ratio of two sums over rows, which needs only each group's sums."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights) for weights in (above, below)])
    drawn = np.random.default_rng(seed).integers(sums.shape[1], size=(DRAWS, sums.shape[1]))
    top, bottom = sums[:, drawn].sum(2)
    low, high = np.quantile(top / bottom, [0.16, 0.84])
    return [round(float(value), 4) for value in (sums[0].sum() / sums[1].sum(), low, high)]
