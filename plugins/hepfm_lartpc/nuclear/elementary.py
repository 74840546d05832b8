"""Cross sections of pions, kaons and nucleons on single nucleons, as the cascade in the nucleus needs them.

Simple forms within about 15 % of the data in the range that matters, 40 MeV to 5 GeV.
"""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.phase_space import momentum_mev
from hepfm_lartpc.species import PION_MASS, PROTON_MASS

PRODUCTION_MEV = 290.0
"""Kinetic energy in the laboratory above which two nucleons make a pion."""
_PRODUCTION_MB = 28.0
_DELTA_MEV, _DELTA_WIDTH_MEV, _DELTA_MB, _DELTA_P_MEV = 1215.0, 110.0, 326.5, 180.0


@compiled
def nucleon_elastic_mb(kinetic_mev: float, alike: bool) -> float:
    """Elastic cross section of two nucleons, alike or not (Metropolis et al., Phys. Rev. 110 (1958) 185).

    Below 40 MeV, where Pauli's principle forbids most scatters in a nucleus, it is held at its value there.
    Above 1 GeV it falls towards the 10 mb of 10 GeV (PDG).
    """
    t = max(kinetic_mev, 40.0)
    gamma = 1.0 + t / PROTON_MASS
    beta = math.sqrt(1.0 - 1.0 / (gamma * gamma))
    b2, b1, b0 = (10.63, 29.92, 42.9) if alike else (34.10, 82.2, 82.2)
    low = b2 / (beta * beta) - b1 / beta + b0
    return low / (1.0 + max(0.0, t - 1000.0) / 7000.0)


@compiled
def nucleon_production_mb(kinetic_mev: float, alike: bool) -> float:
    """Cross section of two nucleons to make pions: a rise to 28 mb fitted to the inelastic pp data (PDG).

    Unlike nucleons make half of it near the threshold, where their isospin-0 half makes none.
    """
    above = kinetic_mev - PRODUCTION_MEV
    if above <= 0.0:
        return 0.0
    value = _PRODUCTION_MB * (1.0 - math.exp(-((above / 350.0) ** 1.5)))
    return value if alike else value * (0.9 - 0.4 * math.exp(-above / 1000.0))


@compiled
def delta_mb(kinetic_mev: float) -> float:
    """Cross section of pi+ p through the Delta resonance: 200 mb at its peak.

    A Breit-Wigner form with the centrifugal factor of a P wave, as intranuclear cascades use it
    (Cugnon et al., Nucl. Phys. A 352 (1981) 505).
    """
    mass = math.sqrt((PION_MASS + PROTON_MASS) ** 2 + 2.0 * PROTON_MASS * kinetic_mev)
    q = momentum_mev(mass, PION_MASS, PROTON_MASS)
    off = 2.0 * (mass - _DELTA_MEV) / _DELTA_WIDTH_MEV
    return _DELTA_MB / (1.0 + off * off) * q**3 / (q**3 + _DELTA_P_MEV**3)


@compiled
def pion_rest_mb(kinetic_mev: float) -> float:
    """Cross section of pions on nucleons beside the Delta: S waves, and the higher resonances above 0.5 GeV.

    The mean over charges of the totals of the PDG less the Delta's tail.
    """
    return 4.0 + 24.0 / (1.0 + math.exp(-(kinetic_mev - 500.0) / 80.0))


@compiled
def pion_production_share(kinetic_mev: float) -> float:
    """Share of `pion_rest_mb` that makes a further pion: from 200 MeV on, towards three quarters."""
    return 0.75 * (1.0 - math.exp(-max(0.0, kinetic_mev - 200.0) / 300.0))


@compiled
def pair_absorption_mb(kinetic_mev: float) -> float:
    """Absorption of a pion by a pair of nucleons, for each nucleon at the central density.

    The Delta's share falls faster above the resonance than scattering does, as pi d to p p shows (Ritchie,
    Phys. Rev. C 28 (1983) 926); the rest is the S wave that also absorbs pions at rest. Both sizes are set so
    that near the resonance about two of five reacting pions vanish (Ashery et al., Phys. Rev. C 23, 1981).
    """
    resonant = delta_mb(kinetic_mev) / (1.0 + (kinetic_mev / 220.0) ** 4)
    return 0.8 * resonant + 7.0 / (1.0 + kinetic_mev / 80.0)
