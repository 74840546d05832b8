"""Recombination against the published formulas turned round, and conservation of quanta."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from hepfm.errors import RecipeError
from hepfm_lartpc.charge.recombination import Recombination, survival, yields
from hepfm_lartpc.streams import stream

W_MEV = 23.6e-6
DENSITY = 1.396


def straight(deposits, energy_mev, length_mm):
    n = len(energy_mev)
    end = np.zeros((n, 3))
    end[:, 0] = length_mm
    return deposits(np.zeros((n, 3)), end, energy_mev)


@pytest.mark.parametrize("field_kv_cm", [0.273, 0.5, 1.0])
def test_the_box_model_gives_back_the_density_of_ionisation(field_kv_cm):
    dedx = np.array([3.1, 4.0, 7.0, 20.0, 60.0])  # above the fraction's maximum in all fields
    beta = 0.212 / (DENSITY * field_kv_cm)
    dqdx = survival(dedx, field_kv_cm, Recombination()) * dedx / W_MEV
    # ArgoNeuT's inverse, JINST 8 P08005, equation 3.
    np.testing.assert_allclose((np.exp(beta * W_MEV * dqdx) - 0.93) / beta, dedx, rtol=1e-9)


def test_birks_law_gives_back_the_density_of_ionisation():
    dedx = np.array([1.0, 2.1, 7.0, 20.0])
    k = 0.0486 / (DENSITY * 0.5)
    dqdx = survival(dedx, 0.5, Recombination(model="birks")) * dedx / W_MEV
    # ICARUS' inverse, NIM A 523 (2004) 275.
    np.testing.assert_allclose(dqdx / (0.800 / W_MEV - k * dqdx), dedx, rtol=1e-9)


def test_both_models_agree_on_minimum_ionising_particles():
    box, birks = (
        survival(np.array([2.1]), 0.5, Recombination(model=m))[0] for m in ("modified-box", "birks")
    )
    assert box == pytest.approx(0.70, abs=0.02)
    assert box == pytest.approx(birks, rel=0.02)


def test_nest_gives_fast_electrons_yields_to_minimum_ionising_particles():
    nestpy = pytest.importorskip("nestpy", reason="nestpy is not installed")
    made = nestpy.LArNEST(nestpy.detectors.VDetector()).get_er_yields(1e5, 500.0, DENSITY)  # 100 MeV
    fraction = survival(np.array([2.1]), 0.5, Recombination(model="nest"))[0]
    assert fraction == pytest.approx(made.Ne * 23.6e-3 / 1e5, rel=0.01)
    # An independent measurement: ICARUS, Birks' law.
    assert fraction == pytest.approx(
        survival(np.array([2.1]), 0.5, Recombination(model="birks"))[0], rel=0.05
    )


@pytest.mark.parametrize("kev", [30.0, 100.0, 300.0])
def test_nest_gives_a_dense_deposit_the_yield_of_the_electron_that_loses_as_much(kev):
    nestpy = pytest.importorskip("nestpy", reason="nestpy is not installed")
    nest = nestpy.LArNEST(nestpy.detectors.VDetector())
    made = nest.get_er_yields(kev, 273.0, DENSITY)
    dedx = np.array([nest.legacy_get_let(kev) * DENSITY])
    fraction = survival(dedx, 0.273, Recombination(model="nest"))[0]
    assert fraction == pytest.approx(1.21 * made.Ne / (made.Ne + made.Nph), rel=2e-3)


def test_without_nestpy_the_model_nest_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nestpy", None)
    with pytest.raises(RecipeError, match=r"pip install 'hepfm\[nest\]'"):
        survival(np.array([2.1]), 0.123, Recombination(model="nest"))


@pytest.mark.parametrize("model", ["modified-box", "birks", "nest"])
@pytest.mark.parametrize("alpha", [0.8, 0.93, 1.0])
def test_the_fraction_never_rises_with_the_density_and_stays_a_fraction(model, alpha):
    if model == "nest":
        pytest.importorskip("nestpy", reason="nestpy is not installed")
    fraction = survival(np.geomspace(1e-3, 1e6, 400), 0.5, Recombination(model=model, alpha=alpha))
    assert (np.diff(fraction) <= 1e-9).all()
    assert (fraction > 0).all()
    assert (fraction <= 1).all()


def test_electrons_and_photons_add_up_to_the_energy_in_every_deposit(deposits):
    energy = np.geomspace(1e-5, 50.0, 3000)
    made = straight(deposits, energy, np.tile([0.0, 0.1, 3.0], 1000))
    found = yields(made, 0.5, Recombination(), stream(1, "recombination", 0))
    np.testing.assert_allclose(found.electrons + found.photons, 1.21 * energy / W_MEV, rtol=1e-12)
    assert (found.electrons >= 0).all()
    assert (found.photons >= 0.21 * energy / W_MEV * (1 - 1e-9)).all()


def test_charge_and_light_of_equal_deposits_are_anticorrelated(deposits):
    made = straight(deposits, np.full(2000, 0.6), np.full(2000, 3.0))
    found = yields(made, 0.5, Recombination(), stream(1, "recombination", 0))
    assert np.corrcoef(found.electrons, found.photons)[0, 1] == pytest.approx(-1.0, abs=1e-9)


def test_more_field_gives_more_charge_and_less_light(deposits):
    made = straight(deposits, [1.0], [4.0])
    weak, strong = (yields(made, field, Recombination()) for field in (0.25, 1.0))
    assert strong.electrons[0] > 1.1 * weak.electrons[0]
    assert strong.photons[0] < 0.9 * weak.photons[0]


def test_the_number_of_electrons_is_binomial(deposits):
    n, energy = 20000, 0.5
    made = straight(deposits, np.full(n, energy), np.full(n, 2.0))
    drawn = yields(made, 0.5, Recombination(), stream(3, "recombination", 1)).electrons
    mean = yields(made, 0.5, Recombination()).electrons[0]
    pairs = energy / W_MEV
    sigma = math.sqrt(pairs * (mean / pairs) * (1 - mean / pairs))
    assert drawn.mean() == pytest.approx(mean, abs=5 * sigma / math.sqrt(n))
    assert drawn.std() == pytest.approx(sigma, rel=0.03)
    unmoved = yields(made, 0.5, Recombination(fluctuate=False), stream(3, "recombination", 1)).electrons
    assert (unmoved == mean).all()


def test_a_deposit_without_length_counts_as_the_densest(deposits):
    point = yields(straight(deposits, [1.0], [0.0]), 0.5, Recombination()).electrons[0]
    dense = yields(straight(deposits, [1.0], [0.01]), 0.5, Recombination()).electrons[0]
    assert point == pytest.approx(dense)
    assert point > 0
