"""Charge of photoelectrons: gain, crosstalk, afterpulses, dark counts, cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepfm_lartpc.light.config import Afterpulsing, Sensor
from hepfm_lartpc.light.sensor import charge, sensors_of
from hepfm_lartpc.streams import stream


def charges(photoelectrons, step_ns=16.0, steps_a_sample=1, event=0, **settings):
    """Charges of sensors that are all alike, ``(K, S)``."""
    counts = np.asarray(photoelectrons, np.int32)
    sensors = sensors_of([Sensor(**({"pe_width": 0.0} | settings))] * len(counts))
    return charge(counts, sensors, step_ns, steps_a_sample, stream(1, "sensor", event))


def test_an_ideal_sensor_counts():
    counts = np.array([[0, 1, 5, 0, 1000]])
    assert np.array_equal(charges(counts), counts)


def test_a_photoelectron_has_its_width_and_many_have_its_root():
    single = charges(np.ones((100, 1000)), pe_width=0.3)
    assert single.mean() == pytest.approx(1.0, abs=0.004)
    assert single.std() == pytest.approx(0.3, abs=0.004)
    many = charges(np.full((100, 1000), 25), pe_width=0.3)
    assert many.mean() == pytest.approx(25.0, abs=0.02)
    assert many.std() == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("crosstalk", [0.05, 0.2, 0.5])
def test_crosstalk_makes_borel_numbers(crosstalk):
    size = charges(np.ones((200, 1000)), crosstalk=crosstalk)
    n = size.size
    assert size.mean() == pytest.approx(1 / (1 - crosstalk), abs=4 * size.std() / math.sqrt(n))
    assert size.var() == pytest.approx(crosstalk / (1 - crosstalk) ** 3, rel=0.05)
    for k in (1, 2, 3):
        borel = math.exp(-crosstalk * k) * (crosstalk * k) ** (k - 1) / math.factorial(k)
        assert (size == k).mean() == pytest.approx(borel, abs=4 * math.sqrt(borel / n))


def test_afterpulses_come_later_with_their_mean_delay():
    counts = np.zeros((2000, 400), np.int32)
    counts[:, 0] = 50
    step_ns, tau = 4.0, 120.0
    out = charges(counts, step_ns=step_ns, afterpulsing=Afterpulsing(probability=0.1, tau_ns=tau))
    later = out.sum(0)
    # All generations together, 1 / (1 - p) for each; the number in the first step is that of quick ones.
    assert later.sum() / counts.sum() == pytest.approx(1 / 0.9, rel=0.01)
    # Where most are of the first generation: counts fall as exp(-t / tau).
    early, late = later[5:15].sum(), later[15:25].sum()
    one = math.exp(-10 * step_ns / tau)
    # The second generation adds p t / tau to the first one's density.
    middle = np.array([10, 20]) * step_ns / tau
    expected = one * (1 + 0.1 * middle[1]) / (1 + 0.1 * middle[0])
    assert late / early == pytest.approx(expected, rel=0.05)


def test_long_steps_keep_the_mean_delay_of_afterpulses():
    counts = np.zeros((4000, 60), np.int32)
    counts[:, 0] = 50
    out = charges(counts, step_ns=40.0, afterpulsing=Afterpulsing(probability=0.1, tau_ns=120.0))
    # An afterpulse of generation g, of which there are 0.1^g for each primary, comes g tau late.
    late = (out.sum(0) * np.arange(60)).sum() / counts.sum()
    assert late == pytest.approx(0.1 / 0.9**2 * 120.0 / 40.0, rel=0.04)


def test_dark_counts_have_their_rate_and_are_even():
    out = charges(np.zeros((50, 10_000)), dark_rate_hz=50_000.0)
    time_s = out.size * 16e-9
    expected = 50_000 * time_s
    assert out.sum() == pytest.approx(expected, abs=4 * math.sqrt(expected))
    halves = out[:, :5000].sum(), out[:, 5000:].sum()
    assert abs(halves[0] - halves[1]) < 4 * math.sqrt(expected)


def test_spent_cells_limit_the_charge_of_a_sample():
    counts = np.array([[10, 30, 4000, 4000]])
    out = charges(counts, steps_a_sample=2, cells=1000)
    sums = out.reshape(2, 2).sum(1)
    assert sums == pytest.approx([1000 * -math.expm1(-0.04), 1000 * -math.expm1(-8.0)], rel=1e-9)
    assert out[0, 0] / out[0, 1] == pytest.approx(1 / 3)


def test_each_detector_has_its_own_sensor():
    counts = np.ones((2, 20_000), np.int32)
    sensors = sensors_of([Sensor(pe_width=0.0, crosstalk=0.3), Sensor(pe_width=0.0)])
    out = charge(counts, sensors, 16.0, 1, stream(1, "sensor", 0))
    assert out[0].mean() == pytest.approx(1 / 0.7, rel=0.02)
    assert (out[1] == 1).all()


def test_the_same_stream_gives_the_same_charge():
    settings = {"crosstalk": 0.2, "pe_width": 0.1, "dark_rate_hz": 1e5}
    counts = np.ones((3, 200))
    assert np.array_equal(charges(counts, **settings), charges(counts, **settings))
    assert not np.array_equal(charges(counts, **settings), charges(counts, event=1, **settings))
