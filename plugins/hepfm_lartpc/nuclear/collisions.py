"""Single collisions inside the nucleus: what a fast particle and the nucleons that it meets become.

The state of a collision is a `Work` array: rows (energy, px, py, pz) of the products, and their species
beside them. Nucleons move in their well, with the Fermi motion of the local density; a collision that would
leave a nucleon below the Fermi surface is forbidden (Pauli), and reported as no product.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.elementary import (
    delta_mb,
    nucleon_elastic_mb,
    nucleon_production_mb,
    pion_production_share,
    pion_rest_mb,
)
from hepfm_lartpc.nuclear.nucleus import FERMI_MEV, NUCLEON_MASS_MEV, fermi_mev
from hepfm_lartpc.nuclear.phase_space import MOST_BODIES, Momenta, boost, momentum_mev, n_body, tilted
from hepfm_lartpc.species import (
    CHARGE,
    KAON_MINUS,
    MASS_MEV,
    NEUTRON,
    PION_MASS,
    PION_MINUS,
    PION_PLUS,
    PION_ZERO,
    PROTON,
    PROTON_MASS,
)
from hepfm_lartpc.streams import Stream, isotropic, poisson, uniform

Kinds = NDArray[np.int64]
LAMBDA_MASS_MEV = 1115.683
LAMBDA = 99
"""Stands for the Lambda within a collision alone; it decays as it leaves the nucleus."""
_EXTRA_PIONS_PER_MEV = 1.3e-3
"""Growth of the mean number of further pions with the energy at rest above 2.3 GeV (pp data, PDG)."""


@compiled
def fermi_nucleon(s: Stream, share: float, proton: int, p: Momenta) -> None:
    """Momentum ``p (4,)`` of a nucleon from the local Fermi sphere."""
    k = FERMI_MEV[proton] * (share * uniform(s)) ** (1.0 / 3.0)
    ux, uy, uz = isotropic(s)
    p[0] = math.sqrt(k * k + NUCLEON_MASS_MEV[proton] ** 2)
    p[1], p[2], p[3] = k * ux, k * uy, k * uz


@compiled
def allowed(kinds: Kinds, p: Momenta, n: int, share: float) -> bool:
    """Whether all nucleons among ``n`` products lie above the Fermi surface."""
    for i in range(n):
        if kinds[i] in (PROTON, NEUTRON):
            proton = int(kinds[i] == PROTON)
            if p[i, 0] - NUCLEON_MASS_MEV[proton] < fermi_mev(share, proton):
                return False
    return True


@compiled
def isotropic_bodies(s: Stream, kinds: Kinds, p: Momenta, n: int, total: Momenta) -> bool:
    """Fill ``p (n, 4)`` evenly over the phase space of ``total (4,)``; False below the threshold."""
    masses = np.empty(MOST_BODIES)
    for i in range(n):
        masses[i] = LAMBDA_MASS_MEV if kinds[i] == LAMBDA else MASS_MEV[kinds[i]]
    square = total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2
    if square <= 0.0 or not n_body(s, math.sqrt(square), masses, n, p):
        return False
    for i in range(n):
        boost(p[i], total[1] / total[0], total[2] / total[0], total[3] / total[0])
    return True


@compiled
def scatter(s: Stream, kinds: Kinds, p: Momenta, slope: float, p_wave: bool) -> bool:
    """Scatter rows 0 and 1 of ``p`` elastically into the species of ``kinds``.

    The angle at rest follows exp(slope t), or 1 + 3 cos2 for the decay of a Delta.
    """
    ex, bx, by, bz = p[0, 0] + p[1, 0], p[0, 1] + p[1, 1], p[0, 2] + p[1, 2], p[0, 3] + p[1, 3]
    square = ex * ex - bx * bx - by * by - bz * bz
    mass0, mass1 = MASS_MEV[kinds[0]], MASS_MEV[kinds[1]]
    if square <= (mass0 + mass1) ** 2:
        return False
    k = momentum_mev(math.sqrt(square), mass0, mass1)
    bx, by, bz = bx / ex, by / ex, bz / ex
    boost(p[0], -bx, -by, -bz)
    old = math.sqrt(p[0, 1] ** 2 + p[0, 2] ** 2 + p[0, 3] ** 2)
    if old <= 0.0:
        return False
    if p_wave:
        while True:
            cosine = 2.0 * uniform(s) - 1.0
            if uniform(s) * 4.0 < 1.0 + 3.0 * cosine * cosine:
                break
    else:
        least = math.exp(-4.0 * slope * k * k)
        cosine = 1.0 + math.log(least + (1.0 - least) * uniform(s)) / (2.0 * slope * k * k)
    ux, uy, uz = tilted(p[0, 1] / old, p[0, 2] / old, p[0, 3] / old, cosine, 2.0 * math.pi * uniform(s))
    p[0, 0], p[0, 1], p[0, 2], p[0, 3] = math.sqrt(k * k + mass0 * mass0), k * ux, k * uy, k * uz
    p[1, 0], p[1, 1], p[1, 2], p[1, 3] = math.sqrt(k * k + mass1 * mass1), -k * ux, -k * uy, -k * uz
    boost(p[0], bx, by, bz)
    boost(p[1], bx, by, bz)
    return True


@compiled
def slope_per_mev2(momentum_mev_c: float) -> float:
    """Slope of elastic scattering exp(slope t) of nucleons at a laboratory momentum.

    Cugnon et al., Nucl. Instrum. Meth. B 111 (1996) 215, below and above 2 GeV/c.
    """
    p = momentum_mev_c * 1e-3
    if p < 2.0:
        p8 = p**8
        return 5.5e-6 * p8 / (7.7 + p8) + 1e-9
    return (5.334 + 0.67 * (p - 2.0)) * 1e-6


@compiled
def charges(s: Stream, charge: int, baryons: int, pions: int, kinds: Kinds) -> None:
    """Draw the species of nucleons, then pions, that have a total charge, evenly over the pions' charges."""
    while True:
        left = charge
        for i in range(pions):
            kind = int(3.0 * uniform(s))
            kinds[baryons + i] = PION_MINUS + kind  # pi-, pi+, pi0 in this order
            left -= CHARGE[PION_MINUS + kind]
        if 0 <= left <= baryons:
            break
    if baryons == 1:
        kinds[0] = PROTON if left == 1 else NEUTRON
    elif left == 1:
        first = uniform(s) < 0.5
        kinds[0], kinds[1] = PROTON if first else NEUTRON, NEUTRON if first else PROTON
    else:
        kinds[0] = kinds[1] = PROTON if left == 2 else NEUTRON


