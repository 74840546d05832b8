"""Neutrons below the energies of cascades: elastic scattering, the levels of argon-40, radiative capture.

The recoiling argon ion is not followed: at most a tenth of the neutron's energy, and a small part of that
ionises; it counts as unseen.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.nucleus import HBARC_MEV_FM, NUCLEONS, PROTONS, mass_mev
from hepfm_lartpc.nuclear.phase_space import tilted
from hepfm_lartpc.nuclear.products import Products, put
from hepfm_lartpc.species import NEUTRON, NEUTRON_MASS, PHOTON
from hepfm_lartpc.streams import Stream, isotropic, uniform

ARGON_MASS_MEV = mass_mev(NUCLEONS, PROTONS)
_SHARE = NEUTRON_MASS / (NEUTRON_MASS + ARGON_MASS_MEV)
DIFFRACTION_FM = 4.6
"""Radius of the disc whose shadow is the forward peak of elastic scattering: 1.35 fm A^(1/3)."""
_SLOPE = (DIFFRACTION_FM / (2.0 * HBARC_MEV_FM)) ** 2

LEVELS_MEV = np.array([1.461, 2.121, 2.524, 2.893, 3.208])
"""First excited levels of argon-40 (ENSDF); all but the first reach it by one photon here."""
DISCRETE_MEV = 5.0
"""Below this kinetic energy neutrons excite levels, above they melt into the nucleus."""

CAPTURE_MEV = 6.099
"""Energy set free by the capture of a neutron (AME 2020)."""
_CASCADES_MEV = np.array([
    [4.745, 1.187, 0.167],
    [4.745, 0.838, 0.516],
    [3.701, 1.882, 0.516],
    [3.366, 1.973, 0.760],
    [2.772, 2.160, 1.167],
])  # fmt: skip
_CASCADE_CHANCE = np.array([0.55, 0.12, 0.13, 0.10, 0.10])
"""Photons after capture: the strongest primary lines of argon-41 and the two strongest ways on from its level
at 1.354 MeV (Nesaraja and McCutchan, Nucl. Data Sheets 133 (2016) 1); the last rows stand for the rest."""


@compiled
def elastic(s: Stream, kinetic_mev: float, out: Products) -> int:
    """Scatter a neutron elastically: even in angle when slow, with a diffraction peak when fast."""
    k_lab = math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * NEUTRON_MASS))
    total = kinetic_mev + NEUTRON_MASS + ARGON_MASS_MEV
    beta = k_lab / total
    gamma = 1.0 / math.sqrt(1.0 - beta * beta)
    k = k_lab * ARGON_MASS_MEV / math.sqrt(total * total - k_lab * k_lab)
    steep = 2.0 * _SLOPE * k * k
    if steep < 1e-6:
        cosine = 2.0 * uniform(s) - 1.0
    else:
        least = math.exp(-2.0 * steep)
        cosine = 1.0 + math.log(least + (1.0 - least) * uniform(s)) / steep
    ux, uy, uz = tilted(0.0, 0.0, 1.0, cosine, 2.0 * math.pi * uniform(s))
    pz = gamma * (k * uz + beta * math.sqrt(k * k + NEUTRON_MASS * NEUTRON_MASS))
    return put(out, 0, NEUTRON, k * ux, k * uy, pz)


@compiled
def excite(s: Stream, kinetic_mev: float, out: Products) -> int:
    """Scatter a neutron inelastically off a level that it can reach, each with the phase space left."""
    available = kinetic_mev * (1.0 - _SHARE)
    total = 0.0
    for level in LEVELS_MEV:
        total += math.sqrt(max(0.0, available - level))
    draw, i = uniform(s) * total, 0
    while i < len(LEVELS_MEV) - 1 and draw > math.sqrt(max(0.0, available - LEVELS_MEV[i])):
        draw -= math.sqrt(max(0.0, available - LEVELS_MEV[i]))
        i += 1
    left = max(0.0, available - LEVELS_MEV[i])
    k = math.sqrt(2.0 * left * NEUTRON_MASS * (1.0 - _SHARE))
    ux, uy, uz = isotropic(s)
    forward = _SHARE * math.sqrt(kinetic_mev * (kinetic_mev + 2.0 * NEUTRON_MASS))
    rows = put(out, 0, NEUTRON, k * ux, k * uy, k * uz + forward)
    for energy in (LEVELS_MEV[0], LEVELS_MEV[i] - LEVELS_MEV[0]):
        if energy > 0.0:
            ux, uy, uz = isotropic(s)
            rows = put(out, rows, PHOTON, energy * ux, energy * uy, energy * uz)
    return rows


@compiled
def capture(s: Stream, kinetic_mev: float, out: Products) -> int:
    """Capture a neutron: photons of 6.1 MeV together."""
    draw, i = uniform(s), 0
    while i < len(_CASCADE_CHANCE) - 1 and draw > _CASCADE_CHANCE[i]:
        draw -= _CASCADE_CHANCE[i]
        i += 1
    scale = (CAPTURE_MEV + kinetic_mev * (1.0 - _SHARE)) / _CASCADES_MEV[i].sum()
    rows = 0
    for energy in _CASCADES_MEV[i]:
        ux, uy, uz = isotropic(s)
        rows = put(out, rows, PHOTON, scale * energy * ux, scale * energy * uy, scale * energy * uz)
    return rows
