"""Decays of muons, pions and kaons, at rest and in flight.

Branching fractions: Particle Data Group, Review of Particle Physics 2024. Modes below 0.1 % are left out.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.phase_space import Momenta, boost, n_body
from hepfm_lartpc.nuclear.products import Products, put, unseen_mev
from hepfm_lartpc.species import (
    ELECTRON,
    ELECTRON_MASS,
    KAON_MINUS,
    KAON_PLUS,
    MASS_MEV,
    MUON_MASS,
    MUON_MINUS,
    MUON_PLUS,
    NEUTRINO,
    PHOTON,
    PION_MINUS,
    PION_PLUS,
    PION_ZERO,
    PION_ZERO_MASS,
    POSITRON,
)
from hepfm_lartpc.streams import Stream, isotropic, uniform

MICHEL_ENDPOINT_MEV = (MUON_MASS**2 + ELECTRON_MASS**2) / (2.0 * MUON_MASS)
"""Largest total energy of the electron of a muon at rest: 52.83 MeV."""
_X0 = ELECTRON_MASS / MICHEL_ENDPOINT_MEV
_RHO = 0.75

_DALITZ = 0.01174
"""pi0 to e+ e- gamma."""

_K_MU_NU, _K_PI_PI0, _K_3_CHARGED, _K_PI_2_PI0, _K_PI0_E_NU = 0.6356, 0.2067, 0.05583, 0.01760, 0.0507
"""Of charged kaons; the rest is pi0 mu nu (3.35 %)."""


@compiled
def decay(s: Stream, species: int, kinetic_mev: float, out: Products) -> tuple[int, float]:
    """What a muon, pion or charged kaon decays into.

    Args:
        s: Random numbers.
        species: Of `hepfm_lartpc.species`.
        kinetic_mev: Of the particle, which flies along +z; 0 at rest.
        out: ``(64, 5)``, filled.

    Returns:
        Number of products, and the energy that they do not carry by the convention of
        `hepfm_lartpc.event.Balance` (0, or an electron's mass). Another species has no products.
    """
    p = np.empty((3, 4))
    kinds = np.empty(3, np.int64)
    bodies = _at_rest(s, species, kinds, p)
    if bodies == 0:
        return 0, 0.0
    mass = MASS_MEV[species]
    beta = math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass)) / (kinetic_mev + mass)
    rows = 0
    for i in range(bodies):
        if beta > 0.0:
            boost(p[i], 0.0, 0.0, beta)
        rows = put(out, rows, kinds[i], p[i, 1], p[i, 2], p[i, 3])
    return rows, unseen_mev(species, kinetic_mev, out, rows)


@compiled
def _at_rest(s: Stream, species: int, kinds: np.ndarray, p: Momenta) -> int:
    """Fill species ``kinds (3,)`` and momenta ``p (3, 4)``; returns the number of bodies."""
    if species in (MUON_MINUS, MUON_PLUS):
        kinds[0] = ELECTRON if species == MUON_MINUS else POSITRON
        kinds[1] = kinds[2] = NEUTRINO
        michel(s, p)
        return 3
    if species in (PION_MINUS, PION_PLUS):
        kinds[0], kinds[1] = MUON_MINUS if species == PION_MINUS else MUON_PLUS, NEUTRINO
        bodies = 2
    elif species == PION_ZERO:
        if uniform(s) < _DALITZ:
            kinds[0], kinds[1], kinds[2] = ELECTRON, POSITRON, PHOTON
            dalitz(s, p)
            return 3
        kinds[0], kinds[1] = PHOTON, PHOTON
        bodies = 2
    elif species in (KAON_MINUS, KAON_PLUS):
        bodies = _kaon_mode(uniform(s), species == KAON_PLUS, kinds)
    else:
        return 0
    masses = MASS_MEV[kinds[:bodies]]
    n_body(s, MASS_MEV[species], masses, bodies, p)
    return bodies


@compiled
def _kaon_mode(draw: float, plus: bool, kinds: np.ndarray) -> int:
    """Species of one mode of a charged kaon; the bodies of three are spread evenly over phase space."""
    pion = PION_PLUS if plus else PION_MINUS
    muon = MUON_PLUS if plus else MUON_MINUS
    if draw < _K_MU_NU:
        kinds[0], kinds[1] = muon, NEUTRINO
        return 2
    draw -= _K_MU_NU
    if draw < _K_PI_PI0:
        kinds[0], kinds[1] = pion, PION_ZERO
        return 2
    draw -= _K_PI_PI0
    if draw < _K_3_CHARGED:
        kinds[0], kinds[1], kinds[2] = pion, pion, PION_MINUS if plus else PION_PLUS
        return 3
    draw -= _K_3_CHARGED
    if draw < _K_PI_2_PI0:
        kinds[0], kinds[1], kinds[2] = pion, PION_ZERO, PION_ZERO
        return 3
    draw -= _K_PI_2_PI0
    if draw < _K_PI0_E_NU:
        kinds[0], kinds[1], kinds[2] = PION_ZERO, POSITRON if plus else ELECTRON, NEUTRINO
    else:
        kinds[0], kinds[1], kinds[2] = PION_ZERO, muon, NEUTRINO
    return 3


@compiled
def michel(s: Stream, p: Momenta) -> None:
    """Momenta ``(3, 4)`` of the electron and the two neutrinos of a muon at rest.

    The electron follows the Michel spectrum with its mass and rho = 3/4, eta = 0 (PDG, "Muon decay
    parameters", eq. 1), for muons that are not polarised. The neutrinos share the rest evenly over their
    phase space, which nobody sees.
    """
    while True:
        x = _X0 + (1.0 - _X0) * uniform(s)
        shape = x * (1.0 - x) + 2.0 / 9.0 * _RHO * (4.0 * x * x - 3.0 * x - _X0 * _X0)
        if uniform(s) / 6.0 < math.sqrt(x * x - _X0 * _X0) * shape:  # 1/6 is the value at the end
            break
    energy = x * MICHEL_ENDPOINT_MEV
    k = math.sqrt(energy * energy - ELECTRON_MASS * ELECTRON_MASS)
    ux, uy, uz = isotropic(s)
    p[0, 0], p[0, 1], p[0, 2], p[0, 3] = energy, k * ux, k * uy, k * uz
    rest = MUON_MASS - energy
    half = 0.5 * math.sqrt(max(0.0, rest * rest - k * k))
    vx, vy, vz = isotropic(s)
    for i, sign in ((1, 1.0), (2, -1.0)):
        p[i, 0] = half
        p[i, 1], p[i, 2], p[i, 3] = sign * half * vx, sign * half * vy, sign * half * vz
    if half > 1e-9 * rest:
        for i in (1, 2):
            boost(p[i], -k * ux / rest, -k * uy / rest, -k * uz / rest)
    else:  # at the endpoint both fly together
        for i in (1, 2):
            p[i, 0] = 0.5 * rest
            p[i, 1], p[i, 2], p[i, 3] = -0.5 * k * ux, -0.5 * k * uy, -0.5 * k * uz


@compiled
def dalitz(s: Stream, p: Momenta) -> None:
    """Momenta ``(3, 4)`` of electron, positron and photon of a pi0 at rest.

    The mass of the pair follows Kroll and Wada, Phys. Rev. 98 (1955) 1355, eq. 8: 1/q2 times phase space.
    """
    least = 4.0 * ELECTRON_MASS * ELECTRON_MASS / (PION_ZERO_MASS * PION_ZERO_MASS)
    while True:
        y = math.exp(math.log(least) * uniform(s))
        root = math.sqrt(1.0 - least / y)
        if uniform(s) * 1.0 < (1.0 - y) ** 3 * (1.0 + 0.5 * least / y) * root:
            break
    pair = math.sqrt(y) * PION_ZERO_MASS
    photon = 0.5 * PION_ZERO_MASS * (1.0 - y)
    ux, uy, uz = isotropic(s)
    p[2, 0], p[2, 1], p[2, 2], p[2, 3] = photon, photon * ux, photon * uy, photon * uz
    energy = math.sqrt(pair * pair + photon * photon)
    # The pair's axis follows 1 + cos2 + (4 m2 / q2) sin2 about the photon.
    while True:
        vx, vy, vz = isotropic(s)
        cosine = vx * ux + vy * uy + vz * uz
        if uniform(s) * 2.0 < 1.0 + cosine * cosine + least / y * (1.0 - cosine * cosine):
            break
    k = 0.5 * pair * root
    for i, sign in ((0, 1.0), (1, -1.0)):
        p[i, 0] = 0.5 * pair
        p[i, 1], p[i, 2], p[i, 3] = sign * k * vx, sign * k * vy, sign * k * vz
        boost(p[i], -photon * ux / energy, -photon * uy / energy, -photon * uz / energy)
