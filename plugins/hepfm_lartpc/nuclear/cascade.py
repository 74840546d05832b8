"""The fast stage of a nuclear reaction: particles run through the nucleus and collide with its nucleons.

An intranuclear cascade after Metropolis et al., Phys. Rev. 110 (1958) 185, and Cugnon et al., Nucl. Phys. A
352 (1981) 505: straight lines between collisions whose rate is the local density times the free cross
section, Fermi motion, Pauli blocking, pions absorbed by pairs of nucleons. A nucleon's kinetic energy on
the stack is that outside the nucleus; inside, the depth of the local well comes on top. What cannot leave
heats the residual nucleus, whose energy follows from what did leave (`hepfm_lartpc.nuclear.residue`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.collisions import (
    LAMBDA,
    LAMBDA_MASS_MEV,
    Kinds,
    allowed,
    delta_share,
    fermi_nucleon,
    kaon_collision,
    nucleon_collision,
    pair_absorption,
    pion_collision,
)
from hepfm_lartpc.nuclear.elementary import (
    delta_mb,
    nucleon_elastic_mb,
    nucleon_production_mb,
    pair_absorption_mb,
    pion_rest_mb,
)
from hepfm_lartpc.nuclear.nucleus import (
    CENTRAL_FM3,
    EDGE_FM,
    NUCLEONS,
    SEPARATION_MEV,
    density,
    fermi_mev,
)
from hepfm_lartpc.nuclear.phase_space import MOST_BODIES, Momenta, boost, momentum_mev
from hepfm_lartpc.nuclear.products import Products, put
from hepfm_lartpc.species import (
    CHARGE,
    MASS_MEV,
    NEUTRON,
    NEUTRON_MASS,
    PION_MASS,
    PION_MINUS,
    PION_PLUS,
    PION_ZERO,
    PION_ZERO_MASS,
    PROTON,
    PROTON_MASS,
)
from hepfm_lartpc.streams import Stream, exponential, isotropic, uniform

Stack = NDArray[np.float64]
"""``(64, 8)``: species, kinetic energy outside, direction, position in fm."""
STACK_ROWS = 64

_MB_TO_FM2 = 0.1
_LEAST_MEV = np.array([1.0, 4.0])
"""Neutrons and protons below this stay in the nucleus; for protons most of its Coulomb barrier."""
_KAON_MB = np.array([13.0, 40.0])
"""K+ and K- on nucleons (PDG, below 1 GeV)."""


@compiled
def push(
    stack: Stack, depth: int, species: int, kinetic_mev: float, direction: tuple[float, float, float],
    position_fm: tuple[float, float, float],
) -> int:  # fmt: skip
    """One more particle to follow; returns the new depth. A full stack leaves it in the nucleus."""
    if depth == STACK_ROWS:
        return depth
    stack[depth, 0], stack[depth, 1] = species, kinetic_mev
    stack[depth, 2], stack[depth, 3], stack[depth, 4] = direction
    stack[depth, 5], stack[depth, 6], stack[depth, 7] = position_fm
    return depth + 1


@compiled
def well_mev(share: float, proton: int) -> float:
    """Depth of a nucleon's potential well at this share of the central density."""
    return fermi_mev(share, proton) + SEPARATION_MEV


@compiled
def rates_mb(species: int, inside_mev: float, rate: NDArray[np.float64]) -> None:
    """Cross sections ``rate (3,)`` on a neutron, a proton, and for absorption by a pair at full density."""
    rate[2] = 0.0
    if species in (PROTON, NEUTRON):
        for proton in range(2):
            alike = (species == PROTON) == (proton == 1)
            rate[proton] = nucleon_elastic_mb(inside_mev, alike) + nucleon_production_mb(inside_mev, alike)
    elif species in (PION_MINUS, PION_PLUS, PION_ZERO):
        resonant, rest = delta_mb(inside_mev), pion_rest_mb(inside_mev)
        for proton in range(2):
            rate[proton] = delta_share(species, proton) * resonant + rest
        rate[2] = pair_absorption_mb(inside_mev)
    else:
        rate[0] = rate[1] = _KAON_MB[int(CHARGE[species] < 0)]


