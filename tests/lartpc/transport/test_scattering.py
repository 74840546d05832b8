"""Multiple scattering against Highland's formula, for any step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from hepfm_lartpc import species as sp
from hepfm_lartpc.streams import stream

RADIATION_LENGTH_MM = 140.0


def highland(thick_mm, kinetic_mev, mass):
    """Width of the central 98 % of the projected angle (PDG equation 34.16), good to 11 %."""
    momentum = np.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass))
    beta = momentum / (kinetic_mev + mass)
    x = thick_mm / RADIATION_LENGTH_MM
    return 13.6 / (beta * momentum) * np.sqrt(x) * (1.0 + 0.038 * np.log(x / beta**2))


def central_width(values):
    """Width of the Gaussian that fits the central 98 %, which is what the formula stands for."""
    counts, edges = np.histogram(values, bins=50, range=np.quantile(values, [0.01, 0.99]))
    middle = 0.5 * (edges[1:] + edges[:-1])

    def gauss(x, height, width):
        return height * np.exp(-0.5 * (x / width) ** 2)

    (_, width), _ = curve_fit(gauss, middle, counts, p0=[counts.max(), values.std()])
    return abs(width)


def exit_angles(event, count):
    """Projected angles of the last pieces of the primaries' tracks, two for each."""
    deposits = event.deposits
    own = np.flatnonzero(deposits.track < count)
    last = own[np.searchsorted(deposits.track[own], np.arange(count), side="right") - 1]
    way = deposits.end_mm[last] - deposits.start_mm[last]
    return np.arctan2(way[:, :2], way[:, 2:]).ravel()


def tabata_mm(kinetic_mev):
    """Extrapolated range in argon of 1.396 g/cm3: fit to data of Tabata, Ito and Okabe, NIM 103 (1972) 85."""
    tau, z, a = kinetic_mev / 0.51099895, 18, 39.948
    a1, a2, a3 = 0.2335 * a / z**1.209, 1.78e-4 * z, 0.9891 - 3.01e-4 * z
    a4, a5 = 1.468 - 1.180e-2 * z, 1.232 / z**0.109
    return 10 / 1.396 * a1 * (np.log1p(a2 * tau) / a2 - a3 * tau / (1 + a4 * tau**a5))


@pytest.mark.parametrize("kinetic_mev", [0.5, 1.0, 2.0, 5.0])
def test_slow_electrons_come_as_deep_as_measured_with_default_steps(make_beam, make_transport, kinetic_mev):
    count = 3000
    transport = make_transport(stop_mev=0.03)  # what is left below it, 0.02 mm, does not show
    deposits = transport(make_beam(sp.ELECTRON, kinetic_mev, count), stream(3, "test", 0)).deposits
    own = deposits.track < count
    deepest = np.zeros(count)
    np.maximum.at(deepest, deposits.track[own], deposits.end_mm[own, 2])
    depth, passed = np.sort(deepest), 1 - (np.arange(count) + 0.5) / count
    straight = (passed < 0.6) & (passed > 0.2)
    slope, height = np.polyfit(depth[straight], passed[straight], 1)
    assert -height / slope == pytest.approx(tabata_mm(kinetic_mev), rel=0.06)


@pytest.mark.parametrize(
    ("species", "mass", "kinetic_mev", "thick_mm"),
    [
        (sp.MUON_MINUS, 105.658, 300.0, 3.0),
        (sp.MUON_MINUS, 105.658, 1000.0, 10.0),
        (sp.MUON_MINUS, 105.658, 3000.0, 100.0),
        (sp.MUON_MINUS, 105.658, 5000.0, 300.0),
        (sp.PROTON, 938.272, 400.0, 10.0),
        (sp.ELECTRON, 0.511, 200.0, 2.0),
    ],
)
def test_the_angle_after_a_slab_is_highlands(shoot, species, mass, kinetic_mev, thick_mm):
    count = 3000
    event = shoot(species, kinetic_mev, count, thick_mm=thick_mm, max_step_mm=thick_mm / 40.0)

    assert central_width(exit_angles(event, count)) == pytest.approx(
        highland(thick_mm, kinetic_mev, mass), rel=0.06
    )


@pytest.mark.parametrize("steps", [4, 15, 60])
def test_the_displacement_behind_a_slab_does_not_depend_on_the_step(shoot, steps):
    count, thick_mm = 3000, 60.0
    event = shoot(sp.MUON_MINUS, 1500.0, count, thick_mm=thick_mm, max_step_mm=thick_mm / steps, seed=steps)
    width = central_width(event.tracks.end_mm[:count, :2].ravel())

    # PDG equation 34.20, times 0.98: measured with 50,000 muons and steps of 0.6 mm
    expected = 0.98 * thick_mm / np.sqrt(3.0) * highland(thick_mm, 1500.0, 105.658)
    assert width == pytest.approx(expected, rel=0.04)


def test_single_scatters_make_the_tail(shoot):
    count, thick_mm, kinetic_mev = 20000, 3.0, 300.0
    angle = np.abs(
        exit_angles(shoot(sp.MUON_MINUS, kinetic_mev, count, thick_mm=thick_mm, max_step_mm=0.5), count)
    )
    width = highland(thick_mm, kinetic_mev, 105.658)

    # Moliere: beyond four widths several times more than a Gaussian's 6e-5, and less than one in a hundred
    assert 1e-3 < (angle > 4.0 * width).mean() < 1e-2
