"""The shaper against the inverse transform of its poles, the digitiser against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from hepfm_lartpc.charge.config import WireElectronics
from hepfm_lartpc.charge.electronics import digitise, pulse_adc, pulse_length_us, shaper_power

ELECTRONICS = WireElectronics()


def test_the_pulse_is_the_impulse_response_of_five_poles():
    x = np.linspace(0, 6, 601)
    poles = 1.996 * np.array([-1.477, -1.417 + 0.598j, -1.417 - 0.598j, -1.204 + 1.299j, -1.204 - 1.299j])
    _, expected = signal.impulse(signal.ZerosPolesGain([], poles, 1.0).to_ss(), T=x)
    found = pulse_adc(2.0 * x, ELECTRONICS)
    np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize("shaping_us", [0.5, 1.0, 2.0, 3.0])
def test_the_height_is_the_gain_and_the_time_to_it_the_shaping_time(shaping_us):
    electronics = WireElectronics(shaping_us=shaping_us, gain_mv_fc=7.8, adc_per_mv=2.0)
    time_us = np.linspace(-1, 20, 210001)
    pulse = pulse_adc(time_us, electronics)
    # A femtocoulomb is 6241.5 electrons.
    assert 6241.509 * pulse.max() == pytest.approx(7.8 * 2.0, rel=1e-4)
    # LArASIC's peaking time counts from 5 % of the height; its nominal values are good to about 10 %.
    assert time_us[pulse.argmax()] - time_us[(pulse > 0.05 * pulse.max()).argmax()] == pytest.approx(
        shaping_us, rel=0.12
    )
    assert (pulse[time_us <= 0] == 0).all()
    assert np.abs(pulse[time_us > pulse_length_us(electronics)]).max(initial=0) < 1e-4 * pulse.max()


def test_the_power_is_that_of_the_pulse():
    step_us = 0.01
    pulse = pulse_adc(step_us * np.arange(1 << 14), ELECTRONICS)
    power = np.abs(np.fft.rfft(pulse)) ** 2
    mhz = np.fft.rfftfreq(len(pulse), step_us)
    low = mhz < 0.8
    np.testing.assert_allclose(power[low] / power[0], shaper_power(mhz[low], ELECTRONICS), atol=1e-4)


@pytest.mark.parametrize("pedestal", [0.0, 400.0, 2048.4])
def test_samples_are_rounded_and_clipped(pedestal):
    values = np.random.default_rng(1).normal(0, 3000, (3, 400)).astype(np.float32)
    out = np.empty((3, 400), np.int16)
    digitise(values, pedestal, 4095, out)
    np.testing.assert_array_equal(out, np.clip(np.floor(values + np.float32(pedestal + 0.5)), 0, 4095))
    assert out.min() == 0
    assert out.max() == 4095
