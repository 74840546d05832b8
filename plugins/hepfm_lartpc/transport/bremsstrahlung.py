"""Bremsstrahlung of electrons and positrons, and the screened formula that pairs share with it.

Bethe and Heitler's formula with screening and Coulomb correction (Tsai, Rev. Mod. Phys. 46 (1974) 815), the
screening functions as fitted by Butcher and Messel (Nucl. Phys. 20 (1960) 15), scaled to the radiation
length. The same formula gives NIST's pair production from 8 to 20 MeV within 1.3 %.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.argon import RADIATION_LENGTH_MM, Z
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON_MASS
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.transport.grid import log_integral, log_points

_ALPHA_Z2 = (Z / 137.035999) ** 2
COULOMB = math.log(Z) / 3.0 + _ALPHA_Z2 * (1.0 / (1.0 + _ALPHA_Z2) + 0.20206 - 0.0369 * _ALPHA_Z2)
"""A third of the logarithm of Z, and the Coulomb correction of Davies, Bethe and Maximon (1954)."""
SCREENING_MEV = 136.0 * ELECTRON_MASS / Z ** (1.0 / 3.0)
_FULL_1, _FULL_2 = 20.867 / 4.0 - COULOMB, 20.209 / 4.0 - COULOMB
PER_MM = 1.0 / (RADIATION_LENGTH_MM * _FULL_1)
"""Scale of both cross sections: with full screening the loss is the energy over the radiation length."""
_BOUND = 2.0 * _FULL_1 - 2.0 / 3.0 * _FULL_2


@compiled
def screened(delta: float) -> tuple[float, float]:
    """The two screening functions over 4, less `COULOMB`."""
    if delta <= 1.0:
        first = 20.867 - delta * (3.242 - 0.625 * delta)
        second = 20.209 - delta * (1.930 + 0.086 * delta)
    else:
        first = 21.12 - 4.184 * math.log(delta + 0.952)
        second = first
    return 0.25 * first - COULOMB, 0.25 * second - COULOMB


@compiled
def radiation_shape(energy: float, k: float) -> float:
    """The spectrum of photons of energy k by an electron of a total energy, times k (without scale)."""
    left = 1.0 - k / energy
    first, second = screened(SCREENING_MEV * k / (energy * energy * left))
    return max(0.0, (1.0 + left * left) * first - 2.0 / 3.0 * left * second)


def radiation(kinetic: Floats, cut_mev: float) -> tuple[Floats, Floats, Floats]:
    """Bremsstrahlung of electrons.

    Args:
        kinetic: ``(N,)`` in MeV.
        cut_mev: Least energy of a photon that is drawn.

    Returns:
        Photons above the cut for each mm, loss by those below in MeV/mm, and loss by all, each ``(N,)``.
    """
    energy = kinetic + ELECTRON_MASS
    cut = np.minimum(cut_mev, kinetic)
    above, below = log_points(cut, kinetic), log_points(1e-6 * cut, cut)
    above_shape, below_shape = _shapes(energy, above), _shapes(energy, below)
    soft = PER_MM * log_integral(below_shape, below)
    rate = PER_MM * log_integral(above_shape / above, above)
    return rate, soft, soft + PER_MM * log_integral(above_shape, above)


@compiled
def _shapes(energy: Floats, points: Floats) -> Floats:
    shapes = np.empty_like(points)
    for i in range(points.shape[0]):
        for j in range(points.shape[1]):
            shapes[i, j] = radiation_shape(energy[i], points[i, j])
    return shapes


@compiled
def radiated(s: Stream, kinetic: float, cut_mev: float) -> float:
    """The energy of a photon above the cut, in MeV; 0 where the electron is too slow for one."""
    if kinetic <= cut_mev:
        return 0.0
    reach = math.log(kinetic / cut_mev)
    while True:
        k = cut_mev * math.exp(reach * uniform(s))
        if uniform(s) * _BOUND < radiation_shape(kinetic + ELECTRON_MASS, k):
            return k


@compiled
def radiation_cosine(s: Stream, kinetic: float) -> float:
    """Cosine of the photon's angle: a dipole in the electron's frame, seen from the laboratory.

    Kirkpatrick and Wiedmann, Phys. Rev. 67 (1945) 321; also of pairs' partners, about m / E.
    """
    beta = math.sqrt(kinetic * (kinetic + 2.0 * ELECTRON_MASS)) / (kinetic + ELECTRON_MASS)
    while True:
        x = 2.0 * uniform(s) - 1.0
        if 2.0 * uniform(s) < 1.0 + x * x:
            return (x + beta) / (1.0 + beta * x)
