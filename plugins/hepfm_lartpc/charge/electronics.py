"""Electronics of a wire: the shaper's pulse, and the digitiser."""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.charge.config import WireElectronics
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats

_POLES = np.array([-1.477, -1.417 + 0.598j, -1.417 - 0.598j, -1.204 + 1.299j, -1.204 - 1.299j]) * 1.996
"""Of a semi-Gaussian shaper of fifth order, times the peaking time: LArASIC (De Geronimo et al., IEEE
Trans. Nucl. Sci. 58 (2011) 1376), with the values of MicroBooNE (JINST 13 (2018) P07006)."""
_RESIDUES = np.array([1.0 / np.prod([p - q for q in _POLES if q != p]) for p in _POLES])
_ELECTRON_FC = 1.602176634e-4


def _form(x: Floats) -> Floats:
    """The shaper's pulse at multiples of the peaking time, not normalised."""
    late = np.maximum(x, 0.0)
    pulse: Floats = (_RESIDUES * np.exp(_POLES * late[..., None])).sum(-1).real
    return np.where(x > 0.0, pulse, 0.0)


_HIGHEST = float(_form(np.linspace(0.8, 1.2, 4001)).max())


def pulse_adc(time_us: Floats, electronics: WireElectronics) -> Floats:
    """What an electron at time 0 makes of the signal, in ADC counts.

    Args:
        time_us: Times, any shape.
        electronics: Its gain is the height of the pulse.
    """
    adc_per_electron = electronics.gain_mv_fc * _ELECTRON_FC * electronics.adc_per_mv
    return adc_per_electron / _HIGHEST * _form(np.asarray(time_us, np.float64) / electronics.shaping_us)


def pulse_length_us(electronics: WireElectronics) -> float:
    """After which the pulse is below 1e-5 of its height."""
    return 6.0 * electronics.shaping_us


def shaper_power(frequency_mhz: Floats, electronics: WireElectronics) -> Floats:
    """The shaper's response squared, 1 at frequency 0."""
    s = 2j * math.pi * np.asarray(frequency_mhz)[..., None] * electronics.shaping_us
    power: Floats = np.abs(np.prod(_POLES / (_POLES - s), axis=-1)) ** 2
    return power


@compiled
def digitise(signal: Array, pedestal_adc: float, highest: int, out: Array) -> None:
    """Counts of each sample: the pedestal is added, rounded, and clipped to the digitiser's range.

    Args:
        signal: ``(K, n)`` in ADC counts; of which the first samples are used.
        pedestal_adc: Of these channels.
        highest: Largest count.
        out: ``(K, ticks)`` int16, filled.
    """
    top, shift = np.float32(highest), np.float32(pedestal_adc + 0.5)
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            # Cut to a whole number after the clip: rounds down, for what is left is not negative.
            out[k, i] = np.int16(min(max(signal[k, i] + shift, np.float32(0.0)), top))
