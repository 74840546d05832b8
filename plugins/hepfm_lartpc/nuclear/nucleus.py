"""The argon nucleus: density, Fermi motion, potential well and masses of what is left of it."""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.species import NEUTRON_MASS, PROTON_MASS

NUCLEONS, PROTONS = 40, 18
RADIUS_FM, SKIN_FM = 3.53, 0.542
"""Half-density radius and diffuseness of argon-40 (de Vries et al., At. Data Nucl. Data Tables 36, 1987)."""
EDGE_FM = RADIUS_FM + 6.0 * SKIN_FM
"""Where the density has fallen to 0.25 %, the nucleus ends."""
CENTRAL_FM3 = 3.0 * NUCLEONS / (4.0 * math.pi * RADIUS_FM**3 * (1.0 + (math.pi * SKIN_FM / RADIUS_FM) ** 2))
"""Nucleons per fm3 at the centre: 0.176."""

HBARC_MEV_FM = 197.3269804
_PER_FM3 = 3.0 * math.pi**2 * CENTRAL_FM3
FERMI_MEV = HBARC_MEV_FM * np.cbrt(np.array([1.0 - PROTONS / NUCLEONS, PROTONS / NUCLEONS]) * _PER_FM3)
"""Fermi momentum of neutrons and protons at the centre: 279 and 261 MeV."""
NUCLEON_MASS_MEV = np.array([NEUTRON_MASS, PROTON_MASS])
SEPARATION_MEV = 8.0
"""Mean energy that frees a nucleon from the Fermi surface."""

# Weizsaecker's formula with the coefficients of Rohlf, Modern Physics from alpha to Z0 (1994), p. 437.
_VOLUME, _SURFACE, _COULOMB, _ASYMMETRY, _PAIRING = 15.75, 17.8, 0.711, 23.7, 11.18


@compiled
def density(r2_fm: float) -> float:
    """Density at this squared distance from the centre, as a share of the central one (Woods and Saxon)."""
    return 1.0 / (1.0 + math.exp((math.sqrt(r2_fm) - RADIUS_FM) / SKIN_FM))


@compiled
def fermi_mev(share: float, proton: int) -> float:
    """Fermi energy (kinetic, MeV) where the density is this share of the central one."""
    p = FERMI_MEV[proton] * share ** (1.0 / 3.0)
    mass = NUCLEON_MASS_MEV[proton]
    return float(math.sqrt(p * p + mass * mass) - mass)


@compiled
def binding_mev(nucleons: int, protons: int) -> float:
    """Binding energy of a nucleus (semi-empirical mass formula); 0 for fewer than two nucleons.

    Good to about 2 MeV in total near argon, and to 1-2 MeV for the energy that frees one nucleon.
    """
    if nucleons < 2 or protons < 0 or protons > nucleons:
        return 0.0
    third = nucleons ** (1.0 / 3.0)
    excess = nucleons - 2.0 * protons
    energy = (
        _VOLUME * nucleons
        - _SURFACE * third * third
        - _COULOMB * protons * (protons - 1.0) / third
        - _ASYMMETRY * excess * excess / nucleons
    )
    if nucleons % 2 == 0:
        energy += (_PAIRING if protons % 2 == 0 else -_PAIRING) / math.sqrt(nucleons)
    return float(max(0.0, energy))


@compiled
def mass_mev(nucleons: int, protons: int) -> float:
    """Mass of a nucleus in its ground state."""
    free = protons * PROTON_MASS + (nucleons - protons) * NEUTRON_MASS
    return free - binding_mev(nucleons, protons)
