"""Decays against the analytic spectrum, the masses, and conservation of energy and momentum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hepfm_lartpc import species as sp
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV, decay
from hepfm_lartpc.nuclear.phase_space import boost, momentum_mev, n_body
from hepfm_lartpc.streams import stream

UNSTABLE = [
    sp.MUON_MINUS,
    sp.MUON_PLUS,
    sp.PION_MINUS,
    sp.PION_PLUS,
    sp.PION_ZERO,
    sp.KAON_MINUS,
    sp.KAON_PLUS,
]


@compiled
def many(s, species, kinetic, count):
    """(count, 3, 5) products and their numbers."""
    out = np.empty((64, 5))
    products = np.zeros((count, 3, 5))
    rows = np.zeros(count, np.int64)
    for i in range(count):
        rows[i], _ = decay(s, species, kinetic, out)
        products[i] = out[:3]
    return rows, products


def momenta(products):
    mass = sp.MASS_MEV[products[..., 0].astype(int)]
    k = np.sqrt(products[..., 1] * (products[..., 1] + 2 * mass))
    return products[..., 1] + mass, k[..., None] * products[..., 2:]


@pytest.mark.parametrize("species", UNSTABLE)
@given(log_kinetic=st.floats(-3.0, 5.0), event=st.integers(0, 2**32))
def test_energy_momentum_and_charge_are_those_of_the_particle(species, log_kinetic, event):
    kinetic = 10.0**log_kinetic
    out = np.empty((64, 5))
    n, unseen = decay(stream(1, "test", event), species, kinetic, out)
    energy, p = momenta(out[:n])
    mass = sp.MASS_MEV[species]
    assert energy.sum() == pytest.approx(kinetic + mass, rel=1e-9)
    along = np.sqrt(kinetic * (kinetic + 2 * mass))
    np.testing.assert_allclose(p.sum(0), [0, 0, along], atol=1e-9 * (kinetic + mass))
    np.testing.assert_allclose(np.linalg.norm(out[:n, 2:], axis=1), 1.0, atol=1e-12)
    kinds = out[:n, 0].astype(int)
    assert sp.CHARGE[kinds].sum() == sp.CHARGE[species]
    counted = out[:n, 1].sum() + COUNTED_MASS_MEV[kinds].sum()
    assert unseen == pytest.approx(kinetic + mass - counted, abs=1e-8 * (kinetic + mass))
    assert unseen == pytest.approx(
        sp.ELECTRON_MASS * (kinds == sp.ELECTRON).sum(), abs=1e-8 * (kinetic + mass)
    )


def test_michel_electrons_follow_the_spectrum_up_to_the_endpoint():
    _, products = many(stream(2, "test", 0), sp.MUON_MINUS, 0.0, 200_000)
    energy = products[:, 0, 1] + sp.ELECTRON_MASS
    assert (products[:, 0, 0] == sp.ELECTRON).all()
    endpoint = 52.8304
    assert energy.max() < endpoint + 1e-3
    assert energy.max() > endpoint - 0.2
    # Without the electron's mass: cumulative 2 x3 - x4, mean 7/20 of the muon's mass.
    x = energy / endpoint
    distance = stats.kstest(x[:50_000], lambda x: np.clip(2 * x**3 - x**4, 0, 1)).statistic
    assert distance < 0.008
    assert energy.mean() == pytest.approx(0.35 * sp.MUON_MASS, rel=0.003)
    direction = products[:, 0, 2:].mean(0)
    assert np.abs(direction).max() < 4 / np.sqrt(3 * len(products))


def test_a_pion_at_rest_gives_a_muon_of_4_12_mev():
    _, products = many(stream(3, "test", 0), sp.PION_PLUS, 0.0, 100)
    np.testing.assert_allclose(products[:, 0, 1], 4.1198, atol=2e-3)
    assert (products[:, 0, 0] == sp.MUON_PLUS).all()


def test_two_photons_of_a_flying_pi0_have_its_mass():
    rows, products = many(stream(4, "test", 0), sp.PION_ZERO, 250.0, 20_000)
    two = products[rows == 2]
    energy, p = momenta(two[:, :2])
    mass = np.sqrt(energy.sum(1) ** 2 - (p.sum(1) ** 2).sum(1))
    np.testing.assert_allclose(mass, sp.PION_ZERO_MASS, rtol=1e-9)
    total = 250.0 + sp.PION_ZERO_MASS
    flat = stats.kstest(energy[:, 0], "uniform", args=((total - _momentum(250.0)) / 2, _momentum(250.0)))
    assert flat.pvalue > 1e-3


def _momentum(kinetic):
    return np.sqrt(kinetic * (kinetic + 2 * sp.PION_ZERO_MASS))


def test_dalitz_pairs_are_as_frequent_and_as_light_as_kroll_and_wada_say():
    rows, products = many(stream(5, "test", 0), sp.PION_ZERO, 0.0, 400_000)
    pairs = products[rows == 3]
    assert len(pairs) / len(rows) == pytest.approx(0.01174, rel=0.06)
    energy, p = momenta(pairs[:, :2])
    mass = np.sqrt(energy.sum(1) ** 2 - (p.sum(1) ** 2).sum(1))
    assert mass.min() > 2 * sp.ELECTRON_MASS
    q = np.linspace(2 * sp.ELECTRON_MASS, sp.PION_ZERO_MASS, 200_001)[1:-1]
    r = (2 * sp.ELECTRON_MASS / q) ** 2
    density = (1 - (q / sp.PION_ZERO_MASS) ** 2) ** 3 * (1 + r / 2) * np.sqrt(1 - r) / q
    cumulative = np.cumsum(density) / density.sum()
    assert stats.kstest(mass, lambda x: np.interp(x, q, cumulative)).pvalue > 1e-3


def test_kaons_decay_in_the_measured_proportions():
    rows, products = many(stream(6, "test", 0), sp.KAON_PLUS, 0.0, 100_000)
    kinds = products[..., 0].astype(int)
    assert ((rows == 2) & (kinds[:, 0] == sp.MUON_PLUS)).mean() == pytest.approx(0.6356, abs=0.006)
    assert ((rows == 2) & (kinds[:, 0] == sp.PION_PLUS)).mean() == pytest.approx(0.2067, abs=0.005)
    assert ((rows == 3) & (kinds[:, 1] == sp.PION_PLUS)).mean() == pytest.approx(0.05583, abs=0.003)
    muon = products[(rows == 2) & (kinds[:, 0] == sp.MUON_PLUS), 0, 1]
    np.testing.assert_allclose(muon, 152.5, atol=0.2)


def test_three_bodies_fill_phase_space_evenly():
    """In a Dalitz plot of equal masses the squared masses of two pairs are even within the border."""
    s, masses = stream(7, "test", 0), np.full(3, sp.PION_MASS)
    p = np.empty((3, 4))
    mass = 493.677
    first, second = [], []
    for _ in range(4000):
        assert n_body(s, mass, masses, 3, p)
        a, b = p[0] + p[1], p[1] + p[2]
        first.append(a[0] ** 2 - (a[1:] ** 2).sum())
        second.append(b[0] ** 2 - (b[1:] ** 2).sum())
    # The density of one squared mass is the length of the plot there: p of the pair times p of the third.
    m = np.linspace(2 * sp.PION_MASS, mass - sp.PION_MASS, 20_001)[1:-1]
    length = np.array([momentum_mev(x, *masses[:2]) * momentum_mev(mass, x, masses[2]) / x for x in m])
    cumulative = np.cumsum(length * m) / (length * m).sum()
    for drawn in (first, second):
        assert stats.kstest(np.sqrt(drawn), lambda x: np.interp(x, m, cumulative)).pvalue > 1e-3


@given(st.tuples(*[st.floats(-0.57, 0.57)] * 3), st.tuples(*[st.floats(-500, 500)] * 3), st.floats(0, 2000))
def test_a_boost_keeps_the_mass_and_its_inverse_undoes_it(velocity, momentum, mass):
    before = np.array([np.sqrt(mass**2 + np.square(momentum).sum()), *momentum])
    p = before.copy()
    boost(p, *velocity)
    assert p[0] ** 2 - (p[1:] ** 2).sum() == pytest.approx(mass**2, abs=1e-6 * (1 + p[0] ** 2))
    boost(p, *(-np.array(velocity)))
    np.testing.assert_allclose(p, before, atol=1e-8 * (1 + before[0]))


def test_what_is_stable_has_no_products():
    out = np.empty((64, 5))
    assert decay(stream(8, "test", 0), sp.PROTON, 100.0, out) == (0, 0.0)
