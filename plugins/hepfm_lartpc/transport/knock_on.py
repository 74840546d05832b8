"""Knock-on electrons: spectra of the collisions with the electrons of argon, and drawing from them.

Spectra are ``XI charge**2 / beta**2 / W**2 * shape(W)`` for each mm and MeV of the transferred energy W:
for heavy particles with the spin factor (Rossi 1952; PDG equation 34.8), for electrons Moller's, for
positrons Bhabha's (Uehling 1954; GEANT4 physics reference manual, ionisation by electrons).
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON, ELECTRON_MASS, MASS_MEV, MUON_MASS, POSITRON, PROTON_MASS
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.transport.grid import log_integral, log_points
from hepfm_lartpc.transport.stopping import largest_transfer


def largest_knock_on(species: int, kinetic: Floats) -> Floats:
    """Most energy that the slower particle may have after a collision, in MeV.

    Two electrons are alike: the faster one counts as the one that came.
    """
    if species == ELECTRON:
        return 0.5 * kinetic
    return kinetic if species == POSITRON else largest_transfer(kinetic, float(MASS_MEV[species]))


@compiled
def shape(species: int, kinetic: float, largest: float, w: float) -> float:
    """The spectrum times W**2, and over that of Rutherford: 1 for small W."""
    mass = MASS_MEV[species]
    energy = kinetic + mass
    if species == ELECTRON:
        rest = kinetic - w
        exchange = ELECTRON_MASS * (kinetic + energy) * w / (energy * energy * rest)
        return float(1.0 + (w / rest) ** 2 + (w / energy) ** 2 - exchange)
    beta2 = kinetic * (kinetic + 2.0 * mass) / (energy * energy)
    if species == POSITRON:
        y = 1.0 / (kinetic / ELECTRON_MASS + 2.0)
        c = 1.0 - 2.0 * y
        x = w / kinetic
        b1, b2, b3, b4 = 2.0 - y * y, c * (3.0 + y * y), c * c * (1.0 + c), c * c * c
        return float(1.0 - beta2 * x * (b1 - x * (b2 - x * (b3 - x * b4))))
    spin = 0.5 * (w / energy) ** 2 if mass in (MUON_MASS, PROTON_MASS) else 0.0
    return float(1.0 - beta2 * w / largest + spin)


def hard_collisions(species: int, kinetic: Floats, cut_mev: float, strength: Floats) -> tuple[Floats, Floats]:
    """Collisions above the cut: how many a mm, and how many MeV/mm they take.

    Args:
        species: Of the particle.
        kinetic: ``(N,)`` in MeV.
        cut_mev: Least energy of the knock-on electron.
        strength: ``(N,)`` the ``XI charge**2 / beta**2`` of the spectrum.
    """
    largest = largest_knock_on(species, kinetic)
    points = log_points(np.full_like(kinetic, cut_mev), np.maximum(largest, cut_mev))
    bent = _shapes(species, kinetic, largest, points)
    return strength * log_integral(bent / points**2, points), strength * log_integral(bent / points, points)


@compiled
def _shapes(species: int, kinetic: Floats, largest: Floats, points: Floats) -> Floats:
    bent = np.zeros_like(points)
    for i in range(points.shape[0]):
        for j in range(points.shape[1]):
            if points[i, j] <= largest[i]:
                bent[i, j] = shape(species, kinetic[i], largest[i], points[i, j])
    return bent


@compiled
def knock_on(s: Stream, species: int, kinetic: float, cut_mev: float) -> float:
    """The energy of a knock-on electron above the cut, in MeV; 0 where the particle is too slow for one."""
    mass = MASS_MEV[species]
    if species == ELECTRON:
        largest = 0.5 * kinetic
    elif species == POSITRON:
        largest = kinetic
    else:
        ratio = ELECTRON_MASS / mass
        square = kinetic * (kinetic + 2.0 * mass) / (mass * mass)
        largest = 2.0 * ELECTRON_MASS * square / (1.0 + 2.0 * (1.0 + kinetic / mass) * ratio + ratio * ratio)
    if largest <= cut_mev:
        return 0.0
    bound = max(1.0, shape(species, kinetic, largest, largest))
    while True:
        w = 1.0 / (1.0 / cut_mev - uniform(s) * (1.0 / cut_mev - 1.0 / largest))
        if uniform(s) * bound <= shape(species, kinetic, largest, w):
            return w


@compiled
def knock_on_cosine(kinetic: float, mass: float, w: float) -> float:
    """Cosine of the angle between the particle before and the electron after."""
    energy = kinetic + mass
    ratio = w * (energy + ELECTRON_MASS) ** 2 / ((w + 2.0 * ELECTRON_MASS) * kinetic * (kinetic + 2.0 * mass))
    return min(1.0, math.sqrt(ratio))
