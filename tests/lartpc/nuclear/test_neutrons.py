"""Slow neutrons: kinematics with the argon nucleus, its levels, and the energy of capture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hepfm_lartpc import species as sp
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear import interact
from hepfm_lartpc.nuclear.neutrons import capture, elastic, excite
from hepfm_lartpc.streams import stream

ARGON_MEV = 37_215.5
"""Mass of the nucleus of argon-40: 39.9623831 u less 18 electrons."""
LEVELS_MEV = {0.0, 1.4608, 2.1208, 2.5241, 2.8926, 3.2079}
"""Of argon-40 (ENSDF)."""


@compiled
def scattered(s, kinetic, count):
    """(count, 5) neutrons after elastic scattering."""
    out = np.empty((64, 5))
    found = np.empty((count, 5))
    for i in range(count):
        elastic(s, kinetic, out)
        found[i] = out[0]
    return found


def four_momenta(rows):
    mass = sp.MASS_MEV[rows[:, 0].astype(int)]
    size = np.sqrt(rows[:, 1] * (rows[:, 1] + 2 * mass))
    return rows[:, 1] + mass, size[:, None] * rows[:, 2:]


def missing_mass_mev(kinetic, rows):
    """Of what is not in the table: the nucleus."""
    energy, p = four_momenta(rows)
    lost_energy = kinetic + sp.NEUTRON_MASS + ARGON_MEV - energy.sum()
    lost = np.array([0, 0, np.sqrt(kinetic * (kinetic + 2 * sp.NEUTRON_MASS))]) - p.sum(0)
    return np.sqrt(lost_energy**2 - lost @ lost)


@given(log_mev=st.floats(-6.0, 2.5), event=st.integers(0, 2**32))
def test_an_elastic_collision_leaves_the_nucleus_its_mass(log_mev, event):
    kinetic, out = 10.0**log_mev, np.empty((64, 5))
    assert elastic(stream(1, "test", event), kinetic, out) == 1
    assert out[0, 0] == sp.NEUTRON
    assert out[0, 1] <= kinetic * (1 + 1e-9)
    assert missing_mass_mev(kinetic, out[:1]) == pytest.approx(ARGON_MEV, abs=1e-3 + 1e-4 * kinetic)


def test_slow_neutrons_keep_an_even_share_of_their_energy_down_to_that_of_a_head_on_collision():
    """Even in angle in the common frame is even in energy: from ((M - m) / (M + m))^2 to all of it."""
    share = scattered(stream(2, "test", 0), 1e-3, 50_000)[:, 1] / 1e-3
    least = ((ARGON_MEV - sp.NEUTRON_MASS) / (ARGON_MEV + sp.NEUTRON_MASS)) ** 2
    assert stats.kstest(share, stats.uniform(least, 1 - least).cdf).pvalue > 1e-3


def test_fast_neutrons_are_diffracted_by_a_disc_as_large_as_the_nucleus():
    """The mean square of the momentum transferred is 4 / R^2 for an exponential peak of a disc of radius R."""
    kinetic = 100.0
    found = scattered(stream(3, "test", 0), kinetic, 50_000)
    _, p = four_momenta(found)
    given_mev = np.array([0, 0, np.sqrt(kinetic * (kinetic + 2 * sp.NEUTRON_MASS))]) - p
    radius_fm = 2 * 197.327 / np.sqrt((given_mev**2).sum(1).mean())
    assert radius_fm == pytest.approx(1.35 * 40 ** (1 / 3), rel=0.05)
    azimuth = np.arctan2(found[:, 3], found[:, 2])
    assert stats.kstest(azimuth, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


@given(kinetic=st.floats(1.55, 5.0), event=st.integers(0, 2**32))
def test_an_excited_nucleus_gives_the_energy_of_a_level_in_photons(kinetic, event):
    out = np.empty((64, 5))
    n = excite(stream(4, "test", event), kinetic, out)
    neutron, photons = out[:1], out[1:n]
    assert neutron[0, 0] == sp.NEUTRON
    assert (photons[:, 0] == sp.PHOTON).all()
    level = photons[:, 1].sum()
    assert min(abs(level - known) for known in LEVELS_MEV) < 1e-3
    assert photons[0, 1] == pytest.approx(1.4608, abs=1e-3), "all levels pass through the first"
    # The nucleus is left with its mass and the level's energy, before it radiates. The code has no relativity.
    assert missing_mass_mev(kinetic, neutron) == pytest.approx(ARGON_MEV + level, abs=2e-3 * kinetic)


def test_only_levels_that_can_be_reached_are():
    out = np.empty((64, 5))
    for event in range(200):
        # In the common frame 40/41 of 2.1 MeV are left: the first level alone.
        assert excite(stream(5, "test", event), 2.1, out) == 2


@given(log_mev=st.floats(-9.0, 0.0), event=st.integers(0, 2**32))
def test_capture_sets_the_binding_energy_free(log_mev, event):
    kinetic, out = 10.0**log_mev, np.empty((64, 5))
    n = capture(stream(6, "test", event), kinetic, out)
    # Argon-40 and a neutron less argon-41: 39.9623831, 1.0086649 and 40.9645006 u (AME 2020).
    freed = (39.9623831220 + 1.00866491595 - 40.96450057) * 931.49410242
    available = kinetic * ARGON_MEV / (ARGON_MEV + sp.NEUTRON_MASS)
    assert n == 3
    assert (out[:n, 0] == sp.PHOTON).all()
    assert out[:n, 1].sum() == pytest.approx(freed + available, abs=1e-3)
    np.testing.assert_allclose(np.linalg.norm(out[:n, 2:], axis=1), 1, atol=1e-12)


def test_the_lines_of_capture_are_those_of_argon_41():
    """167, 516, 838, 1,187 and 4,745 keV are the strongest (Nucl. Data Sheets 133 (2016) 1)."""
    out, energies = np.empty((64, 5)), []
    for event in range(5000):
        n = capture(stream(7, "test", event), 2.53e-8, out)
        energies += out[:n, 1].tolist()
    share = {line: np.mean(np.abs(np.array(energies) - line) < 2e-3) * 3
             for line in (0.1673, 0.5161, 0.8377, 1.1868, 4.7450)}  # fmt: skip
    assert share[4.7450] > 0.5
    assert share[0.1673] > 0.5
    assert share[1.1868] > 0.5
    assert 0.1 < share[0.8377] < share[0.5161] < 0.4


def test_a_thermal_neutron_is_captured_or_scattered_in_proportion():
    """0.66 b of capture and 0.65 b of elastic scattering."""
    out, captured, count = np.empty((64, 5)), 0, 4000
    for event in range(count):
        n, unseen = interact(stream(8, "test", event), sp.NEUTRON, 2.53e-8, out)
        kinds = out[:n, 0].astype(int)
        captured += (kinds == sp.PHOTON).all()
        assert unseen == pytest.approx(2.53e-8 - out[:n, 1].sum(), abs=1e-9)
    assert captured / count == pytest.approx(0.66 / (0.66 + 0.65), abs=0.04)
