"""The slow stage of a nuclear reaction: the excited nucleus evaporates particles, then photons.

Weisskopf, Phys. Rev. 52 (1937) 295: the chance of a particle goes with its spin, its mass and the density
of levels that it leaves behind; its energy with an evaporation spectrum above the Coulomb barrier. Energies
that free a particle come from the semi-empirical mass formula. Limits: no deuterons, tritons or helium-3 (a
few per cent of the particles), no angular momentum, and photons of a general shape in place of the lines of
each nucleus.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.collisions import Kinds
from hepfm_lartpc.nuclear.nucleus import NUCLEONS, PROTONS, mass_mev
from hepfm_lartpc.nuclear.products import Products, put
from hepfm_lartpc.species import ALPHA, MASS_MEV, NEUTRON, PHOTON, PROTON
from hepfm_lartpc.streams import Stream, exponential, isotropic, uniform

_LEVELS_PER_MEV = 1.0 / 8.0
"""Level density parameter for each nucleon."""
_EVAPORATED = np.array([NEUTRON, PROTON, ALPHA])
_TAKES_NUCLEONS = np.array([1, 1, 4])
_TAKES_PROTONS = np.array([0, 1, 2])
_SPIN_FACTOR = np.array([2.0, 2.0, 1.0])
_BARRIER_MEV = np.array([0.0, 3.5, 6.0])
"""Effective Coulomb barriers of nuclei near chlorine: about 0.8 of 1.44 Z z / r."""
_PHOTON_MEV = 1.5
"""Scale of the photons' spectrum; the first levels of argon-40 lie at 1.46 and 2.12 MeV."""
_LAST_PHOTON_MEV = 0.8


@compiled
def excitation_mev(
    energy_mev: float, left: Kinds, recoil: NDArray[np.float64], out: Products, rows: int
) -> float:
    """Excitation of the residual nucleus after the fast stage.

    Args:
        energy_mev: All energy of the reaction with all masses.
        left: Nucleons and protons of the residual nucleus.
        recoil: ``(3,)`` momentum brought into the reaction, changed to that of the residual nucleus.
        out: Products so far.
        rows: Number of them.
    """
    for i in range(rows):
        mass = MASS_MEV[int(out[i, 0])]
        energy_mev -= out[i, 1] + mass
        k = math.sqrt(out[i, 1] * (out[i, 1] + 2.0 * mass))
        for axis in range(3):
            recoil[axis] -= k * out[i, 2 + axis]
    mass = mass_mev(left[0], left[1])
    kinetic = (recoil[0] ** 2 + recoil[1] ** 2 + recoil[2] ** 2) / (2.0 * max(mass, 1.0))
    return float(energy_mev - mass - kinetic)


@compiled
def evaporate(
    s: Stream, excitation: float, left: Kinds, recoil: NDArray[np.float64], out: Products, rows: int
) -> int:
    """Neutrons, protons and alphas until none can leave, then photons; returns the number of products.

    Args:
        s: Random numbers.
        excitation: In MeV; nothing happens at or below 0.
        left: Nucleons and protons ``(2,)``, changed.
        recoil: Momentum of the nucleus ``(3,)``, changed.
        out: Products, appended to.
        rows: Number of products before.
    """
    weight = np.empty(3)
    free = np.empty(3)
    while excitation > 0.0 and left[0] > 5:
        mass = mass_mev(left[0], left[1])
        total = 0.0
        for i in range(3):
            a, z = left[0] - _TAKES_NUCLEONS[i], left[1] - _TAKES_PROTONS[i]
            weight[i] = 0.0
            if z < 1 or z >= a:
                continue
            free[i] = excitation + mass - mass_mev(a, z) - MASS_MEV[_EVAPORATED[i]] - _BARRIER_MEV[i]
            if free[i] > 0.0:
                levels = _LEVELS_PER_MEV * a
                growth = 2.0 * (math.sqrt(levels * free[i]) - math.sqrt(levels * excitation))
                weight[i] = _SPIN_FACTOR[i] * MASS_MEV[_EVAPORATED[i]] * free[i] / levels * math.exp(growth)
            total += weight[i]
        if total <= 0.0:
            break
        draw, i = uniform(s) * total, 0
        while i < 2 and draw > weight[i]:
            draw -= weight[i]
            i += 1
        if weight[i] <= 0.0:
            break
        temperature = math.sqrt(free[i] / (_LEVELS_PER_MEV * (left[0] - _TAKES_NUCLEONS[i])))
        above = free[i] + 1.0
        while above > free[i]:
            above = temperature * (exponential(s) + exponential(s))
        # In the nucleus' rest frame the particle and what remains fly apart.
        light = MASS_MEV[_EVAPORATED[i]]
        rest = mass - light
        k = math.sqrt(2.0 * (above + _BARRIER_MEV[i]) * light * rest / mass)
        ux, uy, uz = isotropic(s)
        boost = light / mass
        px, py, pz = k * ux + boost * recoil[0], k * uy + boost * recoil[1], k * uz + boost * recoil[2]
        rows = put(out, rows, _EVAPORATED[i], px, py, pz)
        recoil[0] -= px
        recoil[1] -= py
        recoil[2] -= pz
        left[0] -= _TAKES_NUCLEONS[i]
        left[1] -= _TAKES_PROTONS[i]
        excitation = free[i] - above
    if left[0] <= 5:
        return rows  # so small a rest breaks up unseen
    return photons(s, excitation, out, rows)


@compiled
def photons(s: Stream, excitation: float, out: Products, rows: int) -> int:
    """Give an excitation in MeV away as photons, isotropic; returns the number of products."""
    while excitation > 0.0:
        energy = excitation
        if excitation > _LAST_PHOTON_MEV:
            energy = _PHOTON_MEV * (exponential(s) + exponential(s)) * 0.5 + 0.2
            energy = min(energy, excitation)
        ux, uy, uz = isotropic(s)
        rows = put(out, rows, PHOTON, energy * ux, energy * uy, energy * uz)
        excitation -= energy
    return rows


@compiled
def compound(s: Stream, species: int, kinetic_mev: float, out: Products) -> int:
    """A slow nucleon melts into the nucleus, which evaporates; returns the number of products."""
    left = np.empty(2, np.int64)
    left[0], left[1] = NUCLEONS + 1, PROTONS + int(species == PROTON)
    mass = MASS_MEV[species]
    recoil = np.zeros(3)
    recoil[2] = math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass))
    energy = kinetic_mev + mass + mass_mev(NUCLEONS, PROTONS)
    excitation = excitation_mev(energy, left, recoil, out, 0)
    return evaporate(s, excitation, left, recoil, out, 0)
