"""Which ticks of a frame are kept: not those of masked channels, and of zeros only what is near a signal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from hepfm_waveform.reader import Array


class Stretches(NamedTuple):
    """Runs of ticks of one channel each: row of the frame, first tick, last tick + 1; ``(K,)`` each."""

    row: Array
    start: Array
    stop: Array


def good_ticks(shape: tuple[int, int], masks: Iterable[tuple[int, int, int]]) -> Array:
    """``(C, T)`` bool: the ticks in no mask.

    Args:
        shape: Channels and ticks of the frame.
        masks: Row, first tick and last tick + 1 of each; what lies outside of the frame masks nothing.
    """
    good = np.ones(shape, bool)
    for row, start, stop in masks:
        good[row, max(start, 0) : max(stop, 0)] = False
    return good


def near_signal(frame: Array, pad: int) -> Array:
    """``(C, T)`` bool: the ticks within ``pad`` of a sample that is not zero."""
    n_channels, n_ticks = frame.shape
    total = np.zeros((n_channels, n_ticks + 1), np.int32)  # samples that are not zero before each tick
    np.cumsum(frame != 0, axis=1, out=total[:, 1:])
    tick = np.arange(n_ticks)
    upper, lower = np.minimum(tick + pad + 1, n_ticks), np.maximum(tick - pad, 0)
    near: Array = total[:, upper] > total[:, lower]
    return near


def stretches(kept: Array) -> Stretches:
    """The runs of ticks ``(C, T)`` that are kept, by row and time."""
    edges = np.zeros((len(kept), kept.shape[1] + 2), np.int8)
    edges[:, 1:-1] = kept
    steps = np.diff(edges, axis=1)
    row, start = np.nonzero(steps == 1)
    _, stop = np.nonzero(steps == -1)
    return Stretches(row, start, stop)
