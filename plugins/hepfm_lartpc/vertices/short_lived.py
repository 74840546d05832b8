"""Particles that decay before they leave their vertex, or leave it unseen.

Branching fractions and masses: Particle Data Group, Review of Particle Physics 2024; modes below 1 % are left
out and the rest is scaled up. Flight paths of a few cm (K0S, Lambda, Sigma, Xi) are not followed.
"""

from __future__ import annotations

import numpy as np

from hepfm_lartpc.event import Floats
from hepfm_lartpc.nuclear.phase_space import boost, n_body
from hepfm_lartpc.species import MASS_MEV
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.vertices.named import SPECIES_OF_PDG

MASS_OF_SHORT_LIVED_MEV = {
    310: 497.611, 311: 497.611, 221: 547.862, 223: 782.66, 113: 775.26, 213: 775.11,
    3122: 1115.683, 3222: 1189.37, 3212: 1192.642, 3112: 1197.449, 3322: 1314.86, 3312: 1321.71,
    2224: 1232.0, 2214: 1232.0, 2114: 1232.0, 1114: 1232.0,
}  # fmt: skip
_DECAYS: dict[int, tuple[tuple[float, tuple[int, ...]], ...]] = {
    310: ((0.692, (211, -211)), (0.307, (111, 111))),
    221: ((0.394, (22, 22)), (0.326, (111, 111, 111)), (0.229, (211, -211, 111)), (0.042, (211, -211, 22))),
    223: ((0.892, (211, -211, 111)), (0.084, (111, 22)), (0.015, (211, -211))),
    113: ((1.0, (211, -211)),),
    213: ((1.0, (211, 111)),),
    3122: ((0.641, (2212, -211)), (0.359, (2112, 111))),
    3222: ((0.516, (2212, 111)), (0.483, (2112, 211))),
    3212: ((1.0, (3122, 22)),),
    3112: ((1.0, (2112, -211)),),
    3322: ((1.0, (3122, 111)),),
    3312: ((1.0, (3122, -211)),),
    2224: ((1.0, (2212, 211)),),
    2214: ((2 / 3, (2212, 111)), (1 / 3, (2112, 211))),
    2114: ((2 / 3, (2112, 111)), (1 / 3, (2212, -211))),
    1114: ((1.0, (2112, -211)),),
}
_OWN_ANTIPARTICLES = {310, 221, 223, 113, 111, 22}
K0, K0_SHORT, K0_LONG = 311, 310, 130
_NEUTRINOS = {12, 14, 16}
_NUCLEUS = 1_000_000_000
"""PDG numbers of nuclei begin here; generators' own bookkeeping entries lie above them too."""
_HYPERON_ANTIPARTICLES_LEFT_OUT = {-3122, -3222, -3212, -3112, -3322, -3312, -2224, -2214, -2114, -1114}
"""They would leave antinucleons, which are not followed."""


def unseen(pdg: int) -> bool:
    """Whether a particle leaves without a trace: neutrinos, K0L (they fly 15 m), and nuclei that stay put."""
    return abs(pdg) in _NEUTRINOS or pdg == K0_LONG or (abs(pdg) > _NUCLEUS and pdg not in SPECIES_OF_PDG)


def decays(pdg: int) -> bool:
    """Whether a particle decays at its vertex here."""
    if pdg in _HYPERON_ANTIPARTICLES_LEFT_OUT:
        return False
    return abs(pdg) == K0 or pdg in _DECAYS or (-pdg in _DECAYS and -pdg not in _OWN_ANTIPARTICLES)


def final_particles(s: Stream, pdg: int, momentum_mev: Floats) -> list[tuple[int, Floats]]:
    """PDG numbers and momenta ``(3,)`` of what a particle leaves behind: itself, its decays', or nothing.

    Raises:
        KeyError: The particle can neither be followed nor decayed.
    """
    if unseen(pdg):
        return []
    if not decays(pdg):
        if pdg not in SPECIES_OF_PDG:
            raise KeyError(pdg)
        return [(pdg, momentum_mev)]
    if abs(pdg) == K0:
        if uniform(s) < 0.5:
            return []  # as K0L
        pdg = K0_SHORT
    sign = 1 if pdg in _DECAYS else -1
    modes = _DECAYS[sign * pdg]
    draw, i = uniform(s) * sum(share for share, _ in modes), 0
    while i < len(modes) - 1 and draw > modes[i][0]:
        draw -= modes[i][0]
        i += 1
    daughters = [sign * d if abs(d) not in _OWN_ANTIPARTICLES else d for d in modes[i][1]]
    masses = np.array([_mass(daughter) for daughter in daughters])
    p = np.empty((len(daughters), 4))
    mass = MASS_OF_SHORT_LIVED_MEV[sign * pdg]
    n_body(s, mass, masses, len(daughters), p)
    velocity = momentum_mev / np.sqrt(mass * mass + (momentum_mev**2).sum())
    left = []
    for daughter, row in zip(daughters, p, strict=True):
        boost(row, *velocity)
        left += final_particles(s, daughter, row[1:])
    return left


def _mass(pdg: int) -> float:
    if pdg in SPECIES_OF_PDG:
        return float(MASS_MEV[SPECIES_OF_PDG[pdg]])
    return MASS_OF_SHORT_LIVED_MEV[abs(pdg)]
