"""When waveforms are taken.

A *span* is a stretch of time that is simulated in one piece: it begins ``before`` samples ahead of the first
possible trigger. Legend: D deposits, K detectors, S steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.light.config import BeamTrigger, Digitizer, SelfTrigger

Floats = NDArray[np.float64]

_LIVES = 5.0
"""Mean lives of the triplet after the last deposit in which a self-trigger is looked for."""


def spans(
    trigger: BeamTrigger | SelfTrigger, digitizer: Digitizer, lead: int, light_ns: Floats, triplet_ns: float
) -> list[tuple[float, int]]:
    """The start in ns and the number of samples of each span, in order; they do not overlap.

    Args:
        trigger: Around a fixed time there is one span; with a self-trigger, one wherever there is light.
        digitizer: Length of a sample and of a waveform.
        lead: Samples before a waveform whose charge still shows in it.
        light_ns: ``(D,)`` times of deposits that are seen.
        triplet_ns: Mean life.
    """
    sample_ns, waveform = digitizer.sample_ns, digitizer.samples
    before = lead + digitizer.pretrigger
    if isinstance(trigger, BeamTrigger):
        return [(trigger.time_ns - before * sample_ns, lead + waveform)]
    after = waveform + math.ceil(_LIVES * triplet_ns / sample_ns)
    first_sample = np.floor(np.sort(light_ns) / sample_ns).astype(np.int64)
    pieces = np.split(first_sample, np.flatnonzero(np.diff(first_sample) > before + after) + 1)
    return [
        (float(piece[0] - before) * sample_ns, int(before + piece[-1] - piece[0] + after))
        for piece in pieces
        if len(piece)
    ]


def triggers(
    trigger: BeamTrigger | SelfTrigger, digitizer: Digitizer, lead: int, charge: Floats
) -> list[int]:
    """Samples of a span at which there is a trigger; waveforms do not overlap.

    Args:
        trigger: Around a fixed time there is always one; a self-trigger comes with the sample that ends the
            first coincidence window with enough charge.
        digitizer: Steps of a sample, and lengths.
        lead: As for `spans`.
        charge: ``(K, S)`` in photoelectrons.
    """
    first = lead + digitizer.pretrigger
    if isinstance(trigger, BeamTrigger):
        return [first]
    of_sample = charge.sum(axis=0).reshape(-1, digitizer.steps).sum(axis=1)
    window = math.ceil(trigger.coincidence_ns / digitizer.sample_ns)
    running = np.convolve(of_sample, np.ones(window))[: len(of_sample)]
    last = len(of_sample) - (digitizer.samples - digitizer.pretrigger)
    found: list[int] = []
    for sample in np.flatnonzero(running >= trigger.threshold_pe).tolist():
        if first <= sample <= last and (not found or sample >= found[-1] + digitizer.samples):
            found.append(sample)
    return found
