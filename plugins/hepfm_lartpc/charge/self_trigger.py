"""Self-triggered pixels: from the current of each to its hits, after LArPix.

Legend: P pixels, H hits.
"""

from __future__ import annotations

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats
from hepfm_lartpc.streams import Stream, normal


@compiled
def trigger(
    charge: Array,
    offset: Array,
    first_tick: Array,
    threshold: float,
    wait: int,
    reset: int,
    reset_noise: float,
    readout_noise: float,
    s: Stream,
) -> tuple[Array, Array, Floats, Floats]:
    """Hits of each pixel.

    Args:
        charge: Electrons induced in each tick, all pixels one after the other, each with enough ticks behind
            its last charge to digitise it.
        offset: ``(P + 1,)`` where each pixel begins in ``charge``.
        first_tick: ``(P,)`` its first tick.
        threshold: In electrons.
        wait: Ticks from the one that passes the threshold to the last that is integrated.
        reset: Ticks after that whose charge is lost.
        reset_noise: Sigma of the charge left by a reset, in electrons.
        readout_noise: Sigma of a digitisation, in electrons.
        s: Random numbers, used in the order of pixels.

    Returns:
        Pixel, tick of the trigger, charge with noise, and charge without noise, each ``(H,)``.
    """
    pixels, ticks = [0], [0]
    measured, true = [0.0], [0.0]
    for p in range(len(first_tick)):
        noise = reset_noise * normal(s) if reset_noise > 0 else 0.0
        total, i, stop = 0.0, offset[p], offset[p + 1]
        while i < stop:
            total += charge[i]
            if total + noise < threshold:
                i += 1
                continue
            tick = first_tick[p] + i - offset[p]
            end = min(i + wait, stop - 1)
            for k in range(i + 1, end + 1):
                total += charge[k]
            digitised = total + noise + (readout_noise * normal(s) if readout_noise > 0 else 0.0)
            if digitised >= threshold:
                pixels.append(p)
                ticks.append(tick)
                measured.append(digitised)
                true.append(total)
            noise = reset_noise * normal(s) if reset_noise > 0 else 0.0
            total, i = 0.0, end + 1 + reset
    return (
        np.array(pixels[1:], np.int64),
        np.array(ticks[1:], np.int64),
        np.array(measured[1:], np.float64),
        np.array(true[1:], np.float64),
    )
