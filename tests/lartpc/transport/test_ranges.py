"""Mean energy loss and range, against the tables of the Particle Data Group."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import species as sp
from hepfm_lartpc.transport import range_mm

# Groom, Mokhov and Striganov 2001, liquid argon: kinetic energy in MeV, dE/dx in MeV cm2/g, range in g/cm2
MUON = np.array([
    (20, 3.502, 3.321), (40, 2.340, 10.58), (80, 1.771, 30.84), (100, 1.669, 42.50), (140, 1.570, 67.32),
    (200, 1.518, 106.3), (300, 1.510, 172.5), (400, 1.526, 238.5), (800, 1.610, 493.4), (1000, 1.645, 616.3),
])  # fmt: skip
DENSITY_G_MM3 = 0.1396  # g/cm2 for each mm


def test_the_range_of_muons_is_that_of_the_tables():
    ours = range_mm(sp.MUON_PLUS, MUON[:, 0]) * DENSITY_G_MM3

    np.testing.assert_allclose(ours, MUON[:, 2], rtol=0.005)


@pytest.mark.parametrize(
    ("species", "kinetic_mev", "expected_mm", "tolerance"),
    [(sp.MUON_MINUS, 250.0, 1000.0, 0.02), (sp.PROTON, 200.0, 261.0, 0.02), (sp.ALPHA, 5.0, 0.045, 0.25)],
)
def test_simulated_particles_stop_after_their_range(shoot, species, kinetic_mev, expected_mm, tolerance):
    tracks = shoot(species, kinetic_mev, 300).tracks
    length = tracks.length_mm[:300]
    length = length[length > 0.8 * expected_mm]  # one muon in two thousand decays before it stops

    assert length.mean() == pytest.approx(expected_mm, rel=tolerance)
    if expected_mm > 1.0:
        # straggling of range: about 3 % for muons and 1 % for protons (Sternheimer 1960)
        assert 0.005 < length.std() / length.mean() < 0.05


def test_loss_against_residual_range_follows_the_table(shoot):
    count = 250
    event = shoot(sp.MUON_PLUS, 420.0, count)
    deposits, tracks = event.deposits, event.tracks
    spent = np.zeros((count, len(MUON)))  # MeV that a muon still loses from each residual range on
    own = deposits.track < count
    muon, loss = deposits.track[own], deposits.energy_mev[own]
    ends = np.zeros_like(loss)
    for i in range(count):
        mine = muon == i
        ends[mine] = np.cumsum(deposits.length_mm[own][mine])
    residual = tracks.length_mm[muon] - ends + 0.5 * deposits.length_mm[own]
    edges_mm = MUON[:, 2] / DENSITY_G_MM3
    knocked = (tracks.process == sp.DELTA) & (tracks.parent < count)
    start = np.linalg.norm(tracks.start_mm[knocked] - tracks.end_mm[tracks.parent[knocked]], axis=1)
    for k, edge in enumerate(edges_mm):
        np.add.at(spent[:, k], muon[residual < edge], loss[residual < edge])
        near = start < edge
        np.add.at(spent[:, k], tracks.parent[knocked][near], tracks.kinetic_mev[knocked][near])
    inside = MUON[:, 0] <= 300
    energy = spent.mean(axis=0)[inside]

    np.testing.assert_allclose(energy, MUON[inside, 0], rtol=0.015)
    # dE/dx between the points of the table, whose mean is the difference of energies over that of ranges
    np.testing.assert_allclose(np.diff(energy), np.diff(MUON[inside, 0]), rtol=0.03)
    assert energy[0] / MUON[0, 2] > 3 * np.diff(energy)[-1] / np.diff(MUON[inside, 2])[-1]  # Bragg's rise


def test_electrons_and_muons_of_one_speed_leave_the_same_along_their_path(shoot):
    # The loss by collisions below a cut depends on the speed alone (PDG section 34.2.5): here that of the plateau,
    # from another formula for each. Muons add 1 % by radiation.
    count, thick_mm, beta_gamma = 3000, 2.0, 100.0
    left = {}
    for species, mass in ((sp.ELECTRON, 0.51099895), (sp.MUON_MINUS, 105.6583755)):
        event = shoot(species, mass * (np.hypot(1.0, beta_gamma) - 1.0), count, thick_mm=thick_mm)
        left[species] = event.tracks.deposited_mev[:count].mean() / event.tracks.length_mm[:count].mean()

    assert left[sp.ELECTRON] == pytest.approx(left[sp.MUON_MINUS], rel=0.02)


def test_the_range_of_electrons_follows_katz_and_penfold():
    # Rev. Mod. Phys. 24 (1952) 28: extrapolated ranges in aluminium, 0.412 E**(1.265 - 0.0954 ln E) g/cm2. Argon
    # has 6.6 % fewer electrons a gram, and the path is longer than the depth by detours, the more the slower.
    energy = np.array([0.2, 0.5, 1.0, 2.0])
    depth = 0.412 * energy ** (1.265 - 0.0954 * np.log(energy)) * (13 / 26.982) / (18 / 39.948)

    ratio = range_mm(sp.ELECTRON, energy) * DENSITY_G_MM3 / depth
    assert (ratio > 1.1).all()
    assert (ratio < 1.6).all()
    assert (np.diff(ratio) < 0.0).all()
