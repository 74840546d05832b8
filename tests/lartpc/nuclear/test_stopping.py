"""Particles at rest: life times, shares and what captures leave, against measurements."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepfm_lartpc import species as sp
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV, stops
from hepfm_lartpc.streams import stream

CAPTURES = 20_000


@compiled
def many(s, species, count):
    """Delay, decay flag, unseen energy; then number and energy of each species, and the largest photon."""
    out = np.empty((64, 5))
    table = np.zeros((count, 4))
    numbers = np.zeros((count, len(sp.NAMES)))
    energies = np.zeros((count, len(sp.NAMES)))
    for i in range(count):
        n, table[i, 2], table[i, 0], decayed = stops(s, species, out)
        table[i, 1] = 1.0 if decayed else 0.0
        for k in range(n):
            kind = int(out[k, 0])
            numbers[i, kind] += 1
            energies[i, kind] += out[k, 1]
            if kind == 0:
                table[i, 3] = max(table[i, 3], out[k, 1])
    return table, numbers, energies


@pytest.fixture(scope="module")
def muons():
    return many(stream(1, "test", 0), sp.MUON_MINUS, CAPTURES)


@pytest.fixture(scope="module")
def pions():
    return many(stream(2, "test", 0), sp.PION_MINUS, CAPTURES)


def test_negative_muons_live_as_long_as_measured_in_argon_and_three_in_four_are_captured(muons):
    table, _, _ = muons
    # 1 / (1.30 + 0.975 x 0.4552) per us; the measured rates of capture reach from 1.20 to 1.41.
    assert table[:, 0].mean() == pytest.approx(573.5, rel=0.025)
    assert stats.kstest(table[:, 0], "expon", args=(0, 573.5)).pvalue > 1e-3
    assert 1 - table[:, 1].mean() == pytest.approx(0.745, abs=0.012)


@pytest.mark.parametrize(
    ("species", "life_ns"), [(sp.MUON_PLUS, 2196.98), (sp.PION_PLUS, 26.033), (sp.KAON_PLUS, 12.38)]
)
def test_positive_particles_decay_with_their_life_times(species, life_ns):
    table, _, _ = many(stream(3, "test", 0), species, 20_000)
    assert table[:, 1].all()
    assert stats.kstest(table[:, 0], "expon", args=(0, life_ns)).pvalue > 1e-3


def test_captured_muons_free_about_one_neutron_and_give_their_energy_to_the_neutrino(muons):
    table, numbers, energies = muons
    captured = table[:, 1] == 0
    assert 1.0 < numbers[captured, sp.NEUTRON].mean() < 1.5
    assert numbers[captured, sp.PROTON].mean() < 0.15
    assert 73 < energies[captured, sp.NEUTRINO].mean() < 92
    visible = energies[captured, sp.PHOTON] + energies[captured, sp.NEUTRON]
    assert (numbers[captured, sp.PHOTON] > 0).mean() > 0.6
    assert 5 < visible.mean() < 20
    assert numbers[captured, sp.NEUTRON].max() < 6


def test_captured_pions_free_nucleons_as_measured(pions):
    """Between what carbon and copper give; argon has more neutrons than either. About half the energy is kinetic."""
    table, numbers, energies = pions
    assert 2.2 < numbers[:, sp.NEUTRON].mean() < 4.8
    assert 0.2 < numbers[:, sp.PROTON].mean() < 1.2
    nucleons = energies[:, [sp.NEUTRON, sp.PROTON, sp.ALPHA]].sum(1)
    assert 60 < nucleons.mean() < 125
    assert (table[:, 3] > 50).mean() == pytest.approx(0.02, abs=0.005)
    assert numbers[:, sp.PION_MINUS].sum() == 0


def test_captured_kaons_make_a_hyperon_that_decays():
    _, numbers, energies = many(stream(4, "test", 0), sp.KAON_MINUS, 5000)
    pions_out = numbers[:, [sp.PION_MINUS, sp.PION_ZERO, sp.PION_PLUS]].sum(1)
    assert 0.9 < pions_out.mean() < 2.0
    assert energies.sum(1).max() < 493.677


@pytest.mark.parametrize("species", [sp.MUON_MINUS, sp.PION_MINUS, sp.KAON_MINUS, sp.MUON_PLUS])
def test_energy_that_the_products_lack_is_told(species):
    table, numbers, energies = many(stream(5, "test", 0), species, 3000)
    brought = sp.MASS_MEV[species]
    carried = energies.sum(1) + (numbers * COUNTED_MASS_MEV).sum(1)
    np.testing.assert_allclose(carried + table[:, 2], brought, atol=1e-9)
    assert (carried < brought + 12.0).all()


def test_a_stopped_proton_stays():
    out = np.empty((64, 5))
    assert stops(stream(6, "test", 0), sp.PROTON, out) == (0, 0.0, 0.0, False)
