"""Mean energy loss of charged particles in liquid argon, in MeV/mm.

Heavy particles: Bethe's formula with Sternheimer's density effect (PDG 2024, section 34.2.3), for muons with
radiation. At low velocity it joins the form of Varelas and Biersack (Nucl. Instrum. Meth. 79 (1970) 213),
with two coefficients chosen so that protons lose 30e-15 eV cm2/atom at the maximum, near 100 keV/u (of the
size that Andersen and Ziegler (1977) give for argon), and Bethe's loss from 1 MeV/u on.
Electrons and positrons: Berger and Seltzer (NBSIR 82-2550, ICRU report 37).
"""

from __future__ import annotations

import numpy as np

from hepfm_lartpc.argon import DENSITY_EFFECT, DENSITY_G_CM3, ELECTRONS_MM3, MEAN_EXCITATION_EV, A, Z
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON_MASS, MUON_MASS, PROTON_MASS

_ELECTRON_RADIUS_MM = 2.8179403262e-12
XI_MEV_MM = 2.0 * np.pi * _ELECTRON_RADIUS_MM**2 * ELECTRON_MASS * ELECTRONS_MM3
"""Collisions with loss W, of charge 1 at the speed of light: ``XI / W**2`` for each mm and MeV."""
_EXCITATION_MEV = MEAN_EXCITATION_EV * 1e-6
_SLOW_MEV_MM = 5.4e-21 * 6.02214076e23 / A * DENSITY_G_CM3 * 0.1
"""Loss of a slow proton, over ``keV**0.45``: 5.4e-15 eV cm2 for each atom."""
_SLOW_SHIFT_MEV = 0.8
_MUON_RADIATION = ((0.1, 1.0, 10.0, 100.0, 1000.0), (0.5e-6, 0.9e-6, 1.65e-6, 2.65e-6, 3.2e-6))
"""GeV, and b(E) in cm2/g of argon: pairs, bremsstrahlung, nuclear, to about a tenth (Groom et al. 2001)."""


def speed(kinetic: Floats, mass: float) -> tuple[Floats, Floats, Floats]:
    """``beta``, ``gamma`` and momentum in MeV of particles of a kinetic energy and mass in MeV."""
    gamma = 1.0 + kinetic / mass
    momentum = np.sqrt(kinetic * (kinetic + 2.0 * mass))
    return momentum / (kinetic + mass), gamma, momentum


def density_effect(beta_gamma: Floats) -> Floats:
    """Sternheimer's delta of liquid argon."""
    x, p = np.log10(beta_gamma), DENSITY_EFFECT
    delta = 2.0 * np.log(10.0) * x - p["C"]
    delta += np.where(x < p["x1"], p["a"] * np.maximum(p["x1"] - x, 0.0) ** p["k"], 0.0)
    return np.asarray(np.where(x < p["x0"], 0.0, delta))


def largest_transfer(kinetic: Floats, mass: float) -> Floats:
    """Most that a heavy particle can give to an electron at rest (PDG equation 34.4), in MeV."""
    _, gamma, momentum = speed(kinetic, mass)
    ratio = ELECTRON_MASS / mass
    return 2.0 * ELECTRON_MASS * (momentum / mass) ** 2 / (1.0 + 2.0 * gamma * ratio + ratio**2)


def heavy_loss(kinetic: Floats, mass: float, charge: int) -> Floats:
    """Collision loss of muons, hadrons and nuclei."""
    beta, gamma, momentum = speed(kinetic, mass)
    square = (momentum / mass) ** 2
    ratio = ELECTRON_MASS / mass
    same_speed_proton = PROTON_MASS * square / (gamma + 1.0)
    number = np.log1p(2.0 * ELECTRON_MASS * square / _EXCITATION_MEV + _SLOW_SHIFT_MEV / same_speed_proton)
    number -= 0.5 * np.log1p(2.0 * gamma * ratio + ratio**2) + beta**2 + 0.5 * density_effect(beta * gamma)
    if mass == MUON_MASS:
        number += (largest_transfer(kinetic, mass) / (kinetic + mass)) ** 2 / 8.0
    fast = 2.0 * XI_MEV_MM / beta**2 * number
    slow = _SLOW_MEV_MM * (1e3 * same_speed_proton) ** 0.45
    return effective_charge(beta, charge) ** 2 * fast * slow / (fast + slow)


def effective_charge(beta: Floats, charge: int) -> Floats:
    """What a slow nucleus keeps of its charge, at least 1 (form of Barkas 1963).

    Rough: it matters for the last tens of micrometres of an alpha alone.
    """
    z = abs(charge)
    return np.asarray(1.0 - (z - 1.0) * np.expm1(-125.0 * beta * z ** (-2.0 / 3.0)))


def muon_radiation(kinetic: Floats) -> Floats:
    """Mean radiative loss of muons, which the transport leaves along their path."""
    energy_gev, b = _MUON_RADIATION
    total = (kinetic + MUON_MASS) * 1e-3
    return np.asarray(np.interp(np.log(total), np.log(energy_gev), b) * total * 1e3 * DENSITY_G_CM3 * 0.1)


def electron_loss(kinetic: Floats, *, positron: bool) -> Floats:
    """Collision loss of electrons or positrons."""
    beta, gamma, _ = speed(kinetic, ELECTRON_MASS)
    tau = kinetic / ELECTRON_MASS
    if positron:
        y = 1.0 / (tau + 2.0)
        shape = 2.0 * np.log(2.0) - beta**2 / 12.0 * (23.0 + 14.0 * y + 10.0 * y**2 + 4.0 * y**3)
    else:
        shape = 1.0 - beta**2 + (tau**2 / 8.0 - (2.0 * tau + 1.0) * np.log(2.0)) / gamma**2
    number = np.log(tau**2 * (tau + 2.0) / 2.0) - 2.0 * np.log(_EXCITATION_MEV / ELECTRON_MASS)
    return np.asarray(XI_MEV_MM / beta**2 * (number + shape - density_effect(beta * gamma)))


assert Z == 18, "the coefficients of this file are those of argon"
