"""Annihilation of positrons in flight into two photons (Heitler 1954, section 27)."""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.argon import ELECTRONS_MM3
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON_MASS
from hepfm_lartpc.streams import Stream, uniform

_ELECTRON_RADIUS_MM = 2.8179403262e-12


def annihilation_rate(kinetic: Floats) -> Floats:
    """Annihilations for each mm of a positron's path, ``(N,)``."""
    gamma = 1.0 + kinetic / ELECTRON_MASS
    root = np.sqrt(gamma**2 - 1.0)
    sigma = (gamma**2 + 4.0 * gamma + 1.0) / root**2 * np.log(gamma + root) - (gamma + 3.0) / root
    return np.asarray(ELECTRONS_MM3 * np.pi * _ELECTRON_RADIUS_MM**2 / (gamma + 1.0) * sigma)


@compiled
def annihilated(s: Stream, kinetic: float) -> tuple[float, float, float, float]:
    """Energy and cosine of both photons, in one plane with the positron and on both sides of it."""
    gamma = 1.0 + kinetic / ELECTRON_MASS
    root = math.sqrt(gamma * gamma - 1.0)
    least = 0.5 * (1.0 - math.sqrt((gamma - 1.0) / (gamma + 1.0)))
    reach = math.log((1.0 - least) / least)
    while True:
        x = least * math.exp(reach * uniform(s))
        if uniform(s) < 1.0 - x + (2.0 * gamma * x - 1.0) / (x * (gamma + 1.0) ** 2):
            break
    first = (x * (gamma + 1.0) - 1.0) / (x * root)
    y = 1.0 - x
    second = (y * (gamma + 1.0) - 1.0) / (y * root)
    total = kinetic + 2.0 * ELECTRON_MASS
    return x * total, max(-1.0, min(1.0, first)), y * total, max(-1.0, min(1.0, second))
