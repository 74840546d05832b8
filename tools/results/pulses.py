# ruff: noqa: INP001
"""Pulses of SiPMs as they are found without learning: an average pulse, and a matched filter."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BEFORE, AFTER = 16, 240
"""Samples of the average pulse before and from its highest one on."""
THRESHOLD = 4.0
"""A pulse is one whose height lies so many standard deviations of its own estimate above zero."""


def noise_of(adc: Array) -> Array:
    """``(N, 1)`` standard deviation of the noise of traces ``(N, T)``, by the distance from the median."""
    centre = np.median(adc, 1, keepdims=True)
    spread: Array = 1.4826 * np.median(np.abs(adc - centre), 1, keepdims=True)
    return spread


def average_pulse(adc: Array, *, height: float = 8.0) -> Array:
    """``(BEFORE + AFTER,)`` median of pulses that stand alone, each over its highest sample.

    Args:
        adc: ``(N, T)`` traces, in units of the noise, around zero.
        height: Lowest of the pulses that are taken, in units of the noise.
    """
    found = []
    for trace in adc:
        last = 0
        for tick in np.flatnonzero(trace > height):
            start = tick - BEFORE
            if (
                tick < last
                or start < 0
                or tick + AFTER > len(trace)
                or trace[tick] < trace[tick : tick + 40].max()
            ):
                continue
            if np.abs(trace[start : tick - 8]).max() < 4.0:
                found.append(trace[start : tick + AFTER] / trace[tick])
            last = tick + AFTER
    pulse: Array = np.median(found, 0)
    return pulse


def matched(trace: Array, pulse: Array) -> tuple[Array, float]:
    """What a matched filter makes of a trace ``(T,)`` in units of the noise.

    The largest pulse is found and taken away, then the next one. The noise is taken as white. Gives pulses
    ``(T,)`` without noise, and the sum of their heights.
    """
    rest, clean, total = trace.copy(), np.zeros(len(trace) + len(pulse)), 0.0
    norm = float(pulse @ pulse)
    for _ in range(30):
        padded = np.concatenate((rest, np.zeros(len(pulse) - 1)))
        height = np.correlate(padded, pulse, "valid") / norm
        at = int(height.argmax())
        if height[at] < THRESHOLD / np.sqrt(norm):
            break
        clean[at : at + len(pulse)] += height[at] * pulse
        rest = trace - clean[: len(trace)]
        total += float(height[at])
    return clean[: len(trace)], total
