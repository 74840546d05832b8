"""Elastic scattering on argon: a mixed simulation after Fernandez-Varea et al., NIM B 73 (1993) 447.

The cross section is Rutherford's, screened as by Moliere (Bethe, Phys. Rev. 89 (1953) 1256), in
``mu = 2 (1 - cos theta)``: ``chi_c**2 / (mu + chi_a**2)**2`` for each mm. Deflections below ``mu_hard`` are
many and taken together: what adds up over a path, and so does not depend on the steps, is the mean of
``1 - cos theta``. Those above are drawn one by one, with the size of the nucleus and Mott's spin factor.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.argon import ATOMS_MM3, Z
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import ELECTRON_MASS
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.transport.frame import rotated
from hepfm_lartpc.transport.stopping import effective_charge, speed

_COULOMB_MEV_MM = 1.43996448e-12  # alpha h-bar c
_FINE_STRUCTURE = 1.0 / 137.035999
_HARD_MM = 30.0
_HARD_OF_RANGE = 0.5
_NUCLEUS_FM = 3.43
"""Root mean square charge radius of argon 40 (Angeli and Marinova 2013)."""
_SIZE_PER_MEV2 = (_NUCLEUS_FM / 197.3269804) ** 2 / 3.0


def scattering(
    kinetic: Floats, mass: float, charge: int, range_mm: Floats, cut_mev: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Tables of the scattering of one kind of particle.

    Args:
        kinetic: ``(N,)`` in MeV.
        mass: In MeV.
        charge: In units of the proton's.
        range_mm: ``(N,)``; slow particles meet a hard scatter each half of their range.
        cut_mev: Collisions with electrons above it deflect by themselves.

    Returns:
        The mean of ``1 - cos theta`` by soft deflections for each mm, hard ones for each mm, ``mu_hard`` and
        ``chi_a**2``, each ``(N,)``.
    """
    beta, _, momentum = speed(kinetic, mass)
    z = effective_charge(beta, charge)
    # chi_c**2 for each mm, of the nucleus alone
    chi_c2 = 4.0 * np.pi * ATOMS_MM3 * (z * Z * _COULOMB_MEV_MM / (momentum * beta)) ** 2
    born = _FINE_STRUCTURE * ELECTRON_MASS * Z ** (1.0 / 3.0) / (0.885 * momentum)
    chi_a2 = born**2 * (1.13 + 3.76 * (_FINE_STRUCTURE * z * Z / beta) ** 2)
    wanted = 1.0 / _HARD_MM + _HARD_OF_RANGE / range_mm
    mu_hard = np.maximum(1.0 / (wanted / chi_c2 + 1.0 / (4.0 + chi_a2)) - chi_a2, 3.0 * chi_a2)
    mu_hard = np.minimum(mu_hard, 3.99)
    hard = chi_c2 * (1.0 / (mu_hard + chi_a2) - 1.0 / (4.0 + chi_a2))
    mu_electrons = np.minimum(mu_hard, 2.0 * ELECTRON_MASS * cut_mev / momentum**2)
    soft = chi_c2 * (_mean(mu_hard, chi_a2) + _mean(mu_electrons, chi_a2) / Z)
    return 0.5 * soft, hard, mu_hard, chi_a2


def _mean(upper: Floats, chi_a2: Floats) -> Floats:
    return np.log1p(upper / chi_a2) - upper / (upper + chi_a2)


@compiled
def deflected(s: Stream, ux: float, uy: float, uz: float, mean: float) -> tuple[float, float, float]:
    """The direction ``u`` after soft deflections, for the path times the mean of ``1 - cos theta`` per mm.

    For small angles a Gaussian in space; at large ones the mean of the cosine is that of Lewis,
    ``exp(-mean)`` (Phys. Rev. 78 (1950) 526), within 2 % for means up to 0.46, which steps of electrons
    keep to. A point in a disc gives the azimuth, and by its radius the angle.
    """
    scale = -math.expm1(-mean) if mean > 1e-3 else mean
    while True:
        a, b = 2.0 * uniform(s) - 1.0, 2.0 * uniform(s) - 1.0
        square = a * a + b * b
        if 0.0 < square < 1.0:
            break
    drop = -scale * math.log(square)
    if drop > 2.0:
        drop = 2.0 * uniform(s)
    across = math.sqrt(drop * (2.0 - drop) / square)
    return rotated(ux, uy, uz, a * across, b * across, 1.0 - drop)


@compiled
def hard_cosine(s: Stream, mu_hard: float, chi_a2: float, momentum: float, beta: float) -> float:
    """Cosine of one hard deflection; 1, no deflection, where the nucleus' size or the spin forbids it."""
    high, low = 1.0 / (mu_hard + chi_a2), 1.0 / (4.0 + chi_a2)
    mu = 1.0 / (high - uniform(s) * (high - low)) - chi_a2
    form = math.exp(-_SIZE_PER_MEV2 * momentum * momentum * mu) * (1.0 - 0.25 * beta * beta * mu)
    return 1.0 - 0.5 * mu if uniform(s) < form else 1.0
