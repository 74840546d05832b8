"""Compiled draws of bombs and cosmic muons."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import MUON_MINUS, MUON_PLUS
from hepfm_lartpc.streams import Stream, isotropic, poisson, uniform

COLUMNS = 10
"""Of a primary: species, kinetic energy, direction (3), position (3), time, interaction."""


@compiled
def integer(s: Stream, low: int, high: int) -> int:
    """Evenly from ``low`` to ``high``, both included."""
    return min(low + int((high - low + 1) * uniform(s)), high)


@compiled
def point(s: Stream, low_mm: Floats, high_mm: Floats, region: float) -> tuple[float, float, float]:
    """Evenly within this share of each side around the middle of the box."""
    x = 0.5 * (low_mm[0] + high_mm[0] + region * (high_mm[0] - low_mm[0]) * (2.0 * uniform(s) - 1.0))
    y = 0.5 * (low_mm[1] + high_mm[1] + region * (high_mm[1] - low_mm[1]) * (2.0 * uniform(s) - 1.0))
    z = 0.5 * (low_mm[2] + high_mm[2] + region * (high_mm[2] - low_mm[2]) * (2.0 * uniform(s) - 1.0))
    return x, y, z


@compiled
def bombs(
    s: Stream, low_mm: Floats, high_mm: Floats, counts: NDArray[np.int64], species: NDArray[np.int64],
    chances: Floats, energies: Floats, region: float, first: int,
) -> Floats:  # fmt: skip
    """Primaries ``(P, 10)`` of particle bombs.

    Args:
        s: Random numbers.
        low_mm: Lower corner of the volume.
        high_mm: Upper corner.
        counts: Least and largest number of interactions, then of particles ``(4,)``.
        species: ``(S,)`` numbers of `hepfm_lartpc.species` to draw from.
        chances: ``(S,)`` their cumulative chances.
        energies: ``(S, 2)`` their least and largest kinetic energies.
        region: Share of each side in which interactions lie.
        first: Number of the first interaction.
    """
    interactions = integer(s, counts[0], counts[1])
    rows = np.empty((interactions * counts[3], COLUMNS))
    n = 0
    for interaction in range(interactions):
        x, y, z = point(s, low_mm, high_mm, region)
        for _ in range(integer(s, counts[2], counts[3])):
            draw, i = uniform(s), 0
            while draw > chances[i] and i < len(species) - 1:
                i += 1
            low, high = energies[i]
            rows[n, 0], rows[n, 1] = species[i], low + (high - low) * uniform(s)
            rows[n, 2], rows[n, 3], rows[n, 4] = isotropic(s)
            rows[n, 5], rows[n, 6], rows[n, 7] = x, y, z
            rows[n, 8], rows[n, 9] = 0.0, first + interaction
            n += 1
    return rows[:n]


@compiled
def cosmics(
    s: Stream, low_mm: Floats, high_mm: Floats, mean: float, energy_mev: tuple[float, float],
    least_cos2: float, plus_share: float, window_ns: tuple[float, float], first: int,
) -> Floats:  # fmt: skip
    """Primaries ``(P, 10)``: muons that enter through the top face, each an interaction of its own."""
    n = poisson(s, mean)
    rows = np.empty((n, COLUMNS))
    for i in range(n):
        rows[i, 0] = MUON_PLUS if uniform(s) < plus_share else MUON_MINUS
        rows[i, 1] = energy_mev[0] + (energy_mev[1] - energy_mev[0]) * uniform(s)
        cosine = math.sqrt(least_cos2 + (1.0 - least_cos2) * uniform(s))
        azimuth, sine = 2.0 * math.pi * uniform(s), math.sqrt(1.0 - cosine * cosine)
        rows[i, 2], rows[i, 3], rows[i, 4] = sine * math.cos(azimuth), -cosine, sine * math.sin(azimuth)
        rows[i, 5] = low_mm[0] + (high_mm[0] - low_mm[0]) * uniform(s)
        rows[i, 6] = high_mm[1]
        rows[i, 7] = low_mm[2] + (high_mm[2] - low_mm[2]) * uniform(s)
        rows[i, 8] = window_ns[0] + (window_ns[1] - window_ns[0]) * uniform(s)
        rows[i, 9] = first + i
    return rows
