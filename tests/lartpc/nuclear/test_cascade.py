"""Whole interactions: no more energy or nucleons than there are, and pions' ways as measured."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import species as sp
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV, interact
from hepfm_lartpc.streams import stream

NUCLEONS = np.zeros(len(sp.NAMES))
NUCLEONS[[sp.PROTON, sp.NEUTRON, sp.DEUTERON, sp.ALPHA]] = 1, 1, 2, 4


@compiled
def many(s, species, kinetic, count):
    """Numbers and energies of the products ``(count, species)``, their momenta ``(count, 3)``, unseen energy."""
    out = np.empty((64, 5))
    numbers, energies = np.zeros((count, len(sp.NAMES))), np.zeros((count, len(sp.NAMES)))
    momenta, unseen = np.zeros((count, 3)), np.zeros(count)
    for i in range(count):
        n, unseen[i] = interact(s, species, kinetic, out)
        for k in range(n):
            kind = int(out[k, 0])
            numbers[i, kind] += 1
            energies[i, kind] += out[k, 1]
            momenta[i] += np.sqrt(out[k, 1] * (out[k, 1] + 2 * sp.MASS_MEV[kind])) * out[k, 2:]
    return numbers, energies, momenta, unseen


def cases():
    for species in (sp.PION_MINUS, sp.PION_PLUS, sp.PROTON, sp.NEUTRON, sp.KAON_MINUS, sp.KAON_PLUS):
        for kinetic in (5.0, 30.0, 165.0, 600.0, 3000.0, 10_000.0):
            yield species, kinetic


@pytest.mark.parametrize(("species", "kinetic"), list(cases()))
def test_energy_nucleons_and_charge_are_not_made(species, kinetic):
    numbers, energies, _, unseen = many(stream(1, "test", 0), species, kinetic, 300)
    carried = energies.sum(1) + (numbers * COUNTED_MASS_MEV).sum(1)
    brought = kinetic + COUNTED_MASS_MEV[species]
    np.testing.assert_allclose(carried + unseen, brought, atol=1e-6)
    # Nothing but a captured neutron's 6.1 MeV comes out of the nucleus; its mass formula is good to a few MeV.
    assert unseen.min() > -8.0
    assert (numbers @ NUCLEONS).max() <= 40 + NUCLEONS[species]
    protons = numbers @ (sp.CHARGE * (NUCLEONS > 0))
    assert protons.max() <= 18 + 3 + numbers[:, [sp.PION_MINUS]].max()


@pytest.mark.parametrize("kinetic", [125.0, 165.0, 205.0])
def test_near_the_delta_two_of_five_pions_vanish_and_one_in_eight_turns_neutral(kinetic):
    """Shares of the reactions of pi+ on calcium and iron, Ashery et al. 1981, with some 20 %."""
    numbers, _, _, _ = many(stream(2, "test", 0), sp.PION_PLUS, kinetic, 4000)
    pions = numbers[:, [sp.PION_MINUS, sp.PION_PLUS, sp.PION_ZERO]]
    assert 0.32 < (pions.sum(1) == 0).mean() < 0.5
    assert 0.07 < ((pions.sum(1) == 1) & (pions[:, 2] == 1)).mean() < 0.18


def test_absorbed_positive_pions_give_protons_and_negative_ones_neutrons():
    plus = many(stream(3, "test", 0), sp.PION_PLUS, 165.0, 3000)[1]
    minus = many(stream(3, "test", 1), sp.PION_MINUS, 165.0, 3000)[1]
    assert plus[:, sp.PROTON].mean() > 1.7 * plus[:, sp.NEUTRON].mean()
    assert minus[:, sp.NEUTRON].mean() > 1.7 * minus[:, sp.PROTON].mean()


@pytest.mark.parametrize("species", [sp.PROTON, sp.NEUTRON, sp.PION_PLUS])
def test_products_fly_forward_and_the_nucleus_takes_the_rest_of_the_momentum(species):
    _, _, momenta, _ = many(stream(4, "test", 0), species, 800.0, 3000)
    brought = np.sqrt(800.0 * (800.0 + 2 * sp.MASS_MEV[species]))
    error = 5 * momenta.std(0) / np.sqrt(len(momenta))
    assert np.abs(momenta.mean(0)[:2] / error[:2]).max() < 1
    assert 0.6 * brought < momenta[:, 2].mean() < 1.02 * brought


def test_more_energy_makes_more_pions():
    made = [
        many(stream(5, "test", 0), sp.PROTON, t, 1000)[0][:, 5:8].sum(1).mean()
        for t in (250.0, 800.0, 3e3, 1e4)
    ]
    assert made[0] < 0.05  # below the free threshold of 290 MeV, by Fermi motion alone
    assert 0.2 < made[1] < 0.8
    assert made[1] < made[2] < made[3]
    assert made[3] > 3


def test_an_interaction_follows_from_its_stream_alone():
    one, other = np.empty((64, 5)), np.empty((64, 5))
    n, unseen = interact(stream(6, "test", 3), sp.PROTON, 500.0, one)
    interact(stream(6, "test", 4), sp.PROTON, 500.0, other)
    assert interact(stream(6, "test", 3), sp.PROTON, 500.0, other) == (n, unseen)
    np.testing.assert_array_equal(one[:n], other[:n])
