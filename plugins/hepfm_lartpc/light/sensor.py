"""From photoelectrons to charge: dark counts, crosstalk, afterpulses, spread of the gain, spent cells.

Legend: K detectors, S steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.light.config import Sensor
from hepfm_lartpc.light.photons import Counts
from hepfm_lartpc.streams import Stream, exponential, normal, poisson, uniform

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sensors:
    """Parameters of each detector's sensor, ``(K,)`` each; see `hepfm_lartpc.light.config.Sensor`.

    Attributes:
        dark_rate_hz: Dark counts.
        crosstalk: Further avalanches of one, at once.
        afterpulses: Further avalanches of one, later.
        afterpulse_ns: Their mean delay.
        pe_width: Spread of the charge.
        cells: Microcells; 0 where linear.
    """

    dark_rate_hz: Floats
    crosstalk: Floats
    afterpulses: Floats
    afterpulse_ns: Floats
    pe_width: Floats
    cells: Floats


def sensors_of(sensors: list[Sensor]) -> Sensors:
    """The arrays of some sensors."""
    return Sensors(
        dark_rate_hz=np.array([sensor.dark_rate_hz for sensor in sensors]),
        crosstalk=np.array([sensor.crosstalk for sensor in sensors]),
        afterpulses=np.array([sensor.afterpulsing.probability for sensor in sensors]),
        afterpulse_ns=np.array([sensor.afterpulsing.tau_ns for sensor in sensors]),
        pe_width=np.array([sensor.pe_width for sensor in sensors]),
        cells=np.array([float(sensor.cells or 0) for sensor in sensors]),
    )


def charge(
    photoelectrons: Counts, sensors: Sensors, step_ns: float, steps_a_sample: int, s: Stream
) -> Floats:
    """Charge ``(K, S)``, in units of a photoelectron's mean, of photoelectrons ``(K, S)``.

    The cells of a silicon sensor that fire within a sample (``steps_a_sample`` steps) are counted once.
    """
    return _charge(
        photoelectrons,
        sensors.dark_rate_hz,
        sensors.crosstalk,
        sensors.afterpulses,
        sensors.afterpulse_ns,
        sensors.pe_width,
        sensors.cells,
        step_ns,
        steps_a_sample,
        s,
    )


@compiled
def _charge(
    photoelectrons: Counts,
    dark_rate_hz: Floats,
    crosstalk: Floats,
    afterpulses: Floats,
    afterpulse_ns: Floats,
    pe_width: Floats,
    cells: Floats,
    step_ns: float,
    steps_a_sample: int,
    s: Stream,
) -> Floats:
    detectors, steps = photoelectrons.shape
    out = np.zeros((detectors, steps))
    for k in range(detectors):
        primary = photoelectrons[k].copy()
        for _ in range(poisson(s, dark_rate_hz[k] * step_ns * 1e-9 * steps)):
            primary[int(uniform(s) * steps)] += 1
        offspring = crosstalk[k] + afterpulses[k]
        for i in range(steps):
            avalanches = new = primary[i]
            if avalanches == 0:
                continue
            while new > 0 and offspring > 0.0:
                made = 0
                for _ in range(poisson(s, offspring * new)):
                    later = 0
                    if uniform(s) * offspring >= crosstalk[k]:
                        later = int(uniform(s) + exponential(s) * afterpulse_ns[k] / step_ns)
                    if later == 0:
                        made += 1
                    elif i + later < steps:
                        primary[i + later] += 1
                avalanches += made
                new = made
            out[k, i] = avalanches
            if pe_width[k] > 0.0:
                out[k, i] += pe_width[k] * math.sqrt(avalanches) * normal(s)
        if cells[k] > 0.0:
            for first in range(0, steps, steps_a_sample):
                fired = out[k, first : first + steps_a_sample].sum()
                if fired > 0.0:
                    out[k, first : first + steps_a_sample] *= (
                        cells[k] / fired * (1.0 - math.exp(-fired / cells[k]))
                    )
    return out
