"""Four-vectors in the two forms that files have: pt, eta, phi, mass; and px, py, pz, energy.

All in float64, whatever the file has; c = 1. Rounding in a file makes light particles spacelike: their mass
is 0. A particle along the beam has no pseudorapidity: it gets `ETA_BEAM` with the sign of pz.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ETA_BEAM = 20.0
"""Largest pseudorapidity that is written; at 6.8 TeV, a transverse momentum of 28 keV."""


def pt_of(px: Array, py: Array) -> Array:
    """Transverse momentum."""
    return np.hypot(_f8(px), _f8(py))


def phi_of(px: Array, py: Array) -> Array:
    """Azimuth in [-pi, pi]."""
    return np.arctan2(_f8(py), _f8(px))


def eta_of(px: Array, py: Array, pz: Array) -> Array:
    """Pseudorapidity, arcsinh(pz / pt), within ``+-ETA_BEAM``; 0 for a particle at rest."""
    pt, pz = pt_of(px, py), _f8(pz)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(pz / pt)
    eta = np.where((pt == 0) & (pz == 0), 0.0, eta)
    return np.clip(eta, -ETA_BEAM, ETA_BEAM)


def mass_of(px: Array, py: Array, pz: Array, energy: Array) -> Array:
    """Invariant mass, sqrt((E - p)(E + p)); 0 where that is negative."""
    p, energy = np.hypot(pt_of(px, py), _f8(pz)), _f8(energy)
    squared = (energy - p) * (energy + p)
    return np.sqrt(np.where(squared < 0, 0.0, squared))


def momentum_of(pt: Array, eta: Array, phi: Array) -> list[Array]:
    """px, py, pz."""
    pt, phi = _f8(pt), _f8(phi)
    return [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(_f8(eta))]


def energy_of(px: Array, py: Array, pz: Array, mass: Array) -> Array:
    """Energy, sqrt(p^2 + m^2)."""
    return np.hypot(np.hypot(pt_of(px, py), _f8(pz)), _f8(mass))


def _f8(numbers: Array) -> Array:
    return np.asarray(numbers, np.float64)