@compiled
def cascade(s: Stream, stack: Stack, depth: int, left: Kinds, out: Products, rows: int) -> tuple[int, int]:
    """Follow all that is on the stack until it has left the nucleus or stays in it.

    Args:
        s: Random numbers.
        stack: ``(64, 8)`` particles to follow.
        depth: Number of them.
        left: Nucleons and protons of the residual nucleus ``(2,)``, changed.
        out: Products, appended to.
        rows: Number of products before.

    Returns:
        Number of products, and of collisions.
    """
    p = np.empty((MOST_BODIES, 4))
    kinds = np.empty(MOST_BODIES, np.int64)
    rate = np.empty(3)
    collisions = 0
    while depth > 0:
        depth -= 1
        species = int(stack[depth, 0])
        kinetic = stack[depth, 1]
        ux, uy, uz = stack[depth, 2], stack[depth, 3], stack[depth, 4]
        x, y, z = stack[depth, 5], stack[depth, 6], stack[depth, 7]
        nucleon, proton = species in (PROTON, NEUTRON), int(species == PROTON)
        if nucleon and kinetic < _LEAST_MEV[proton]:
            left[0] += 1
            left[1] += proton
            continue
        mass = MASS_MEV[species]
        # No density and no energy on the way gives a higher rate than these two ends.
        rates_mb(species, kinetic, rate)
        most = max(rate[0], rate[1]) + rate[2]
        if nucleon:
            rates_mb(species, kinetic + well_mev(1.0, proton), rate)
            most = max(most, rate[0], rate[1])
        most *= 1.03 * CENTRAL_FM3 * _MB_TO_FM2  # between the two ends the sum may lie a little higher
        while True:
            step = exponential(s) / most
            x, y, z = x + step * ux, y + step * uy, z + step * uz
            r2 = x * x + y * y + z * z
            if r2 > EDGE_FM * EDGE_FM:
                k = math.sqrt(kinetic * (kinetic + 2.0 * mass))
                rows = put(out, rows, species, k * ux, k * uy, k * uz)
                break
            share = density(r2)
            inside = kinetic + well_mev(share, proton) if nucleon else kinetic
            rates_mb(species, inside, rate)
            # Nucleons that were knocked out are missing, evenly over the nucleus.
            neutrons, protons = rate[0] * (left[0] - left[1]) / NUCLEONS, rate[1] * left[1] / NUCLEONS
            pairs = rate[2] * share * (left[0] / NUCLEONS) ** 2
            draw = uniform(s) * most / (CENTRAL_FM3 * _MB_TO_FM2 * share) - neutrons - protons
            if draw > pairs:
                continue
            k = math.sqrt(inside * (inside + 2.0 * mass))
            p[0, 0], p[0, 1], p[0, 2], p[0, 3] = inside + mass, k * ux, k * uy, k * uz
            kinds[0] = species
            if draw > 0.0:
                pair = pair_absorption(s, kinds, p, share)
                if pair < 0 or pair > left[1] or 2 - pair > left[0] - left[1]:
                    continue
                products, partners, partner_protons = 2, 2, pair
            else:
                hit = int(draw < -neutrons)
                fermi_nucleon(s, share, hit, p[1])
                kinds[1] = PROTON if hit else NEUTRON
                if nucleon:
                    products = nucleon_collision(s, kinds, p)
                elif rate[2] > 0.0:
                    products = pion_collision(s, kinds, p, inside)
                else:
                    products = kaon_collision(s, kinds, p, well_mev(share, hit))
                if products == 0 or not allowed(kinds, p, products, share):
                    continue
                partners, partner_protons = 1, hit
            collisions += 1
            left[0] -= partners
            left[1] -= partner_protons
            depth, rows = leave(s, kinds, p, products, share, (x, y, z), stack, depth, out, rows)
            break
    return rows, collisions


@compiled
def leave(
    s: Stream, kinds: Kinds, p: Momenta, products: int, share: float, position_fm: tuple[float, float, float],
    stack: Stack, depth: int, out: Products, rows: int,
) -> tuple[int, int]:  # fmt: skip
    """Put the products of a collision on the stack; a Lambda leaves at once and decays."""
    for i in range(products):
        kind = kinds[i]
        if kind == LAMBDA:
            rows = _lambda_decay(s, p[i], out, rows)
            continue
        k = math.sqrt(p[i, 1] ** 2 + p[i, 2] ** 2 + p[i, 3] ** 2)
        mass = MASS_MEV[kind]
        kinetic = k * k / (math.sqrt(k * k + mass * mass) + mass)
        if kind in (PROTON, NEUTRON):
            kinetic -= well_mev(share, int(kind == PROTON))
        direction = (p[i, 1] / k, p[i, 2] / k, p[i, 3] / k)
        depth = push(stack, depth, kind, kinetic, direction, position_fm)
    return depth, rows


@compiled
def _lambda_decay(s: Stream, p: Momenta, out: Products, rows: int) -> int:
    """Lambda to p pi- (64 %) or n pi0 (PDG)."""
    charged = uniform(s) < 0.641
    mass = PROTON_MASS if charged else NEUTRON_MASS
    light = PION_MASS if charged else PION_ZERO_MASS
    k = momentum_mev(LAMBDA_MASS_MEV, mass, light)
    ux, uy, uz = isotropic(s)
    bodies = np.empty((2, 4))
    bodies[0, 0], bodies[1, 0] = math.sqrt(k * k + mass * mass), math.sqrt(k * k + light * light)
    for i, sign in ((0, 1.0), (1, -1.0)):
        bodies[i, 1], bodies[i, 2], bodies[i, 3] = sign * k * ux, sign * k * uy, sign * k * uz
        boost(bodies[i], p[1] / p[0], p[2] / p[0], p[3] / p[0])
    first, second = (PROTON, PION_MINUS) if charged else (NEUTRON, PION_ZERO)
    rows = put(out, rows, first, bodies[0, 1], bodies[0, 2], bodies[0, 3])
    return put(out, rows, second, bodies[1, 1], bodies[1, 2], bodies[1, 3])
