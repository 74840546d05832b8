"""Drift: velocity against another parametrisation and data, losses and volumes against the analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepfm_lartpc.charge.drift import Drift, ElectronDrift, arrivals, drift_of, velocity_mm_us
from hepfm_lartpc.streams import stream
from hepfm_lartpc.tpc import Tpc

BOX = Tpc(low_mm=(-500, -500, -500), high_mm=(500, 500, 500), anode="x-")
STEADY = Drift(velocity_mm_us=1.6, lifetime_us=3000.0, longitudinal_mm2_us=4e-4, transverse_mm2_us=8.8e-4)


def drifted(made, electrons, tpcs=(BOX,), drift=STEADY, s=None):
    return arrivals(made, electrons, tpcs, drift, step_mm=2.0, drift_step_mm=1.0, s=s)


def li_et_al(field_kv_cm, temperature_k):
    """Li et al., NIM A 816 (2016) 160, in mm/us."""
    a0, a1, a2, a3, a4, a5 = 551.6, 7158.3, 4440.43, 4.29, 43.63, 0.2053
    e = field_kv_cm
    mobility = (a0 + a1 * e + a2 * e**1.5 + a3 * e**2.5) / (1 + (a1 / a0) * e + a4 * e**2 + a5 * e**3)
    return 0.01 * mobility * e * (temperature_k / 89) ** -1.5


@pytest.mark.parametrize("field_kv_cm", [0.2, 0.3, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("temperature_k", [87.0, 89.0])
def test_the_velocity_agrees_with_another_parametrisation(field_kv_cm, temperature_k):
    assert velocity_mm_us(field_kv_cm, temperature_k) == pytest.approx(
        li_et_al(field_kv_cm, temperature_k), rel=0.03
    )


def test_the_velocity_at_the_usual_field_is_the_one_everybody_knows():
    assert velocity_mm_us(0.5, 87.0) == pytest.approx(1.60, abs=0.01)
    # MicroBooNE, JINST 15 (2020) P12037: 1.098 mm/us at 0.2739 kV/cm.
    assert velocity_mm_us(0.2739, 89.1) == pytest.approx(1.098, rel=0.02)


def test_the_velocity_rises_with_the_field_without_jumps():
    velocity = np.array([velocity_mm_us(e, 87.3) for e in np.linspace(0.02, 2.0, 2000)])
    assert (np.diff(velocity) > 0).all()
    assert np.diff(velocity).max() < 0.03


def test_a_measured_velocity_takes_the_place_of_the_calculated_one():
    conditions = {"field_kv_cm": 0.5, "temperature_k": 87.3, "lifetime_ms": 3.0}
    assert drift_of(ElectronDrift(velocity_mm_us=1.7), **conditions).velocity_mm_us == 1.7
    calculated = drift_of(ElectronDrift(longitudinal_cm2_s=5.0), **conditions)
    assert calculated.velocity_mm_us == velocity_mm_us(0.5, 87.3)
    assert calculated.lifetime_us == 3000.0
    # 5 cm2/s over 1 ms are 2 x 5e-3 cm2.
    assert math.sqrt(2 * calculated.longitudinal_mm2_us * 1000) == pytest.approx(10 * math.sqrt(0.01))


def test_electrons_are_lost_exponentially_with_the_time_of_drift(deposits):
    x = np.array([-499.0, -100.0, 0.0, 400.0])
    made = deposits(np.stack([x, 0 * x, 0 * x], 1), np.stack([x, 0 * x, 0 * x], 1), 1.0, time=[0, 10, 20, 30])
    found = drifted(made, np.full(4, 1e5))
    drift_us = (x + 500) / 1.6
    np.testing.assert_allclose(found.electrons, 1e5 * np.exp(-drift_us / 3000.0), rtol=1e-12)
    np.testing.assert_allclose(found.time_ns, [0, 10, 20, 30] + 1e3 * drift_us, rtol=1e-12)
    np.testing.assert_allclose(found.sigma_mm, np.sqrt(2 * 8.8e-4 * drift_us), rtol=1e-12)
    np.testing.assert_allclose(1e-3 * found.sigma_ns * 1.6, np.sqrt(2 * 4e-4 * drift_us), rtol=1e-12)


def test_the_loss_fluctuates_as_a_binomial(deposits):
    n = 20000
    made = deposits(np.zeros((n, 3)), np.zeros((n, 3)), 1.0)
    found = drifted(made, np.full(n, 1e4), s=stream(1, "drift", 0)).electrons
    survives = math.exp(-500 / 1.6 / 3000)
    assert found.mean() == pytest.approx(1e4 * survives, rel=1e-4)
    assert found.std() == pytest.approx(math.sqrt(1e4 * survives * (1 - survives)), rel=0.03)


def test_a_long_deposit_is_cut_into_pieces_that_keep_its_charge_and_extent(deposits):
    endless = Drift(velocity_mm_us=1.6, lifetime_us=1e12, longitudinal_mm2_us=0, transverse_mm2_us=0)
    found = drifted(deposits([[0, 0, 0]], [[30, 40, 0]], 1.0), np.array([6e4]), drift=endless)
    assert len(found) == 30  # the drift's step of 1 mm is the shorter one
    assert found.electrons.sum() == pytest.approx(6e4)
    assert found.across_mm[:, 0].mean() == pytest.approx(20.0)
    assert found.across_mm[:, 0].std() == pytest.approx(40 / math.sqrt(12), rel=1e-2)


@pytest.mark.parametrize("anode", ["x-", "x+", "y-", "y+", "z-", "z+"])
def test_each_face_is_reached_along_its_axis(deposits, anode):
    volume = Tpc(low_mm=(-100, -200, -300), high_mm=(100, 200, 300), anode=anode)
    point = np.array([[10.0, 20.0, 30.0]])
    found = drifted(deposits(point, point, 1.0), np.array([1.0]), [volume])
    axis = "xyz".index(anode[0])
    face = (volume.high_mm if anode[1] == "+" else volume.low_mm)[axis]
    assert 1e-3 * found.time_ns[0] == pytest.approx(abs(point[0, axis] - face) / 1.6)
    assert found.across_mm[0].tolist() == np.delete(point[0], axis).tolist()


def test_charge_goes_to_the_volume_that_it_lies_in_and_is_lost_outside_of_all(deposits):
    left = Tpc(low_mm=(-100, -100, -100), high_mm=(0, 100, 100), anode="x-")
    right = Tpc(low_mm=(0, -100, -100), high_mm=(100, 100, 100), anode="x+")
    found = drifted(deposits([[-30, 0, 0]], [[10, 0, 0]], 1.0), np.array([4000.0]), [left, right])
    by_volume = np.bincount(found.tpc, found.electrons)
    assert by_volume[0] / by_volume[1] == pytest.approx(3.0, rel=0.02)
    assert len(drifted(deposits([[0, 101, 0]], [[0, 101, 0]], 1.0), np.array([1.0]), [left, right])) == 0


def test_an_event_without_deposits_has_no_arrivals(deposits):
    assert len(drifted(deposits(np.zeros((0, 3)), np.zeros((0, 3)), 1.0), np.zeros(0))) == 0
