"""Noise of wires, made in frequency space: a draw for each channel and frequency, scaled by the spectrum.

Legend: K channels, F frequencies of n samples.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from hepfm.random import key_of
from hepfm_lartpc.charge.config import CoherentNoise, WireElectronics, WireNoise
from hepfm_lartpc.charge.electronics import shaper_power
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats


def _quantiles() -> Array:
    """``(4096,)`` float32: quantiles of the normal distribution, equally likely, of variance 1."""
    normal = NormalDist()
    values = np.array([normal.inv_cdf((k + 0.5) / 4096) for k in range(4096)])
    quantiles: Array = (values / values.std()).astype(np.float32)
    return quantiles


_QUANTILES = _quantiles()
"""A part of a frequency takes one of them; a sample, the sum of a thousand frequencies, is normal."""


def random_words(seed: int, purpose: str, event: int) -> np.random.Philox:
    """Counter-based random numbers (Philox-4x64-10): the key is of seed, purpose and event."""
    low, high = key_of(seed, purpose)
    return np.random.Philox(key=[high << 32 | low, event])


def power_adc2(noise: WireNoise, electronics: WireElectronics, n: int, tick_ns: float) -> Floats:
    """Power at each frequency for noise of 1 ADC count: ``(F,)``, of sum 1, none at frequency 0."""
    mhz = _frequencies_mhz(n, tick_ns)
    shaped = shaper_power(mhz, electronics) * (1.0 + (1e-3 * noise.knee_khz / mhz) ** noise.slope)
    return _normalised((1.0 - noise.white) * shaped / shaped.sum() + noise.white / len(mhz))


def coherent_power_adc2(coherent: CoherentNoise, n: int, tick_ns: float) -> Floats:
    """Power at each frequency of shared noise of 1 ADC count: ``(F,)``, of sum 1, none at frequency 0."""
    mhz = _frequencies_mhz(n, tick_ns)
    return _normalised(1.0 / (1.0 + (mhz / (1e-3 * coherent.corner_khz)) ** 2))


def draw(random: np.random.Philox, channels: int, power_adc2: Floats, rms_adc: float, n: int) -> Array:
    """Spectra of noise.

    Args:
        random: 16 bits are taken for each channel, frequency and part.
        channels: K.
        power_adc2: ``(F,)`` of sum 1.
        rms_adc: Of the samples.
        n: Samples.

    Returns:
        ``(K, 2, F)`` float32, real and imaginary parts of spectra whose inverse real transform of n samples
        has that power on average.
    """
    amplitude = n * rms_adc * np.sqrt(power_adc2 / 4.0)
    if n % 2 == 0:
        amplitude[-1] *= (
            2.0  # this one counts once in the inverse transform, and its imaginary part not at all
        )
    out = np.empty((channels, 2, len(power_adc2)), np.float32)
    _fill(random.random_raw(-(-out.size // 4)), _QUANTILES, amplitude.astype(np.float32), out)
    return out


@compiled
def _fill(words: Array, quantiles: Array, amplitude: Array, out: Array) -> None:
    drawn = 0
    for k in range(out.shape[0]):
        for part in range(2):
            for f in range(out.shape[2]):
                word = words[drawn >> 2] >> np.uint64(16 * (drawn & 3) + 4)
                out[k, part, f] = amplitude[f] * quantiles[word & np.uint64(4095)]
                drawn += 1


def _frequencies_mhz(n: int, tick_ns: float) -> Floats:
    """``(F - 1,)`` without 0."""
    return np.arange(1, n // 2 + 1, dtype=np.float64) / (1e-3 * tick_ns * n)


def _normalised(power: Floats) -> Floats:
    return np.concatenate([[0.0], power / power.sum()])