@compiled
def nucleon_collision(s: Stream, kinds: Kinds, p: Momenta) -> int:
    """Rows 0 and 1 of ``p`` are nucleons: scatter them, or make pions. Returns the number of products."""
    total = p[0] + p[1]
    square = total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2
    lab = square / (2.0 * PROTON_MASS) - 2.0 * PROTON_MASS
    alike = kinds[0] == kinds[1]
    elastic, production = nucleon_elastic_mb(lab, alike), nucleon_production_mb(lab, alike)
    if uniform(s) * (elastic + production) < elastic:
        if not alike and uniform(s) < 0.5:  # n p scatters backwards as often as forwards: they swap charge
            kinds[0], kinds[1] = kinds[1], kinds[0]
        momentum = math.sqrt(max(0.0, lab * (lab + 2.0 * PROTON_MASS)))
        return 2 if scatter(s, kinds, p, slope_per_mev2(momentum), False) else 0
    root = math.sqrt(square)
    pions = 1 + poisson(s, max(0.0, _EXTRA_PIONS_PER_MEV * (root - 2300.0)))
    pions = min(pions, MOST_BODIES - 4, int((root - 2.0 * PROTON_MASS) / (PION_MASS + 60.0)) + 1)
    charge = int(CHARGE[kinds[0]] + CHARGE[kinds[1]])
    if pions == 1:
        _one_pion(s, charge, kinds)
    else:
        charges(s, charge, 2, pions, kinds)
    return 2 + pions if isotropic_bodies(s, kinds, p, 2 + pions, total) else 0


@compiled
def _one_pion(s: Stream, charge: int, kinds: Kinds) -> None:
    """Species of N N pi through a Delta: 5/6 charged pions from like nucleons, 1/3 from unlike ones."""
    draw = uniform(s)
    if charge == 1:
        if draw < 2.0 / 3.0:
            kinds[0], kinds[1], kinds[2] = PROTON, NEUTRON, PION_ZERO
        elif draw < 5.0 / 6.0:
            kinds[0], kinds[1], kinds[2] = NEUTRON, NEUTRON, PION_PLUS
        else:
            kinds[0], kinds[1], kinds[2] = PROTON, PROTON, PION_MINUS
        return
    same, other = (PROTON, NEUTRON) if charge == 2 else (NEUTRON, PROTON)
    if draw < 5.0 / 6.0:
        kinds[0], kinds[1], kinds[2] = same, other, PION_PLUS if charge == 2 else PION_MINUS
    else:
        kinds[0], kinds[1], kinds[2] = same, same, PION_ZERO


