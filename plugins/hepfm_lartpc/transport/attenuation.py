"""How far photons go in argon, and what they do there.

Totals are NIST's mass attenuation coefficients (Hubbell and Seltzer, NISTIR 5632). Below 1 MeV their
parts are XCOM's, as the library xraylib gives them. Above, photons scatter on free electrons (Klein and
Nishina 1929), and pairs are what remains; beyond NIST's 20 MeV the pairs follow Tsai's screened formula.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from hepfm_lartpc.argon import DENSITY_G_CM3, A, Z
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON_MASS
from hepfm_lartpc.transport.bremsstrahlung import PER_MM, SCREENING_MEV, screened
from hepfm_lartpc.transport.grid import GRID_MEV

TOTAL, COMPTON, RAYLEIGH, PAIR, PAIR_BOUND = 0, 1, 2, 3, 4
"""Columns of the table: interactions for each mm; the rest to the total is photoelectric. `PAIR_BOUND` is
the largest value of `pair_shape` at that energy."""

_CM2_G = DENSITY_G_CM3 * 0.1
# MeV; photoelectric, coherent and incoherent in cm2/g
_XCOM = np.array([
    (0.005, 421.04, 1.4087, 0.060994), (0.008, 116.98, 0.92455, 0.082927), (0.010, 62.32, 0.74108, 0.092877),
    (0.015, 19.266, 0.45557, 0.1105), (0.020, 8.2068, 0.30165, 0.12132), (0.030, 2.4033, 0.16162, 0.13156),
    (0.040, 0.99077, 0.10214, 0.13509), (0.050, 0.49464, 0.070704, 0.13587),
    (0.060, 0.27934, 0.051783, 0.1353), (0.080, 0.11275, 0.03107, 0.13216),
    (0.10, 0.055637, 0.020637, 0.12803),
    (0.15, 0.015437, 0.0096331, 0.11758), (0.20, 0.0062808, 0.0055494, 0.10868),
    (0.30, 0.0018314, 0.0025188, 0.095182), (0.40, 7.9787e-4, 0.0014283, 0.085534),
    (0.50, 4.345e-4, 9.1798e-4, 0.078225), (0.60, 2.7211e-4, 6.389e-4, 0.072436),
    (0.80, 1.3807e-4, 3.6016e-4, 0.063693),
])  # fmt: skip
# MeV; total in cm2/g
_NIST = np.array([
    (1.0, 0.05762), (1.25, 0.05150), (1.5, 0.04695), (2.0, 0.04074), (3.0, 0.03384), (4.0, 0.03019),
    (5.0, 0.02802), (6.0, 0.02667), (8.0, 0.02517), (10.0, 0.02451), (15.0, 0.02418), (20.0, 0.02453),
])  # fmt: skip
_ELECTRON_RADIUS2_CM2 = 7.940787e-26


def klein_nishina(energy: Floats) -> Floats:
    """Scattering on free electrons, in cm2/g of argon, of photons of an energy in MeV."""
    k = energy / ELECTRON_MASS
    log = np.log1p(2.0 * k)
    first = (1.0 + k) / k**2 * (2.0 * (1.0 + k) / (1.0 + 2.0 * k) - log / k)
    sigma = first + log / (2.0 * k) - (1.0 + 3.0 * k) / (1.0 + 2.0 * k) ** 2
    return 2.0 * np.pi * _ELECTRON_RADIUS2_CM2 * sigma * 6.02214076e23 / A * Z


@compiled
def pair_shape(energy: float, share: float) -> float:
    """The spectrum of the share of a photon's energy that one partner takes (without scale)."""
    rest = 1.0 - share
    first, second = screened(SCREENING_MEV / (energy * share * rest))
    return max(0.0, (share * share + rest * rest) * first + 2.0 / 3.0 * share * rest * second)


def photon_table() -> Floats:
    """``(len(GRID_MEV), 5)``, columns as above, lengths in mm. Below 5 keV it holds the values there."""
    energy = np.maximum(GRID_MEV, _XCOM[0, 0])
    photo, rayleigh, compton = (_low(energy, column) for column in (1, 2, 3))
    pair, bound = _pairs(energy)
    high = energy > _XCOM[-1, 0]
    compton[high] = klein_nishina(energy[high])
    edge = _XCOM[-1, 0]
    # bound electrons matter less and less: the difference at the edge falls with the square of the energy
    compton[high] *= 1.0 + (_XCOM[-1, 3] / klein_nishina(np.array(edge)) - 1.0) * (edge / energy[high]) ** 2
    table = np.zeros((len(GRID_MEV), 5))
    table[:, TOTAL] = (photo + rayleigh + compton + pair) * _CM2_G
    table[:, COMPTON] = compton * _CM2_G
    table[:, RAYLEIGH] = rayleigh * _CM2_G
    table[:, PAIR] = pair * _CM2_G
    table[:, PAIR_BOUND] = bound
    return table


def _low(energy: Floats, column: int) -> Floats:
    spline = CubicSpline(np.log(_XCOM[:, 0]), np.log(_XCOM[:, column]))
    edge = _XCOM[-1, 0]
    inside = np.exp(spline(np.log(np.minimum(energy, edge))))
    # photoelectric falls as 1/E at high energy, coherent as 1/E**2
    return np.asarray(inside * (edge / np.maximum(energy, edge)) ** column)


def _pairs(energy: Floats) -> tuple[Floats, Floats]:
    """Pair production in cm2/g, and the largest value of the spectrum's shape."""
    formula, bound = np.zeros(len(energy)), np.full(len(energy), 1e-9)
    for i in np.flatnonzero(energy > 2.0 * ELECTRON_MASS):
        least = ELECTRON_MASS / energy[i]
        shares = least + (1.0 - 2.0 * least) * (np.arange(200) + 0.5) / 200
        shapes = np.array([pair_shape(energy[i], share) for share in shares])
        formula[i] = PER_MM / _CM2_G * (1.0 - 2.0 * least) * shapes.mean()
        bound[i] = max(shapes.max(), 1e-9)
    known, total = _NIST[1:, 0], _NIST[1:, 1]
    others = klein_nishina(known) + _low(known, 1) + _low(known, 2)
    spline = CubicSpline(np.log(known), np.log(total - others))
    threshold = np.maximum(1.0 - 2.0 * ELECTRON_MASS / energy, 0.0) / (1.0 - 2.0 * ELECTRON_MASS / known[0])
    pairs = np.exp(spline(np.log(np.clip(energy, known[0], known[-1]))))
    pairs *= np.where(energy < known[0], threshold**3, 1.0)
    last = np.interp(known[-1], energy, formula)
    ratio = 1.0 + (np.exp(spline(np.log(known[-1]))) / last - 1.0) * known[-1] / energy
    return np.where(energy > known[-1], formula * ratio, pairs), bound
