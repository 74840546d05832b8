# ruff: noqa: INP001
"""Hidden channels without learning: between those that are seen, or from the other planes' charge in time."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def between_channels(values: Array, hidden: Array, plane: Array, channel: Array) -> tuple[Array, Array]:
    """Heights ``(C, T)`` with those of hidden channels interpolated, and how far apart the seen ones are.

    Linear between the nearest seen channels of the plane at the same tick; at its ends, the nearest one's.

    Args:
        values: ``(C, T)`` heights; channels without charge are seen, and zero.
        hidden: ``(C,)`` bool.
        plane: ``(C,)``.
        channel: ``(C,)`` numbers, ascending within a plane.

    Returns:
        ``(C, T)``, and ``(C,)`` channels from the one below to the one above, 0 for those that are seen.
    """
    filled, apart = values.copy(), np.zeros(len(channel), int)
    for number in np.unique(plane):
        seen, asked = (np.flatnonzero((plane == number) & which) for which in (~hidden, hidden))
        if not len(seen) or not len(asked):
            continue
        above = np.searchsorted(channel[seen], channel[asked])
        low, high = seen[(above - 1).clip(0)], seen[above.clip(None, len(seen) - 1)]
        span = channel[high] - channel[low]
        share = np.where(span > 0, (channel[asked] - channel[low]) / np.maximum(span, 1), 0.0).clip(0, 1)
        filled[asked] = values[low] * (1 - share[:, None]) + values[high] * share[:, None]
        apart[asked] = span
    return filled, apart


def profile(values: Array, hidden: Array) -> Array:
    """``(T,)`` mean height of the channels that are seen, at each tick."""
    mean: Array = values[~hidden].mean(0)
    return mean


def fitted(given: Array, truth: Array, plane: Array) -> dict[int, Array]:
    """For each plane the factor and offset with which a prediction has the least squared error."""
    return {
        int(number): np.polyfit(given[plane == number], truth[plane == number], 1)
        for number in np.unique(plane)
    }


def applied(fit: dict[int, Array], given: Array, plane: Array) -> Array:
    """A prediction with the factors and offsets of `fitted`."""
    slope, offset = (np.array([fit[int(number)][k] for number in range(max(fit) + 1)]) for k in (0, 1))
    corrected: Array = slope[plane] * given + offset[plane]
    return corrected
