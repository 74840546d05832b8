"""What becomes of muons, pions and kaons that stop in argon: decay, or capture by a nucleus.

mu-: Measday, Phys. Rep. 354 (2001) 243, for rates and neutrons. pi-: Gotta, Prog. Part. Nucl. Phys. 52
(2004) 133, and the measurements cited there; LArIAT, arXiv:2408.05133, sees the photons and neutrons of
both in argon.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.cascade import STACK_ROWS, cascade, leave, push, well_mev
from hepfm_lartpc.nuclear.collisions import (
    allowed,
    fermi_nucleon,
    kaon_collision,
    pair_absorption,
)
from hepfm_lartpc.nuclear.decays import decay
from hepfm_lartpc.nuclear.nucleus import EDGE_FM, NUCLEONS, PROTONS, density, fermi_mev, mass_mev
from hepfm_lartpc.nuclear.phase_space import MOST_BODIES
from hepfm_lartpc.nuclear.products import Products, put, unseen_mev
from hepfm_lartpc.nuclear.residue import evaporate, excitation_mev
from hepfm_lartpc.species import (
    KAON_MINUS,
    KAON_PLUS,
    LIFETIME_NS,
    MASS_MEV,
    MUON_MASS,
    MUON_MINUS,
    MUON_PLUS,
    NEUTRINO,
    NEUTRON,
    NEUTRON_MASS,
    PHOTON,
    PION_MASS,
    PION_MINUS,
    PION_PLUS,
    PROTON,
    PROTON_MASS,
)
from hepfm_lartpc.streams import Stream, exponential, isotropic, uniform

CAPTURE_PER_US = 1.30
"""Rate at which argon captures mu- (measurements from 1.20 to 1.41; Measday 2001, Mukhopadhyay 1977)."""
BOUND_DECAY_PER_US = 0.975 * 1e3 / LIFETIME_NS[MUON_MINUS]
"""Decay of a bound mu-: the free rate times the Huff factor near Z = 18 (Suzuki et al., Phys. Rev. C 35
(1987) 2212)."""
MUONIC_LIFE_NS = 1e3 / (CAPTURE_PER_US + BOUND_DECAY_PER_US)
"""Mean life of mu- in argon: 574 ns."""
CAPTURE_SHARE = CAPTURE_PER_US * MUONIC_LIFE_NS * 1e-3
"""Share of stopped mu- that is captured: 0.746."""
RADIATIVE_SHARE = 0.02
"""Share of pi- captures at rest with a hard photon (Baer, Crowe and Truoel, Adv. Nucl. Phys. 9, 1977)."""


@compiled
def stops(s: Stream, species: int, out: Products) -> tuple[int, float, float, bool]:
    """What becomes of a particle at rest.

    Args:
        s: Random numbers.
        species: Any; what is stable has no products.
        out: ``(64, 5)``, filled with the products.

    Returns:
        Number of products; energy that stays in nuclei or comes from them (negative), by the convention of
        `hepfm_lartpc.event.Balance`; delay in ns; whether it decayed (else it was captured, or is stable).
    """
    if species == MUON_MINUS:
        delay = MUONIC_LIFE_NS * exponential(s)
        if uniform(s) < CAPTURE_SHARE:
            rows = _muon_capture(s, out)
            return rows, unseen_mev(species, 0.0, out, rows), delay, False
        rows, unseen = decay(s, species, 0.0, out)
        return rows, unseen, delay, True
    if species in (MUON_PLUS, PION_PLUS, KAON_PLUS):
        delay = LIFETIME_NS[species] * exponential(s)
        rows, unseen = decay(s, species, 0.0, out)
        return rows, unseen, delay, True
    rows = 0
    if species in (PION_MINUS, KAON_MINUS):
        rows = _meson_capture(s, species, out)
    return rows, unseen_mev(species, 0.0, out, rows), 0.0, False


@compiled
def _inside(s: Stream, pairs: bool) -> tuple[float, float, float, float]:
    """A point drawn with the density, or its square, in fm, and the share of the central density there."""
    while True:
        r = EDGE_FM * uniform(s) ** (1.0 / 3.0)
        share = density(r * r)
        if uniform(s) < (share * share if pairs else share):
            ux, uy, uz = isotropic(s)
            return r * ux, r * uy, r * uz, share


@compiled
def _muon_capture(s: Stream, out: Products) -> int:
    """mu- p to n nu on a bound proton, then what the neutron and the excited chlorine do.

    The proton has Fermi motion, the neutron must lie above the Fermi surface. The excitation comes out at
    10-20 MeV with a tail, so that about one neutron leaves; protons and alphas are rare.
    """
    left = np.empty(2, np.int64)
    p = np.empty((1, 4))
    # Chlorine-40 lies 7.48 MeV above argon-40 (AME 2020, atoms); the nuclei differ by an electron more.
    available = MUON_MASS - 7.99
    while True:
        x, y, z, share = _inside(s, False)
        fermi_nucleon(s, share, 1, p[0])
        ux, uy, uz = isotropic(s)
        before = p[0, 0] - PROTON_MASS
        transfer = 0.0
        for _ in range(6):  # the neutrino's energy and the neutron's momentum hang on each other
            q = available - transfer
            k = math.sqrt((p[0, 1] - q * ux) ** 2 + (p[0, 2] - q * uy) ** 2 + (p[0, 3] - q * uz) ** 2)
            after = k * k / (math.sqrt(k * k + NEUTRON_MASS**2) + NEUTRON_MASS)
            transfer = max(0.0, after - before)
        if after > fermi_mev(share, 0):
            break
    left[0], left[1] = NUCLEONS - 1, PROTONS - 1
    rows = put(out, 0, NEUTRINO, q * ux, q * uy, q * uz)
    stack = np.empty((STACK_ROWS, 8))
    direction = ((p[0, 1] - q * ux) / k, (p[0, 2] - q * uy) / k, (p[0, 3] - q * uz) / k)
    depth = push(stack, 0, NEUTRON, after - well_mev(share, 0), direction, (x, y, z))
    rows, _ = cascade(s, stack, depth, left, out, rows)
    energy = available + mass_mev(NUCLEONS, PROTONS - 1)
    recoil = np.zeros(3)
    return evaporate(s, excitation_mev(energy, left, recoil, out, rows), left, recoil, out, rows)


@compiled
def _meson_capture(s: Stream, species: int, out: Products) -> int:
    """A pi- or K- at rest is absorbed in the surface of the nucleus."""
    left = np.empty(2, np.int64)
    left[0], left[1] = NUCLEONS, PROTONS
    p = np.empty((MOST_BODIES, 4))
    kinds = np.empty(MOST_BODIES, np.int64)
    stack = np.empty((STACK_ROWS, 8))
    mass = MASS_MEV[species]
    rows = depth = 0
    if species == PION_MINUS and uniform(s) < RADIATIVE_SHARE:
        energy = PION_MASS - 12.0 - 12.0 * (exponential(s) + exponential(s)) * 0.5
        energy = max(energy, 50.0)
        ux, uy, uz = isotropic(s)
        rows = put(out, rows, PHOTON, energy * ux, energy * uy, energy * uz)
        left[1] -= 1
    else:
        while True:
            x, y, z, share = _inside(s, True)
            p[0, 0], p[0, 1], p[0, 2], p[0, 3] = mass, 0.0, 0.0, 0.0
            kinds[0] = species
            if species == PION_MINUS:
                pair = pair_absorption(s, kinds, p, share)
                if pair >= 0:
                    left[0] -= 2
                    left[1] -= pair
                    break
            else:
                hit = int(uniform(s) < PROTONS / NUCLEONS)
                fermi_nucleon(s, share, hit, p[1])
                kinds[1] = PROTON if hit else NEUTRON
                if (
                    kaon_collision(s, kinds, p, well_mev(share, hit)) > 0
                    and kinds[0] != KAON_MINUS
                    and allowed(kinds, p, 2, share)
                ):
                    left[0] -= 1
                    left[1] -= hit
                    break
        depth, rows = leave(s, kinds, p, 2, share, (x, y, z), stack, 0, out, 0)
    rows, _ = cascade(s, stack, depth, left, out, rows)
    recoil = np.zeros(3)
    energy = mass + mass_mev(NUCLEONS, PROTONS)
    return evaporate(s, excitation_mev(energy, left, recoil, out, rows), left, recoil, out, rows)
