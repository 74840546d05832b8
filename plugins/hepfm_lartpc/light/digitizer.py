"""From charge to ADC counts.

Legend: K detectors, S steps, L samples of lead (the longest pulse), N samples of a waveform.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.light.config import Digitizer, Sensor
from hepfm_lartpc.streams import Stream, uniform

Floats = NDArray[np.float64]
Adc = NDArray[np.int16]


class Electronics:
    """Shapes, adds noise, and digitises.

    Args:
        sensors: Of the K detectors, with their pulses.
        digitizer: Sampling, range and noise.

    Attributes:
        lead: Samples before a waveform whose charge still shows in it.

    Raises:
        DataError: A pulse's file cannot be used.
    """

    def __init__(self, sensors: list[Sensor], digitizer: Digitizer) -> None:
        self._config = digitizer
        step_ns = digitizer.sample_ns / digitizer.steps
        pulses = [sensor.pulse.sampled(step_ns, k) for k, sensor in enumerate(sensors)]
        longest = max(len(pulse) for pulse in pulses)
        self.lead = math.ceil(longest / digitizer.steps)
        self._size = _quick_length((self.lead + digitizer.samples) * digitizer.steps)
        sign = 1 if digitizer.polarity == "positive" else -1
        padded = np.zeros((len(pulses), longest + 1))
        for row, pulse in zip(padded, pulses, strict=True):
            # The charge of a step comes in its middle on average.
            row[1 : len(pulse)] = sign * (pulse[1:] + pulse[:-1]) / 2
            row[len(pulse)] = sign * pulse[-1] / 2
        self._pulses = np.fft.rfft(padded, self._size)

    def waveforms(self, charge: Floats, s: Stream) -> tuple[Adc, Floats]:
        """ADC counts ``(K, N)`` of charge ``(K, (L + N) steps)`` in photoelectrons; L is `lead`.

        Beside them what they are without pedestal and noise, and neither rounded nor clipped.
        """
        config = self._config
        shaped = np.fft.irfft(np.fft.rfft(charge, self._size) * self._pulses, self._size)
        first = self.lead * config.steps
        shaped = shaped[:, first : first + config.samples * config.steps : config.steps]
        low, high = config.range_adc()
        out = np.empty(shaped.shape, np.int16)
        _digitise(shaped, config.pedestal_adc, config.noise_rms_adc, float(low), float(high), s, out)
        return out, shaped


@compiled
def _digitise(
    shaped: Floats, pedestal: float, noise_rms: float, low: float, high: float, s: Stream, out: Adc
) -> None:
    samples = shaped.shape[1]
    for k in range(shaped.shape[0]):
        for first in range(0, samples, 2):
            # Both numbers of Box and Muller's pair: noise is needed for every sample.
            size, angle = noise_rms * math.sqrt(-2.0 * math.log(uniform(s))), 2.0 * math.pi * uniform(s)
            noise = size * math.cos(angle), size * math.sin(angle)
            for i in range(first, min(first + 2, samples)):
                value = math.floor(pedestal + shaped[k, i] + noise[i - first] + 0.5)
                out[k, i] = int(min(max(value, low), high))


def _quick_length(at_least: int) -> int:
    """The next number that Fourier transforms are quick for: 1, 3 or 5 times a power of 2."""
    return min(factor << max(0, math.ceil(math.log2(at_least / factor))) for factor in (1, 3, 5))
