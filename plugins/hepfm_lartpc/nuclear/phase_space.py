"""Relativistic kinematics: boosts, turned directions, and bodies spread evenly over phase space.

A momentum is a row (energy, px, py, pz) in MeV.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.streams import Stream, isotropic, uniform

Momenta = NDArray[np.float64]
MOST_BODIES = 12
_TRIES = 2000
"""After as many rejections the last configuration is taken; a dozen bodies need some hundred."""


@compiled
def momentum_mev(mass: float, first: float, second: float) -> float:
    """Of either daughter of a two-body decay, in the mother's rest frame; 0 below the threshold."""
    both, difference = first + second, first - second
    square = (mass - both) * (mass + both) * (mass - difference) * (mass + difference)
    return math.sqrt(square) / (2.0 * mass) if mass > both and square > 0.0 else 0.0


@compiled
def boost(p: Momenta, bx: float, by: float, bz: float) -> None:
    """Change one momentum ``(4,)`` to the frame in which its old rest frame moves with this velocity."""
    b2 = bx * bx + by * by + bz * bz
    gamma = 1.0 / math.sqrt(1.0 - b2)
    along = bx * p[1] + by * p[2] + bz * p[3]
    stretch = gamma * gamma / (gamma + 1.0) * along + gamma * p[0]
    p[0] = gamma * (p[0] + along)
    p[1] += stretch * bx
    p[2] += stretch * by
    p[3] += stretch * bz


@compiled
def tilted(ux: float, uy: float, uz: float, cosine: float, azimuth: float) -> tuple[float, float, float]:
    """The unit vector at this polar angle from ``u`` and at this azimuth around it."""
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    rho = math.sqrt(ux * ux + uy * uy)
    if rho < 1e-9:
        return a, b, cosine if uz > 0.0 else -cosine
    return (
        cosine * ux + (a * ux * uz - b * uy) / rho,
        cosine * uy + (a * uy * uz + b * ux) / rho,
        cosine * uz - a * rho,
    )


@compiled
def n_body(s: Stream, mass: float, masses: NDArray[np.float64], n: int, p: Momenta) -> bool:
    """Momenta ``p (n, 4)`` of ``n`` bodies at rest together, evenly over Lorentz-invariant phase space.

    The masses of the growing groups of bodies are drawn and kept with the weight of their breakup momenta
    (Raubold and Lynch; F. James, "Monte Carlo phase space", CERN 68-15, 1968).

    Returns:
        False where the mass does not suffice; ``p`` is then left as it was.
    """
    total = 0.0
    for i in range(n):
        total += masses[i]
    free = mass - total
    if free <= 0.0 or n < 2:
        return False
    group = np.empty(MOST_BODIES)
    breakup = np.empty(MOST_BODIES)
    most, low, high = 1.0, masses[0], masses[0] + free
    for i in range(1, n):
        high += masses[i]
        most *= momentum_mev(high, low, masses[i])
        low += masses[i]
    group[0], group[n - 1] = masses[0], mass
    for _ in range(_TRIES):
        for i in range(1, n - 1):  # insertion keeps the draws in order
            draw, k = uniform(s), i
            while k > 1 and breakup[k - 1] > draw:
                breakup[k] = breakup[k - 1]
                k -= 1
            breakup[k] = draw
        low = masses[0]
        for i in range(1, n - 1):
            low += masses[i]
            group[i] = low + breakup[i] * free
        weight = 1.0
        for i in range(1, n):
            breakup[i] = momentum_mev(group[i], group[i - 1], masses[i])
            weight *= breakup[i]
        if n == 2 or uniform(s) * most < weight:
            break
    p[0, 0], p[0, 1], p[0, 2], p[0, 3] = masses[0], 0.0, 0.0, 0.0
    for i in range(1, n):
        ux, uy, uz = isotropic(s)
        k = breakup[i]
        energy = math.sqrt(k * k + group[i - 1] * group[i - 1])
        if i == 1:
            p[0, 0], p[0, 1], p[0, 2], p[0, 3] = energy, -k * ux, -k * uy, -k * uz
        else:
            for j in range(i):
                boost(p[j], -k * ux / energy, -k * uy / energy, -k * uz / energy)
        p[i, 0] = math.sqrt(k * k + masses[i] * masses[i])
        p[i, 1], p[i, 2], p[i, 3] = k * ux, k * uy, k * uz
    return True
