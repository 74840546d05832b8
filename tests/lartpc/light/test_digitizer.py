"""Shaping, noise, range and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepfm_lartpc.light.config import Digitizer, Sensor
from hepfm_lartpc.light.digitizer import Electronics
from hepfm_lartpc.light.pulse import Pulse
from hepfm_lartpc.streams import stream

PULSE = Pulse(rise_ns=30, fall_ns=300, adc_per_pe=100.0)


def digitise(charge, electronics):
    return electronics.waveforms(np.asarray(charge, float), stream(5, "noise", 0))[0].astype(float)


def electronics_of(pulses=(PULSE,), **settings):
    digitizer = Digitizer(
        **({"noise_rms_adc": 0.0, "pedestal_adc": 1000.0, "samples": 200, "pretrigger": 0} | settings)
    )
    return Electronics([Sensor(pulse=pulse) for pulse in pulses], digitizer), digitizer


def blank(electronics, digitizer, detectors=1):
    return np.zeros((detectors, (electronics.lead + digitizer.samples) * digitizer.steps))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("length", [90, 200, 333])
def test_shaping_is_convolution_with_the_pulse(steps, length):
    electronics, digitizer = electronics_of(steps=steps, samples=length)
    charge = blank(electronics, digitizer)
    charge[:] = np.random.default_rng(0).poisson(0.01, charge.shape)
    step_ns = 16.0 / steps
    times = (np.arange(4000) - 0.5) * step_ns  # from the middle of a step to its edges
    peak = 30 * 300 / 270 * np.log(10)
    height = np.exp(-peak / 300) - np.exp(-peak / 30)
    pulse = 100 * np.where(times > 0, np.exp(-times / 300) - np.exp(-times / 30), 0) / height
    exact = np.convolve(charge[0], pulse)[electronics.lead * steps :: steps][:length]
    # The pulse is taken as straight between steps.
    tolerance = 0.6 + {1: 6.0, 2: 2.0, 5: 0.4}[steps]
    assert digitise(charge, electronics)[0] - 1000 == pytest.approx(exact, abs=tolerance)


def test_charge_before_the_waveform_shows_in_it_and_later_charge_does_not_come_early():
    electronics, digitizer = electronics_of()
    charge = blank(electronics, digitizer)
    charge[0, (electronics.lead - 5) * digitizer.steps] = 10
    charge[0, (electronics.lead + 100) * digitizer.steps] = 10
    out = digitise(charge, electronics)[0] - 1000
    assert out[0] == pytest.approx(1000 * np.exp(-(80 - 77) / 300), rel=0.1)
    assert abs(out[99] - out[98]) < 5
    assert out[99] < 10
    assert out[103] > 500


def test_noise_is_white_with_its_width():
    electronics, digitizer = electronics_of(noise_rms_adc=6.0, samples=50_001)
    out = digitise(blank(electronics, digitizer), electronics)[0]
    # Rounding adds a variance of 1/12.
    assert out.std() == pytest.approx(np.sqrt(36 + 1 / 12), rel=0.01)
    assert out.mean() == pytest.approx(1000, abs=0.1)
    assert (
        stats.kstest(
            (out - 1000 + np.random.default_rng(0).uniform(-0.5, 0.5, len(out))) / 6.0, "norm"
        ).pvalue
        > 1e-3
    )
    power = abs(np.fft.rfft(out - out.mean())) ** 2
    low, high = power[1:12_000].mean(), power[12_000:24_000].mean()
    assert low == pytest.approx(high, rel=0.05)


@pytest.mark.parametrize(("bits", "signed", "low", "high"), [(14, False, 0, 16383), (10, True, -512, 511)])
@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_the_converter_clips_at_both_ends(bits, signed, low, high, polarity):
    electronics, digitizer = electronics_of(bits=bits, signed=signed, pedestal_adc=100.0, polarity=polarity)
    charge = blank(electronics, digitizer)
    charge[0, electronics.lead * digitizer.steps] = 1e6
    out = digitise(charge, electronics)[0]
    assert out.max() == (high if polarity == "positive" else 100)
    assert out.min() == (100 if polarity == "positive" else low)


def test_each_detector_has_its_own_pulse():
    slow = Pulse(rise_ns=30, fall_ns=900, adc_per_pe=50.0)
    electronics, digitizer = electronics_of(pulses=(PULSE, slow))
    charge = blank(electronics, digitizer, 2)
    charge[:, electronics.lead * digitizer.steps] = 1
    out = digitise(charge, electronics) - 1000
    assert out[0].max() == pytest.approx(100, abs=2)
    assert out[1].max() == pytest.approx(50, abs=2)
    assert out[0, 60] / out[0, 20] == pytest.approx(np.exp(-640 / 300), abs=0.03)
    assert out[1, 60] / out[1, 20] == pytest.approx(np.exp(-640 / 900), abs=0.03)
