"""From the photons of deposits to photoelectrons in time.

Photons are emitted, travel and are detected independently of one another, so the photoelectrons of a detector
are a Poisson process. Its intensity, integrated exactly over short steps of time, is summed over all deposits
first; one Poisson number for each step is then the same as following every photon.

Legend: D deposits, K detectors, S steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.streams import Stream, poisson

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]


@compiled
def expected_photoelectrons(
    photons: Floats,
    emitted_ns: Floats,
    singlet_fraction: Floats,
    seen: Floats,
    delay_ns: Floats,
    singlet_ns: float,
    triplet_ns: float,
    steps: int,
    step_ns: float,
) -> Floats:
    """Mean number of photoelectrons in each step: ``(K, S)``.

    Args:
        photons: ``(D,)`` mean number of each deposit.
        emitted_ns: ``(D,)`` times of the deposits from the start of the first step; may be negative, as the
            tail of earlier light is seen too.
        singlet_fraction: ``(D,)``.
        seen: ``(D, K)`` photoelectrons for each photon.
        delay_ns: ``(D, K)`` from emission to arrival.
        singlet_ns: Mean life.
        triplet_ns: Mean life.
        steps: S.
        step_ns: Length of a step.
    """
    deposits, detectors = seen.shape
    expected = np.zeros((detectors, steps))
    # What is still excited at the start of a step and was not so at the start of the one before.
    singlet, triplet = np.zeros((detectors, steps)), np.zeros((detectors, steps))
    for d in range(deposits):
        fraction = singlet_fraction[d]
        for k in range(detectors):
            mean, begin = photons[d] * seen[d, k], (emitted_ns[d] + delay_ns[d, k]) / step_ns
            if mean <= 0.0 or begin >= steps:
                continue
            next_step = int(begin) + 1 if begin >= 0.0 else 0
            rest_ns = (next_step - begin) * step_ns
            later_singlet = fraction * mean * math.exp(-rest_ns / singlet_ns)
            later_triplet = (1.0 - fraction) * mean * math.exp(-rest_ns / triplet_ns)
            if next_step > 0:
                expected[k, next_step - 1] += mean - later_singlet - later_triplet
            if next_step < steps:
                singlet[k, next_step] += later_singlet
                triplet[k, next_step] += later_triplet
    keeps_singlet, keeps_triplet = math.exp(-step_ns / singlet_ns), math.exp(-step_ns / triplet_ns)
    for k in range(detectors):
        excited_singlet = excited_triplet = 0.0
        for i in range(steps):
            excited_singlet += singlet[k, i]
            excited_triplet += triplet[k, i]
            expected[k, i] += excited_singlet * (1.0 - keeps_singlet)
            expected[k, i] += excited_triplet * (1.0 - keeps_triplet)
            excited_singlet *= keeps_singlet
            excited_triplet *= keeps_triplet
    return expected


def spread_in_time(expected: Floats, sigma_ns: Floats, step_ns: float) -> None:
    """Spread the times of photoelectrons by normal deviates, in place; earlier than the first step is lost.

    Args:
        expected: ``(K, S)`` mean numbers; within a step they are taken as even.
        sigma_ns: ``(K,)`` width; 0 for none.
        step_ns: Length of a step.
    """
    for k, sigma in enumerate(sigma_ns / step_ns):
        if sigma > 0:
            reach = math.ceil(5 * sigma) + 1
            spread = np.convolve(expected[k], _moves(sigma, reach))
            expected[k] = spread[reach : reach + expected.shape[1]]


def _moves(sigma: float, reach: int) -> Floats:
    """Probability to end up to `reach` steps before or after the step of the start; evenly from within it.

    The second difference of the integral of the normal distribution function; all in steps.
    """

    def integral(x: float) -> float:
        density = math.exp(-0.5 * (x / sigma) ** 2) * sigma / math.sqrt(2 * math.pi)
        return x * 0.5 * (1 + math.erf(x / (sigma * math.sqrt(2)))) + density

    grid = np.array([integral(float(x)) for x in range(-reach - 1, reach + 2)])
    return np.diff(grid, 2)


@compiled
def draw(expected: Floats, s: Stream) -> Counts:
    """Poisson numbers of these means ``(K, S)``."""
    detectors, steps = expected.shape
    counts = np.zeros((detectors, steps), np.int32)
    for k in range(detectors):
        for i in range(steps):
            if expected[k, i] > 0.0:
                counts[k, i] = poisson(s, expected[k, i])
    return counts
