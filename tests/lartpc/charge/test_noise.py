"""Noise: its spectrum, width and shape as configured, shared by groups, the same for the same event."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc.charge.config import CoherentNoise, WireElectronics, WireNoise
from hepfm_lartpc.charge.electronics import pulse_adc
from hepfm_lartpc.charge.noise import coherent_power_adc2, draw, power_adc2, random_words

N, TICK_NS = 2160, 500.0


def samples(power, rms, channels=400, event=0, n=N):
    parts = draw(random_words(1, "noise", event), channels, power, rms, n)
    return np.fft.irfft(parts[:, 0] + 1j * parts[:, 1], n, axis=1)


@pytest.mark.parametrize("n", [N, 2187])
def test_the_periodogram_is_the_configured_spectrum(n):
    noise = WireNoise(white=0.2, knee_khz=40.0, slope=1.5)
    found = (
        np.abs(np.fft.rfft(samples(power_adc2(noise, WireElectronics(), n, TICK_NS), 3.0, n=n))) ** 2
    ).mean(0)
    # The configured form, from the transform of the pulse itself rather than from its poles.
    khz = np.fft.rfftfreq(n, 1e-6 * TICK_NS)[1:]
    fine = pulse_adc(0.01 * np.arange(1 << 14), WireElectronics())
    shaper = np.abs(np.fft.rfft(fine)) ** 2
    shaped = np.interp(khz, np.fft.rfftfreq(1 << 14, 1e-5), shaper) * (1 + (40.0 / khz) ** 1.5)
    expected = 0.8 * shaped / shaped.sum() + 0.2 / len(khz)
    found = found[1:]
    found[: (n - 1) // 2] *= 2.0  # all but the highest frequency of an even number count twice
    ratio = found / n**2 / (9.0 * expected)
    for band in np.array_split(ratio, 20):
        assert band.mean() == pytest.approx(1.0, abs=0.03)


def test_samples_are_normal_of_the_configured_width_and_of_mean_zero():
    found = samples(power_adc2(WireNoise(), WireElectronics(), N, TICK_NS), 2.4)
    assert found.std() == pytest.approx(2.4, rel=5e-3)
    assert np.abs(found.mean(1)).max() < 1e-4
    standard = found / found.std()
    assert (standard**4).mean() == pytest.approx(3.0, abs=0.05)
    assert (standard**3).mean() == pytest.approx(0.0, abs=0.03)
    # 2.7e-3 of a normal distribution lie outside of three sigmas.
    assert (np.abs(standard) > 3).mean() == pytest.approx(2.7e-3, rel=0.1)


def test_white_noise_has_no_correlation_between_ticks_and_shaped_noise_has():
    def next_tick(white):
        found = samples(power_adc2(WireNoise(white=white), WireElectronics(), N, TICK_NS), 1.0)
        return (found[:, 1:] * found[:, :-1]).mean()

    assert next_tick(1.0) == pytest.approx(0.0, abs=0.01)
    assert next_tick(0.0) > 0.7


def test_channels_and_events_are_independent_and_events_repeat():
    power = power_adc2(WireNoise(), WireElectronics(), N, TICK_NS)
    first, again, other = samples(power, 1.0), samples(power, 1.0), samples(power, 1.0, event=1)
    np.testing.assert_array_equal(first, again)
    correlation = np.corrcoef(np.concatenate([first[:20], other[:20]]))
    assert np.abs(correlation - np.eye(40)).max() < 0.35  # about 150 independent samples a channel


def test_shared_noise_falls_above_its_corner():
    power = coherent_power_adc2(CoherentNoise(corner_khz=30.0), N, TICK_NS)
    khz = np.fft.rfftfreq(N, 1e-6 * TICK_NS)
    assert power.sum() == pytest.approx(1.0)
    assert power[0] == 0
    at = np.searchsorted(khz, [30.0, 300.0])
    np.testing.assert_allclose(power[at] / power[1], 1 / (1 + (khz[at] / 30.0) ** 2), rtol=2e-3)
