"""Mean free paths against measurements that their tables were not made from."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import argon
from hepfm_lartpc import species as sp
from hepfm_lartpc.nuclear import hadron_length_mm

MB_MM2 = 1e-25


def cross_section_mb(species, kinetic_mev):
    return 1 / (hadron_length_mm(species, kinetic_mev) * argon.ATOMS_MM3 * MB_MM2)


def test_neutrons_interact_as_often_as_mini_captain_measured():
    """0.91 +- 0.10 +- 0.09 b from 100 to 800 MeV: PRL 123 (2019) 042502."""
    mean = np.mean([cross_section_mb(sp.NEUTRON, kinetic) for kinetic in np.linspace(100, 800, 29)])
    assert mean == pytest.approx(910, abs=np.hypot(100, 90))


@pytest.mark.parametrize(("species", "length_g_cm2"), [(sp.PROTON, 119.7), (sp.PION_PLUS, 149.0)])
def test_fast_hadrons_have_the_interaction_length_of_the_pdg(species, length_g_cm2):
    known_mb = argon.A / 6.02214076e23 / length_g_cm2 * 1e27
    assert cross_section_mb(species, 90e3) == pytest.approx(known_mb, rel=0.12)


@pytest.mark.parametrize("species", [sp.PHOTON, sp.ELECTRON, sp.MUON_MINUS, sp.PION_ZERO])
def test_what_is_no_hadron_that_lives_meets_no_nucleus(species):
    assert hadron_length_mm(species, 500.0) == np.inf
