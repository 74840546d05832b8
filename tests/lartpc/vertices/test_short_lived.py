"""Decays at the vertex: masses from the package ``particle``, branchings and momenta from the PDG's listings."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from particle import Particle

from hepfm_lartpc import species as sp
from hepfm_lartpc.streams import stream
from hepfm_lartpc.vertices.named import SPECIES_OF_PDG
from hepfm_lartpc.vertices.short_lived import MASS_OF_SHORT_LIVED_MEV, decays, final_particles, unseen

MOTHERS = [310, 221, 223, 113, 213, -213, 3122, 3222, 3212, 3112, 3322, 3312, 2224, 2214, 2114, 1114]
ANTIHYPERONS = [-3122, -3222, -3212, -3112, -3322, -3312, -2224, -1114]
COUNT = 6000


def mass_mev(pdg):
    return sp.MASS_MEV[SPECIES_OF_PDG[pdg]]


def charge(pdg):
    return int(Particle.from_pdgid(pdg).charge)


def modes(pdg, count=COUNT):
    """How often a particle at rest leaves which others, in the order of their numbers."""
    found = (final_particles(stream(1, "test", i), pdg, np.zeros(3)) for i in range(count))
    return Counter(tuple(sorted(kind for kind, _ in left)) for left in found)


def test_masses_are_those_of_the_pdg():
    for pdg, mass in MASS_OF_SHORT_LIVED_MEV.items():
        assert mass == pytest.approx(Particle.from_pdgid(pdg).mass, abs=0.02)


@pytest.mark.parametrize("pdg", MOTHERS)
@given(p=st.tuples(*[st.floats(-3000, 3000)] * 3), event=st.integers(0, 2**32))
def test_energy_momentum_and_charge_are_those_of_the_particle(pdg, p, event):
    momentum = np.array(p)
    left = final_particles(stream(2, "test", event), pdg, momentum)
    assert len(left) >= 2
    assert not any(decays(kind) or unseen(kind) for kind, _ in left)
    energies = [np.sqrt(mass_mev(kind) ** 2 + k @ k) for kind, k in left]
    energy = np.sqrt(MASS_OF_SHORT_LIVED_MEV[abs(pdg)] ** 2 + momentum @ momentum)
    assert sum(energies) == pytest.approx(energy, rel=1e-9)
    np.testing.assert_allclose(sum(k for _, k in left), momentum, atol=1e-8 * energy)
    assert sum(charge(kind) for kind, _ in left) == charge(pdg)


@pytest.mark.parametrize(
    ("pdg", "shares"),
    [
        (310, {(-211, 211): 0.6920, (111, 111): 0.3069}),
        (221, {(22, 22): 0.3936, (111, 111, 111): 0.3257, (-211, 111, 211): 0.2302, (-211, 22, 211): 0.0428}),
        (223, {(-211, 111, 211): 0.892, (22, 111): 0.0835, (-211, 211): 0.0153}),
        (3122, {(-211, 2212): 0.641, (111, 2112): 0.359}),
        (3222, {(111, 2212): 0.5147, (211, 2112): 0.4843}),
        # By isospin: Clebsch-Gordan coefficients.
        (2214, {(111, 2212): 2 / 3, (211, 2112): 1 / 3}),
        (2114, {(111, 2112): 2 / 3, (-211, 2212): 1 / 3}),
    ],
)
def test_modes_come_in_the_shares_of_the_pdg(pdg, shares):
    """Left out are modes below 1 %, so that the rest comes a little more often."""
    found = modes(pdg)
    assert found.keys() == shares.keys()
    for mode, share in shares.items():
        part = share / sum(shares.values())
        assert found[mode] / COUNT == pytest.approx(part, abs=4 * np.sqrt(part * (1 - part) / COUNT) + 1e-3)


@pytest.mark.parametrize(
    ("pdg", "mode", "p_mev"),
    [
        *((310, (-211, 211), 206), (310, (111, 111), 209), (221, (22, 22), 274), (223, (22, 111), 380)),
        *((3122, (-211, 2212), 101), (3122, (111, 2112), 104)),
        *((3222, (111, 2212), 189), (3222, (211, 2112), 185), (3112, (-211, 2112), 193)),
    ],
)
def test_two_bodies_have_the_momentum_that_the_pdg_lists(pdg, mode, p_mev):
    for i in range(100):
        left = final_particles(stream(3, "test", i), pdg, np.zeros(3))
        if tuple(sorted(kind for kind, _ in left)) == mode:
            for _, k in left:
                assert np.linalg.norm(k) == pytest.approx(p_mev, abs=0.7)
            return
    raise AssertionError("the mode did not come")


def test_the_photon_and_pion_of_a_chain_have_the_masses_between():
    """Xi- to Lambda pi-, Lambda to nucleon and pion: the pair from Lambda has its mass."""
    for i in range(200):
        left = final_particles(stream(4, "test", i), 3312, np.array([0.0, 0.0, 900.0]))
        nucleon = next(n for n, (kind, _) in enumerate(left) if kind in (2212, 2112))
        masses = []
        for n, (kind, k) in enumerate(left):
            if n == nucleon or kind not in (-211, 111):
                continue
            total = k + left[nucleon][1]
            energy = sum(np.sqrt(mass_mev(a) ** 2 + b @ b) for a, b in (left[n], left[nucleon]))
            masses.append(np.sqrt(energy**2 - total @ total))
        assert min(abs(mass - 1115.683) for mass in masses) < 1e-6


def test_decays_are_even_in_direction():
    directions = np.array([
        next(k for kind, k in final_particles(stream(5, "test", i), 113, np.zeros(3)) if kind == 211)
        for i in range(COUNT)
    ])  # fmt: skip
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    assert np.abs(directions.mean(0)).max() < 4 / np.sqrt(3 * COUNT)
    assert np.abs((directions**2).mean(0) - 1 / 3).max() < 4 * np.sqrt(4 / 45 / COUNT)


@pytest.mark.parametrize("pdg", [311, -311])
def test_half_of_neutral_kaons_are_short(pdg):
    found = modes(pdg)
    assert found[()] / COUNT == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / COUNT))
    assert found[-211, 211] / (COUNT - found[()]) == pytest.approx(0.692, abs=0.03)


@pytest.mark.parametrize("pdg", [12, -14, 16, 130, 1000180400, 1000170390])
def test_neutrinos_long_kaons_and_nuclei_leave_without_a_trace(pdg):
    assert final_particles(stream(6, "test", 0), pdg, np.array([1.0, 2.0, 3.0])) == []


@pytest.mark.parametrize("pdg", [13, -211, 2212, 22, 111, 1000020040])
def test_what_can_be_followed_is_left_as_it_is(pdg):
    momentum = np.array([10.0, 20.0, 30.0])
    ((kind, k),) = final_particles(stream(7, "test", 0), pdg, momentum)
    assert kind == pdg
    np.testing.assert_array_equal(k, momentum)


@pytest.mark.parametrize("pdg", [*ANTIHYPERONS, 4122, -2212, 15])
def test_what_would_leave_what_cannot_be_followed_is_refused(pdg):
    with pytest.raises(KeyError):
        final_particles(stream(8, "test", 0), pdg, np.zeros(3))