@compiled
def delta_share(pion: int, proton: int) -> float:
    """Of `delta_mb`, by isospin: 1 for pi+ p and pi- n, 2/3 for pi0, 1/3 for the others."""
    if pion == PION_ZERO:
        return 2.0 / 3.0
    return 1.0 if (pion == PION_PLUS) == (proton == 1) else 1.0 / 3.0


@compiled
def pion_collision(s: Stream, kinds: Kinds, p: Momenta, kinetic_mev: float) -> int:
    """Row 0 of ``p`` is a pion, row 1 a nucleon: scatter them, exchange charge, or make pions."""
    share = delta_share(kinds[0], int(kinds[1] == PROTON))
    resonant, rest = share * delta_mb(kinetic_mev), pion_rest_mb(kinetic_mev)
    charge = int(CHARGE[kinds[0]] + CHARGE[kinds[1]])
    if uniform(s) * (resonant + rest) < resonant:
        # A Delta of charge 0 or +1 decays to its nucleon's own kind with a pi0 in two cases of three.
        if charge in (0, 1):
            neutral = uniform(s) < 2.0 / 3.0
            kinds[1] = PROTON if (charge == 1) == neutral else NEUTRON
            kinds[0] = PION_ZERO if neutral else PION_PLUS if charge == 1 else PION_MINUS
        return 2 if scatter(s, kinds, p, 0.0, True) else 0
    if uniform(s) < pion_production_share(kinetic_mev):
        total = p[0] + p[1]
        root = math.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2)
        pions = 2 + poisson(s, max(0.0, _EXTRA_PIONS_PER_MEV * (root - 1400.0)))
        pions = min(pions, MOST_BODIES - 4, max(2, int((root - PROTON_MASS) / (PION_MASS + 60.0))))
        charges(s, charge, 1, pions, kinds)
        return 1 + pions if isotropic_bodies(s, kinds, p, 1 + pions, total) else 0
    if charge in (0, 1) and uniform(s) < 0.3:  # charge exchange without a resonance
        if kinds[0] == PION_ZERO:
            kinds[0] = PION_PLUS if kinds[1] == PROTON else PION_MINUS
            kinds[1] = NEUTRON if kinds[1] == PROTON else PROTON
        else:
            kinds[1] = NEUTRON if kinds[1] == PROTON else PROTON
            kinds[0] = PION_ZERO
    # 7 per GeV2: the slope of pion-nucleon scattering above the resonances (PDG).
    return 2 if scatter(s, kinds, p, 7e-6, False) else 0


@compiled
def kaon_collision(s: Stream, kinds: Kinds, p: Momenta, well_mev: float) -> int:
    """Row 0 of ``p`` is a charged kaon, row 1 a nucleon: scatter, or a K- makes a Lambda and a pion.

    The Lambda and the pion leave without a well of their own: that of the nucleon is taken off their energy.

    Sigmas count as Lambdas: their pions differ by 70 MeV, and most become Lambdas in the nucleus.
    """
    if kinds[0] == KAON_MINUS and uniform(s) < 0.6:
        kinds[0] = PION_ZERO if kinds[1] == PROTON else PION_MINUS
        kinds[1] = LAMBDA
        total = p[0] + p[1]
        total[0] -= well_mev
        return 2 if isotropic_bodies(s, kinds, p, 2, total) else 0
    return 2 if scatter(s, kinds, p, 2e-6, False) else 0


@compiled
def pair_absorption(s: Stream, kinds: Kinds, p: Momenta, share: float) -> int:
    """Row 0 of ``p`` is a pion that a pair of nucleons absorbs; rows 0 and 1 become the fast nucleons.

    Proton-neutron pairs take four of five charged pions (McKeown et al., Phys. Rev. C 24 (1981) 211).

    Returns:
        The pair's number of protons, or -1 where Pauli forbids it.
    """
    pion = kinds[0]
    protons = 1
    if pion != PION_ZERO and uniform(s) < 0.2:
        protons = 0 if pion == PION_PLUS else 2
    total = p[0].copy()
    fermi_nucleon(s, share, int(protons > 0), p[1])
    total += p[1]
    fermi_nucleon(s, share, int(protons > 1), p[1])
    total += p[1]
    after = protons + int(CHARGE[pion])
    kinds[0], kinds[1] = PROTON if after > 0 else NEUTRON, PROTON if after > 1 else NEUTRON
    if isotropic_bodies(s, kinds, p, 2, total) and allowed(kinds, p, 2, share):
        return protons
    return -1
