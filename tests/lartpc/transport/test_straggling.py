"""Fluctuations of the energy loss: Landau's and Vavilov's shapes, most probable loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepfm_lartpc import species as sp

MASS, EXCITATION_MEV, XI_MEV_MM = 105.6583755, 188e-6, 0.00965776
DELTA_C, A, X1, K = 5.2146, 0.19559, 3.0, 3.0


def losses(event, count):
    """Energy that each primary lost, with that of its knock-on electrons."""
    tracks = event.tracks
    lost = tracks.deposited_mev[:count].copy()
    made = tracks.parent >= 0
    own = made & (tracks.parent < count)
    np.add.at(lost, tracks.parent[own], tracks.kinetic_mev[own])
    return lost


def landau(thick_mm, kinetic_mev):
    """xi and most probable loss (Bichsel; PDG equation 34.12)."""
    gamma = 1.0 + kinetic_mev / MASS
    beta2 = 1.0 - gamma**-2
    x = 0.5 * np.log10(gamma**2 - 1.0)
    delta = 2.0 * np.log(10.0) * x - DELTA_C + A * (X1 - x) ** K
    xi = XI_MEV_MM * thick_mm / beta2
    log = np.log(2.0 * 0.51099895 * (gamma**2 - 1.0) / EXCITATION_MEV) + np.log(xi / EXCITATION_MEV)
    return xi, xi * (log + 0.200 - beta2 - delta)


def landau_cdf(lam):
    """Of Landau's variable; scipy's is a stable distribution with another scale."""
    return stats.landau.cdf((lam - np.log(np.pi / 2.0)) * 2.0 / np.pi)


@pytest.mark.parametrize("thick_mm", [3.0, 10.0, 50.0])
def test_the_loss_of_fast_muons_has_landaus_shape(shoot, thick_mm):
    count, kinetic_mev = 12000, 1000.0
    xi, most_probable = landau(thick_mm, kinetic_mev)
    lost = losses(shoot(sp.MUON_MINUS, kinetic_mev, count, thick_mm=thick_mm), count)
    lam = (lost - most_probable) / xi - 0.22278  # Landau's variable, whose mode is -0.22278
    below = lam < 15.0  # further out the largest transfer cuts the tail, which Landau has not

    distance = stats.kstest(lam[below], lambda v: landau_cdf(v) / landau_cdf(15.0)).statistic
    assert distance < 0.025
    counts, edges = np.histogram(lam, bins=np.linspace(-2.5, 4.0, 27))
    peak = np.abs(0.5 * (edges[1:] + edges[:-1]) + 0.22278) < 1.2
    a, b, _ = np.polyfit((0.5 * (edges[1:] + edges[:-1]))[peak], np.log(counts[peak]), 2)
    mode = most_probable + xi * (-b / (2.0 * a) + 0.22278)
    assert mode == pytest.approx(most_probable, rel=0.02)


def test_the_mean_loss_of_fast_muons_is_bethes(shoot):
    count = 6000
    lost = losses(shoot(sp.MUON_MINUS, 300.0, count, thick_mm=40.0), count)

    assert lost.mean() == pytest.approx(1.510 * 0.1396 * 40.0, rel=0.01)


def test_slow_protons_straggle_by_bohrs_width(shoot):
    count, kinetic_mev, thick_mm = 4000, 60.0, 4.0
    lost = losses(shoot(sp.PROTON, kinetic_mev, count, thick_mm=thick_mm), count)
    gamma = 1.0 + kinetic_mev / 938.27209
    beta2 = 1.0 - gamma**-2
    largest = 2.0 * 0.511 * (gamma**2 - 1.0)
    bohr = np.sqrt(XI_MEV_MM / beta2 * thick_mm * largest * (1.0 - 0.5 * beta2))

    assert lost.std() == pytest.approx(bohr, rel=0.06)
    assert abs(stats.skew(lost)) < 0.5


@pytest.mark.parametrize("max_step_mm", [0.3, 3.0, 12.0])
def test_the_fluctuations_do_not_depend_on_the_step(shoot, max_step_mm):
    count = 4000
    settings = {"thick_mm": 12.0}
    ours = losses(shoot(sp.MUON_MINUS, 500.0, count, seed=2, max_step_mm=max_step_mm, **settings), count)
    theirs = losses(shoot(sp.MUON_MINUS, 500.0, count, seed=3, **settings), count)

    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize("delta_cut_mev", [0.1, 1.0])
def test_the_fluctuations_do_not_depend_on_the_cut(shoot, delta_cut_mev):
    count = 4000
    settings = {"thick_mm": 12.0}
    ours = losses(shoot(sp.MUON_MINUS, 500.0, count, seed=2, delta_cut_mev=delta_cut_mev, **settings), count)
    theirs = losses(shoot(sp.MUON_MINUS, 500.0, count, seed=3, **settings), count)

    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
