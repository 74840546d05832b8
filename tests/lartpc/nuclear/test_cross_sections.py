"""Cross sections against the evaluations that their tables come from, at other points, and against others.

Barashenkov evaluated pions and nucleons on calcium (A = 40.08): V. S. Barashenkov, "Cross sections of
interactions of particles and nuclei with nuclei" (JINR, Dubna, 1993). Good to 5 to 10 %.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepfm_lartpc import argon
from hepfm_lartpc import species as sp
from hepfm_lartpc.nuclear import hadron_length_mm
from hepfm_lartpc.nuclear.cross_sections import inelastic_mb, neutron_capture_mb, neutron_elastic_mb

HADRONS = [sp.PION_MINUS, sp.PION_PLUS, sp.PROTON, sp.NEUTRON, sp.KAON_MINUS, sp.KAON_PLUS]


@pytest.mark.parametrize(
    ("species", "kinetic_mev", "known_mb"),
    [
        # Between the points that the code has.
        *((sp.PION_MINUS, 450, 600), (sp.PION_MINUS, 700, 600), (sp.PION_MINUS, 900, 610)),
        *((sp.PION_PLUS, 450, 585), (sp.PION_PLUS, 700, 590), (sp.PION_PLUS, 900, 602)),
        # At the peak of the Delta, on its way up, where the charges differ, and far above.
        *((sp.PION_MINUS, 40, 550), (sp.PION_MINUS, 120, 980), (sp.PION_MINUS, 200, 820)),
        *((sp.PION_PLUS, 40, 315), (sp.PION_PLUS, 120, 905), (sp.PION_PLUS, 200, 770)),
        *((sp.PION_MINUS, 1e4, 488), (sp.PION_PLUS, 2e3, 540)),
    ],
)
def test_pions_interact_as_barashenkov_evaluated(species, kinetic_mev, known_mb):
    assert inelastic_mb(species, float(kinetic_mev)) == pytest.approx(known_mb, rel=0.02)


@pytest.mark.parametrize(
    ("kinetic_mev", "proton_mb", "neutron_mb"),
    [(35, 835, 925), (60, 640, 680), (100, 573, 600), (200, 530, 550), (500, 570, 570), (1e3, 622, 622),
     (3e3, 620, 620), (1e4, 592, 592), (1e5, 580, 580)],
)  # fmt: skip
def test_fast_nucleons_interact_as_barashenkov_evaluated_too(kinetic_mev, proton_mb, neutron_mb):
    """The code has the formula of Letaw and others, made from other data."""
    for species, known_mb in ((sp.PROTON, proton_mb), (sp.NEUTRON, neutron_mb)):
        assert inelastic_mb(species, float(kinetic_mev)) == pytest.approx(known_mb, rel=0.12)


@pytest.mark.parametrize(
    ("kinetic_mev", "known_mb"),
    [(14, 2180), (20, 2115), (30, 2300), (50, 2180), (100, 1340), (200, 790), (500, 830), (1e3, 965),
     (1e4, 925)],
)  # fmt: skip
def test_all_that_a_fast_neutron_does_adds_up_to_the_total(kinetic_mev, known_mb):
    """Total cross sections of neutrons on calcium; the elastic part is from elsewhere, with some 30 %."""
    kinetic = float(kinetic_mev)
    total = inelastic_mb(sp.NEUTRON, kinetic) + neutron_elastic_mb(kinetic) + neutron_capture_mb(kinetic)
    assert total == pytest.approx(known_mb, rel=0.2)


def test_slow_neutrons_scatter_and_are_captured_as_measured():
    thermal = 2.53e-8
    # Bound coherent and incoherent scattering of natural argon, 0.683 b (Sears, Neutron News 3 (1992) 26),
    # for a free nucleus.
    free_mb = 683 * (39.948 / (39.948 + 1.00866)) ** 2
    assert neutron_elastic_mb(thermal) == pytest.approx(free_mb, rel=0.03)
    # 0.660(10) b (Mughabghab 2018); 0.673(26)(59) b (ACED 2019).
    assert neutron_capture_mb(thermal) == pytest.approx(660, rel=0.03)
    assert inelastic_mb(sp.NEUTRON, 1.4) == 0, "the first level of argon-40 is at 1.46 MeV"
    assert inelastic_mb(sp.NEUTRON, 2.0) > 100


@given(st.floats(-8.9, 1.0))
def test_capture_goes_as_one_over_the_velocity(log_mev):
    kinetic = 10.0**log_mev
    ratio = neutron_capture_mb(kinetic) / neutron_capture_mb(4.0 * kinetic)
    assert ratio == pytest.approx(2.0, rel=2e-3)


def test_neutrons_fly_far_where_argon_is_nearly_transparent():
    """The dip of the elastic cross section at 57 keV lets them through metres of argon (ARTIE)."""
    assert hadron_length_mm(sp.NEUTRON, 0.056) > 5000
    assert hadron_length_mm(sp.NEUTRON, 0.2) < 500


@pytest.mark.parametrize("species", HADRONS)
@given(log_mev=st.floats(-8.9, 5.0))
def test_the_mean_free_path_is_that_of_the_cross_sections_and_the_density(species, log_mev):
    kinetic = 10.0**log_mev
    mb = inelastic_mb(species, kinetic)
    assert mb >= 0
    if species == sp.NEUTRON:
        mb += neutron_elastic_mb(kinetic) + neutron_capture_mb(kinetic)
    per_mm3 = 1.396e-3 * 6.02214076e23 / argon.A  # of atoms, at 1.396 g/cm3
    length = hadron_length_mm(species, kinetic)
    assert length == (np.inf if mb == 0 else pytest.approx(1 / (mb * 1e-25 * per_mm3), rel=2e-3))


def test_below_the_coulomb_barrier_positive_hadrons_find_no_nucleus():
    assert inelastic_mb(sp.PROTON, 3.0) == inelastic_mb(sp.PION_PLUS, 4.0) == 0
    assert inelastic_mb(sp.PION_MINUS, 4.0) > 300
