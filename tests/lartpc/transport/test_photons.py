"""Photons: attenuation against NIST's tables, and what their interactions make."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import species as sp

# Hubbell and Seltzer, NISTIR 5632, argon: MeV and cm2/g
NIST = [
    (0.03, 2.697), (0.1, 0.2043), (0.2, 0.1205), (0.5, 0.07958), (1.0, 0.05762), (2.0, 0.04074), (5.0, 0.02802),
    (10.0, 0.02451), (20.0, 0.02453),
]  # fmt: skip


@pytest.mark.parametrize(("energy_mev", "attenuation_cm2_g"), NIST)
def test_a_narrow_beam_is_attenuated_as_nist_says(shoot, energy_mev, attenuation_cm2_g):
    count = 15000
    length_mm = 1.0 / (attenuation_cm2_g * 0.1396)
    tracks = shoot(sp.PHOTON, energy_mev, count, thick_mm=length_mm).tracks
    end = tracks.end_mm[:count]
    untouched = (end[:, 2] >= length_mm - 1e-9) & (np.abs(end[:, :2]).max(axis=1) < 1e-9)
    children = np.unique(tracks.parent[tracks.parent >= 0])
    untouched[children[children < count]] = False

    measured = -np.log(untouched.mean())
    assert measured == pytest.approx(1.0, abs=0.03 + 2.0 * np.sqrt((np.e - 1.0) / count))


def test_pairs_take_over_with_seven_ninths_of_a_radiation_length_at_high_energy(shoot):
    count = 4000
    tracks = shoot(sp.PHOTON, 50000.0, count, thick_mm=0.5 * 140.0 * 9.0 / 7.0).tracks
    made = tracks.parent[(tracks.process == sp.PAIR) & (tracks.species == sp.POSITRON)]

    assert np.isin(np.arange(count), made).mean() == pytest.approx(1.0 - np.exp(-0.5), rel=0.06)


def test_compton_electrons_have_the_mean_energy_of_klein_and_nishina(shoot):
    count, energy_mev = 20000, 1.0
    tracks = shoot(sp.PHOTON, energy_mev, count, thick_mm=5.0).tracks
    parents, first = np.unique(tracks.parent, return_index=True)
    electron = first[(parents >= 0) & (parents < count) & (tracks.process[first] == sp.COMPTON)]

    # Attix 1986, table of the energy transfer: 0.440 of the photon's energy at 1 MeV
    assert tracks.kinetic_mev[electron].mean() == pytest.approx(0.440 * energy_mev, rel=0.04)


def test_partners_of_a_pair_share_its_energy_alike(shoot):
    tracks = shoot(sp.PHOTON, 300.0, 5000, thick_mm=300.0).tracks
    pair = (tracks.process == sp.PAIR) & (tracks.parent < 5000)
    electron = tracks.kinetic_mev[pair & (tracks.species == sp.ELECTRON)]
    positron = tracks.kinetic_mev[pair & (tracks.species == sp.POSITRON)]

    np.testing.assert_allclose((electron + positron)[:50].max(), 300.0 - 2 * 0.51099895, rtol=1e-9)
    assert electron.mean() == pytest.approx(positron.mean(), rel=0.06)
    # the angle is about m / E: mean of theta E / m of some units
    angle = np.arccos(np.clip(tracks.direction[pair][:, 2], -1.0, 1.0))
    assert 0.3 < np.median(angle * tracks.kinetic_mev[pair] / 0.511) < 3.0


def test_a_stopped_positron_makes_two_photons_of_an_electrons_mass(shoot):
    event = shoot(sp.POSITRON, 0.05, 200)
    photons = event.tracks.species == sp.PHOTON
    first = photons & (event.tracks.process == sp.ANNIHILATION)

    assert first.sum() == 400
    np.testing.assert_allclose(event.tracks.kinetic_mev[first], 0.51099895)
    pair = event.tracks.direction[first].reshape(200, 2, 3)
    order = event.tracks.parent[first].reshape(200, 2)
    assert (order[:, 0] == order[:, 1]).all()
    np.testing.assert_allclose(pair[:, 0], -pair[:, 1])


def test_fast_positrons_annihilate_in_flight_as_heitler_says(shoot):
    count, kinetic_mev, thick_mm = 60000, 10.0, 3.0
    tracks = shoot(sp.POSITRON, kinetic_mev, count, thick_mm=thick_mm).tracks
    made = (tracks.process == sp.ANNIHILATION) & (tracks.parent < count)
    pairs = tracks.kinetic_mev[made].reshape(-1, 2).sum(axis=1)
    flying = pairs > 8.0  # others radiated first, and were slow or stopped
    gamma = 1.0 + 9.6 / 0.51099895  # in the middle of the slab
    root = np.sqrt(gamma**2 - 1.0)
    sigma = (gamma**2 + 4 * gamma + 1) / root**2 * np.log(gamma + root) - (gamma + 3) / root
    rate = 3.788e20 * np.pi * 7.940787e-24 / (gamma + 1.0) * sigma

    assert flying.sum() / count == pytest.approx(rate * thick_mm, rel=0.15)
    assert pairs.max() < kinetic_mev + 2 * 0.51099895
    # momentum along the beam and across it
    p = (tracks.kinetic_mev[made][:, None] * tracks.direction[made]).reshape(-1, 2, 3).sum(axis=1)[flying]
    energy = pairs[flying] - 0.51099895
    np.testing.assert_allclose(np.linalg.norm(p, axis=1), np.sqrt(energy**2 - 0.51099895**2), rtol=1e-6)
