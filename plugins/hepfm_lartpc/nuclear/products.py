"""The table of products that a decay or an interaction fills, and where the energy went.

A row is (species, kinetic energy in MeV, direction); the particle that decays or interacts flies along +z.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.species import (
    ALPHA,
    DEUTERON,
    ELECTRON,
    HELIUM3,
    MASS_MEV,
    NEUTRON,
    NUCLEUS,
    PROTON,
    TRITON,
)

Products = NDArray[np.float64]
"""``(64, 5)``: species, kinetic energy, direction."""

ROWS = 64

_STABLE = (ELECTRON, PROTON, NEUTRON, DEUTERON, ALPHA, TRITON, HELIUM3, NUCLEUS)
COUNTED_MASS_MEV = np.where(np.isin(np.arange(len(MASS_MEV)), _STABLE), 0.0, MASS_MEV)
"""The mass that counts as energy (`hepfm_lartpc.event.Balance`): that of all but stable matter."""


@compiled
def put(out: Products, rows: int, species: int, px: float, py: float, pz: float) -> int:
    """Write a product with this momentum in MeV; returns the number of rows.

    A full table keeps what it has: the energy of what is left out then counts as unseen.
    """
    if rows == ROWS:
        return rows
    mass = MASS_MEV[species]
    p2 = px * px + py * py + pz * pz
    p = math.sqrt(p2)
    out[rows, 0] = species
    out[rows, 1] = p2 / (math.sqrt(p2 + mass * mass) + mass) if p > 0.0 else 0.0
    out[rows, 2] = px / p if p > 0.0 else 0.0
    out[rows, 3] = py / p if p > 0.0 else 0.0
    out[rows, 4] = pz / p if p > 0.0 else 1.0
    return rows + 1


@compiled
def unseen_mev(species: int, kinetic_mev: float, out: Products, rows: int) -> float:
    """Energy of a particle that its products do not have: bound in nuclei, or brought by them (negative)."""
    rest = kinetic_mev + COUNTED_MASS_MEV[species]
    for i in range(rows):
        rest -= out[i, 1] + COUNTED_MASS_MEV[int(out[i, 0])]
    return float(rest)
