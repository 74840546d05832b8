"""Nuclear interactions of hadrons in flight.

A fast stage (`hepfm_lartpc.nuclear.cascade`) and a slow one (`hepfm_lartpc.nuclear.residue`); slow nucleons
go straight to the second, and neutrons of a few MeV have their own ways (`hepfm_lartpc.nuclear.neutrons`).

Limits: the cascade stands for 50 MeV to about 3 GeV. Above, to 100 GeV, energy is kept and more pions are
made, but without the forward peak of leading particles; what a dozen bodies cannot carry they share. From
about 30 GeV on there may be more products than there is room for: what they carried counts as unseen (at 100
GeV 6 % on average). Between 20 and 50 MeV it is a sketch. Elastic scattering is there for neutrons alone.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.cascade import STACK_ROWS, cascade, push
from hepfm_lartpc.nuclear.cross_sections import inelastic_mb, neutron_capture_mb, neutron_elastic_mb
from hepfm_lartpc.nuclear.neutrons import DISCRETE_MEV, capture, elastic, excite
from hepfm_lartpc.nuclear.nucleus import EDGE_FM, NUCLEONS, PROTONS, mass_mev
from hepfm_lartpc.nuclear.products import Products, put, unseen_mev
from hepfm_lartpc.nuclear.residue import compound, evaporate, excitation_mev
from hepfm_lartpc.species import (
    KAON_MINUS,
    KAON_PLUS,
    MASS_MEV,
    NEUTRON,
    PION_MINUS,
    PION_PLUS,
    PION_ZERO,
    PROTON,
)
from hepfm_lartpc.streams import Stream, uniform

COMPOUND_MEV = 20.0
"""Nucleons below this melt into the nucleus."""
_TRIES = 100
"""A hadron crosses the middle of the nucleus untouched far less than once in three times."""


@compiled
def interact(s: Stream, species: int, kinetic_mev: float, out: Products) -> tuple[int, float]:
    """What comes of the interaction whose mean free path `hadron_length_mm` gives.

    Args:
        s: Random numbers.
        species: A pion, nucleon or charged kaon.
        kinetic_mev: Of the hadron, which flies along +z.
        out: ``(64, 5)``, filled with the products.

    Returns:
        Number of products, and the energy that stays in nuclei or comes from them (negative), by the
        convention of `hepfm_lartpc.event.Balance`. Another species has no products and leaves all its energy.
    """
    rows = 0
    if species == NEUTRON:
        rows = _neutron(s, kinetic_mev, out)
    elif species == PROTON and kinetic_mev < COMPOUND_MEV:
        rows = compound(s, species, kinetic_mev, out)
    elif species in (PROTON, PION_MINUS, PION_PLUS, PION_ZERO, KAON_MINUS, KAON_PLUS):
        rows = _fast(s, species, kinetic_mev, out)
    return rows, unseen_mev(species, kinetic_mev, out, rows)


@compiled
def _neutron(s: Stream, kinetic_mev: float, out: Products) -> int:
    """One of the ways of a neutron, in proportion to their cross sections."""
    scattered, taken = neutron_elastic_mb(kinetic_mev), neutron_capture_mb(kinetic_mev)
    draw = uniform(s) * (inelastic_mb(NEUTRON, kinetic_mev) + scattered + taken)
    if draw < taken:
        return capture(s, kinetic_mev, out)
    if draw < taken + scattered:
        return elastic(s, kinetic_mev, out)
    if kinetic_mev < DISCRETE_MEV:
        return excite(s, kinetic_mev, out)
    if kinetic_mev < COMPOUND_MEV:
        return compound(s, NEUTRON, kinetic_mev, out)
    return _fast(s, NEUTRON, kinetic_mev, out)


@compiled
def _fast(s: Stream, species: int, kinetic_mev: float, out: Products) -> int:
    """A cascade, then evaporation. A nucleon that finds no partner melts in, a meson flies on."""
    stack = np.empty((STACK_ROWS, 8))
    left = np.empty(2, np.int64)
    mass = MASS_MEV[species]
    for _ in range(_TRIES):
        left[0], left[1] = NUCLEONS, PROTONS
        b = EDGE_FM * math.sqrt(uniform(s))
        azimuth = 2.0 * math.pi * uniform(s)
        start = (b * math.cos(azimuth), b * math.sin(azimuth), -math.sqrt(EDGE_FM * EDGE_FM - b * b))
        push(stack, 0, species, kinetic_mev, (0.0, 0.0, 1.0), start)
        rows, collisions = cascade(s, stack, 1, left, out, 0)
        if collisions > 0:
            recoil = np.zeros(3)
            recoil[2] = math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass))
            energy = kinetic_mev + mass + mass_mev(NUCLEONS, PROTONS)
            excitation = excitation_mev(energy, left, recoil, out, rows)
            return evaporate(s, excitation, left, recoil, out, rows)
    if species in (PROTON, NEUTRON):
        return compound(s, species, kinetic_mev, out)
    return put(out, 0, species, 0.0, 0.0, math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass)))
