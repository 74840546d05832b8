"""Photoelectrons in time, against photons that are emitted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from hepfm_lartpc.light.photons import draw, expected_photoelectrons, spread_in_time
from hepfm_lartpc.streams import stream

SINGLET, TRIPLET = 6.0, 1500.0


def expected(photons, emitted, fraction, steps, step_ns, seen=((1.0,),), delay=((0.0,),)):
    photons = np.atleast_1d(np.array(photons, float))
    seen, delay = (
        np.broadcast_to(np.array(x, float), (len(photons), np.shape(x)[1])).copy() for x in (seen, delay)
    )
    return expected_photoelectrons(
        photons, np.atleast_1d(np.array(emitted, float)), np.broadcast_to(fraction, len(photons)).astype(float),
        seen, delay, SINGLET, TRIPLET, steps, step_ns,
    )  # fmt: skip


def integral(t, fraction):
    """Part of a flash at time 0 that has come until t."""
    t = np.maximum(t, 0)
    return 1 - fraction * np.exp(-t / SINGLET) - (1 - fraction) * np.exp(-t / TRIPLET)


@pytest.mark.parametrize("begin", [0.0, 37.3, 8.0, -250.0, -3.0])
@pytest.mark.parametrize("step_ns", [2.0, 16.0])
def test_a_flash_is_the_integral_of_its_decay_over_each_step(begin, step_ns):
    edges = np.arange(501) * step_ns - begin
    exact = 1000 * np.diff(integral(edges, 0.3))
    assert expected(1000, begin, 0.3, 500, step_ns)[0] == pytest.approx(exact, abs=1e-9)


def test_no_photon_is_lost_or_made():
    means = expected([100.0, 50.0], [10.0, 400.0], 0.3, 4000, 16.0, seen=[[0.2, 0.05]], delay=[[3.0, 20.0]])
    assert means.sum(1) == pytest.approx([150 * 0.2, 150 * 0.05], rel=1e-9)


def test_light_after_the_last_step_is_left_out():
    assert not expected(100, 5000.0, 0.3, 300, 16.0).any()


def test_deposits_add_up_in_any_order():
    rng = np.random.default_rng(1)
    n = 30
    photons, times, seen, delay = (
        rng.uniform(0, 9, n),
        rng.uniform(-99, 999, n),
        rng.random((n, 3)),
        rng.random((n, 3)),
    )
    fraction = rng.random(n)
    args = (SINGLET, TRIPLET, 100, 16.0)
    whole = expected_photoelectrons(photons, times, fraction, seen, delay, *args)
    parts = [
        expected_photoelectrons(*(x[i : i + 1] for x in (photons, times, fraction, seen, delay)), *args)
        for i in range(n)
    ]
    assert whole == pytest.approx(np.sum(parts, axis=0), rel=1e-9)


def test_numbers_are_those_of_photons_emitted_one_by_one():
    """Counts of every step, over many flashes: mean and variance, and the histogram of single photons."""
    flashes, mean, fraction, steps, step_ns = 4000, 40.0, 0.3, 60, 16.0
    ours = np.array([
        draw(expected(mean, 20.0, fraction, steps, step_ns), stream(3, "light", event))[0] for event in range(flashes)
    ])  # fmt: skip
    rng = np.random.default_rng(7)
    count = rng.poisson(mean * flashes)
    times = 20.0 + np.where(
        rng.random(count) < fraction, rng.exponential(SINGLET, count), rng.exponential(TRIPLET, count)
    )
    brute = np.histogram(times, np.arange(steps + 1) * step_ns)[0]
    total = ours.sum(0)
    chi2 = ((total - brute) ** 2 / np.maximum(total + brute, 1)).sum()
    assert stats.chi2.sf(chi2, steps) > 1e-3
    # Poisson: the variance of each step, and of the sum of all, is the mean; steps are independent.
    means = ours.mean(0)
    assert ours.var(0)[1:10] == pytest.approx(means[1:10], rel=0.1)
    assert ours.sum(1).var() == pytest.approx(ours.sum(1).mean(), rel=0.1)


def test_time_constants_and_singlet_part_are_fitted_back_from_an_average_pulse():
    step_ns, steps = 2.0, 4000
    pulses = [draw(expected(2000, 0.0, 0.27, steps, step_ns), stream(9, "light", i))[0] for i in range(200)]
    average = np.mean(pulses, axis=0)
    edges = np.arange(steps + 1) * step_ns

    def likelihood(x):
        size, fraction, singlet, triplet = x

        def decay(tau):
            return -np.diff(np.exp(-edges / tau))

        mean = size * (fraction * decay(singlet) + (1 - fraction) * decay(triplet))
        return (mean - average * np.log(np.maximum(mean, 1e-12))).sum()

    fit = optimize.minimize(
        likelihood,
        [1500, 0.5, 20, 800],
        method="Nelder-Mead",
        options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-3},
    ).x
    assert fit[1] == pytest.approx(0.27, abs=0.005)
    assert fit[2] == pytest.approx(SINGLET, rel=0.03)
    assert fit[3] == pytest.approx(TRIPLET, rel=0.02)


@pytest.mark.parametrize("sigma", [1.0, 12.0, 40.0])
def test_the_spread_of_transit_times_is_that_of_normal_deviates(sigma):
    step_ns = 8.0
    means = np.zeros((2, 100))
    means[:, 50] = 1.0
    spread_in_time(means, np.array([sigma, 0.0]), step_ns)
    assert means[1].sum() == means[1, 50] == 1.0
    rng = np.random.default_rng(3)
    times = 50 + rng.random(400_000) + rng.normal(size=400_000) * sigma / step_ns
    brute = np.histogram(times, np.arange(101))[0] / 400_000
    assert means[0] == pytest.approx(brute, abs=4 * math.sqrt(brute.max() / 400_000))
    assert means[0].sum() == pytest.approx(1.0, abs=1e-5)
