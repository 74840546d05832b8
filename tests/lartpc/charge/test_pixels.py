"""Pixels: their weighting potential, the charge they share, and their trigger against a slow twin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import PixelReadout
from hepfm_lartpc.charge.drift import Drift, arrivals
from hepfm_lartpc.charge.pixel_currents import currents, shares
from hepfm_lartpc.charge.pixel_response import CELLS, pixel_response, weighting_potential
from hepfm_lartpc.charge.pixels import PixelPlanes
from hepfm_lartpc.charge.self_trigger import trigger
from hepfm_lartpc.streams import stream
from hepfm_lartpc.tpc import Tpc

DRIFT = Drift(velocity_mm_us=1.6, lifetime_us=1e12, longitudinal_mm2_us=4e-4, transverse_mm2_us=8.8e-4)
LEFT = Tpc(low_mm=(-300, -62, -44.34), high_mm=(0, 62, 44.34), anode="x-")
RIGHT = Tpc(low_mm=(0, -62, -44.34), high_mm=(300, 62, 44.34), anode="x+")
QUIET = {"reset_noise_e": 0.0, "readout_noise_e": 0.0}


def read(made, electrons, tpcs=(LEFT, RIGHT), seed=1, event=0, **options):
    planes = PixelPlanes(PixelReadout(**{**QUIET, **options}), list(tpcs), DRIFT)
    return planes.read(made, np.asarray(electrons, float), seed=seed, event=event)


def point(deposits, *xyz, time_ns=0.0):
    where = np.array([xyz], float)
    return deposits(where, where, 1.0, time=[time_ns])


@pytest.mark.parametrize("where", [(0.0, 0.0, 1.0), (1.9, 0.5, 0.8), (3.0, 1.0, 2.0), (6.0, 5.0, 3.0)])
def test_the_weighting_potential_is_the_solid_angle_of_the_pixel(where):
    x, y, z = where
    u, v = np.meshgrid(*2 * [(np.arange(800) + 0.5) / 800 * 4.434 - 2.217])
    solid = (z / ((u - x) ** 2 + (v - y) ** 2 + z**2) ** 1.5).sum() * (4.434 / 800) ** 2
    assert weighting_potential(x, y, z, 4.434) == pytest.approx(solid / (2 * math.pi), rel=1e-4)


def test_an_electron_leaves_its_charge_on_its_pixel_and_nothing_on_others():
    response = pixel_response(PixelReadout(neighbours=2), 1.6, 300.0)
    total = response.induced.sum(-1)
    own = np.zeros(total.shape[1:], bool)
    own[: CELLS // 2, : CELLS // 2] = True
    np.testing.assert_allclose(total[:, own], 1.0, atol=2e-6)
    np.testing.assert_allclose(total[:, ~own], 0.0, atol=2e-6)


def test_spread_arrivals_delay_the_pulse_by_nothing_and_widen_it():
    response = pixel_response(PixelReadout(), 1.6, 450.0)
    ticks = response.first + np.arange(response.induced.shape[-1])
    sharp, wide = response.induced[0, 0, 0].astype(float), response.induced[-1, 0, 0].astype(float)
    mean = [(ticks * pulse).sum() for pulse in (sharp, wide)]
    variance = [(ticks**2 * pulse).sum() - m * m for pulse, m in zip((sharp, wide), mean, strict=True)]
    assert mean[1] == pytest.approx(mean[0], abs=1e-2)
    assert variance[1] - variance[0] == pytest.approx(4.5**2, rel=0.02)


def test_currents_hold_the_charge_of_all_clouds(deposits):
    rng = np.random.default_rng(3)
    start = rng.uniform([-290, -50, -35], [290, 50, 35], (300, 3))
    made = deposits(start, start + rng.normal(0, 1, (300, 3)), 1.0)
    planes = PixelPlanes(PixelReadout(), [LEFT, RIGHT], DRIFT)
    arrived = arrivals(made, np.full(300, 2e4), [LEFT, RIGHT], DRIFT, step_mm=1.0, drift_step_mm=0.4)
    _, _, offset, charge = currents(
        arrived.tpc,
        (arrived.across_mm - planes.low_mm[arrived.tpc]) / 4.434,
        arrived.time_ns / 100,
        arrived.electrons,
        arrived.sigma_mm / 4.434,
        arrived.sigma_ns / 100,
        planes.first,
        planes.count,
        1,
        planes.response.induced,
        planes.response.first,
        planes.response.width_ticks,
        19,
    )
    assert offset[-1] == len(charge)
    assert charge.sum(dtype=float) == pytest.approx(arrived.electrons.sum(), rel=2e-3)


@pytest.mark.parametrize(
    ("centre", "sigma"), [(5.1, 0.12), (5.5, 0.3), (7.98, 0.05), (0.05, 0.1), (6.4, 1e-9)]
)
def test_a_clouds_parts_are_those_of_a_gaussian_cut_at_the_pixels_borders(centre, sigma):
    share, where = np.zeros(12), np.zeros(12)
    first, count = shares(centre, sigma, 20, share, where)
    x = centre + sigma * np.linspace(-3, 3, 60001)
    weight = np.exp(-0.5 * ((x - centre) / sigma) ** 2)
    for k in range(first, first + count):
        within = np.floor(x) == k
        assert share[k - first] == pytest.approx(weight[within].sum() / weight.sum(), abs=3e-3)
        mean = (weight[within] * x[within]).sum() / weight[within].sum()
        assert where[k - first] == pytest.approx(mean, abs=0.02)
    kept = weight[(x >= 0) & (x < 20)].sum() / weight.sum()
    assert share[:count].sum() == pytest.approx(kept, abs=3e-3)


def slow_trigger(charge, threshold, wait, reset):
    """Hits of one noise-free pixel, by cumulative sums."""
    hits, start = [], 0
    while True:
        total = np.cumsum(charge[start:])
        above = np.flatnonzero(total >= threshold)
        if not len(above):
            return hits
        end = min(above[0] + wait, len(total) - 1)
        if total[end] >= threshold:
            hits.append((start + above[0], total[end]))
        start += end + 1 + reset


@pytest.mark.parametrize("seed", range(8))
def test_the_trigger_agrees_with_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 200, 20)
    charge = rng.normal(60, 300, lengths.sum()).astype(np.float32)
    offset = np.concatenate([[0], np.cumsum(lengths)])
    first = rng.integers(-50, 50, 20)
    pixel, tick, measured, true = trigger(charge, offset, first, 2000.0, 18, 1, 0.0, 0.0, stream(1, "n", 0))
    expected = [
        (p, first[p] + at, total)
        for p in range(20)
        for at, total in slow_trigger(charge[offset[p] : offset[p + 1]].astype(float), 2000.0, 18, 1)
    ]
    assert [(p, t) for p, t, _ in expected] == list(zip(pixel, tick, strict=True))
    np.testing.assert_allclose(measured, [q for *_, q in expected], rtol=1e-9)
    np.testing.assert_array_equal(measured, true)


def test_a_point_charge_in_the_middle_of_a_pixel_is_one_hit_where_and_when_it_was(deposits):
    middle = (-62 + 13.5 * 4.434, -44.34 + 9.5 * 4.434)
    hits = read(point(deposits, -20.0, *middle), [20000.0])
    assert len(hits) == 1
    np.testing.assert_allclose(hits.position_mm[0, 1:], middle, atol=1e-9)
    # The trigger comes when a quarter is induced, at the height where the solid angle is that part of 2 pi.
    height_mm = np.linspace(0.5, 6.0, 5501)
    part = 2 / math.pi * np.arctan(2.217**2 / (height_mm * np.sqrt(2 * 2.217**2 + height_mm**2)))
    early_mm = height_mm[np.abs(part - 0.25).argmin()]
    assert hits.position_mm[0, 0] == pytest.approx(-20.0 - early_mm, abs=0.4)
    assert hits.electrons[0] == pytest.approx(20000, rel=0.05)  # some comes after the hold
    # A count is 988 electrons: 1,012 mV over 256 counts at 4 mV for a thousand.
    assert hits.charge_e[0] == pytest.approx(hits.electrons[0], abs=989 / 2)
    assert hits.adc[0] == math.floor((4e-3 * hits.electrons[0] + 580 - 288) / 1012 * 256)
    assert hits.channel[0] == 9 * 27 + 13


def test_charge_below_the_threshold_gives_no_hit(deposits):
    middle = (-62 + 13.5 * 4.434, -44.34 + 9.5 * 4.434)
    assert len(read(point(deposits, -20.0, *middle), [4900.0])) == 0
    assert len(read(point(deposits, -20.0, *middle), [4900.0], threshold_e=4500.0)) == 1


def test_the_second_volume_reads_from_its_own_side(deposits):
    hits = read(point(deposits, 20.0, -62 + 13.5 * 4.434, -44.34 + 9.5 * 4.434, time_ns=5000.0), [20000.0])
    assert hits.tpc.tolist() == [1]
    # Later by 5 us, it seems to come from 8 mm further away than it does.
    assert hits.position_mm[0, 0] == pytest.approx(20.0 - 8.0, abs=3.5)


def test_a_long_track_loses_little_of_its_charge_to_thresholds(deposits):
    start = np.array([[-250.0, -50.0, -30.0]])
    made = deposits(start, start + np.array([200.0, 90.0, 60.0]), 1.0)
    hits = read(made, [1.2e6])
    assert 0.93 < hits.electrons.sum() / 1.2e6 < 1.03
    assert hits.charge_e.sum() == pytest.approx(hits.electrons.sum(), rel=0.01)
    # All hits lie along the track.
    along = np.array([200.0, 90.0, 60.0]) / np.linalg.norm([200.0, 90.0, 60.0])
    offset = hits.position_mm - start
    assert np.linalg.norm(offset - np.outer(offset @ along, along), axis=1).max() < 2 * 4.434


def test_noise_spreads_the_charge_as_configured(deposits):
    n = 24 * 16
    grid = np.stack(np.meshgrid(np.arange(24), np.arange(16), indexing="ij"), -1).reshape(-1, 2)
    where = np.column_stack(
        [np.full(n, -1.0), -62 + (grid[:, 0] + 1.5) * 4.434, -44.34 + (grid[:, 1] + 1.5) * 4.434]
    )
    late = 20e3 * np.arange(n)  # far apart in time: no pixel sees two
    made = deposits(where, where, 1.0, time=late)
    options = {"reset_noise_e": 400.0, "readout_noise_e": 300.0, "bits": 14}
    hits = read(made, np.full(n, 30000.0), **options)
    first = np.unique(hits.channel, return_index=True)[1]
    error = (hits.charge_e - hits.electrons)[first]
    assert len(first) == n
    assert error.std() == pytest.approx(500.0, rel=0.1)
    assert error.mean() == pytest.approx(0.0, abs=5 * 500 / math.sqrt(n))


def test_an_event_is_the_same_again_and_another_event_is_not(deposits):
    start = np.array([[-250.0, -50.0, -30.0]])
    made = deposits(start, start + np.array([200.0, 90.0, 60.0]), 1.0)
    noisy = {"reset_noise_e": 900.0, "readout_noise_e": 500.0}
    first, again, other = (read(made, [1.2e6], event=event, **noisy) for event in (4, 4, 5))
    np.testing.assert_array_equal(first.adc, again.adc)
    assert first.adc.tolist() != other.adc.tolist()


def test_a_bad_pixel_gives_no_hits_and_one_that_does_not_exist_is_refused(deposits):
    made = point(deposits, -20.0, -62 + 13.5 * 4.434, -44.34 + 9.5 * 4.434)
    assert len(read(made, [20000.0], bad_channels=[9 * 27 + 13])) == 0
    with pytest.raises(DataError, match="do not exist"):
        read(made, [20000.0], bad_channels=[2 * 27 * 20])


def test_an_event_without_deposits_has_no_hits(deposits):
    assert len(read(deposits(np.zeros((0, 3)), np.zeros((0, 3)), 1.0), [])) == 0


def test_a_volume_narrower_than_a_pixel_is_refused():
    thin = Tpc(low_mm=(0, 0, 0), high_mm=(100, 4, 100), anode="x-")
    with pytest.raises(DataError, match="narrower than a pixel"):
        PixelPlanes(PixelReadout(), [thin], DRIFT)
