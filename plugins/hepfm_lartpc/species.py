"""The particles, and the processes that make them.

Masses and lifetimes: Particle Data Group, Review of Particle Physics 2024.
"""

from __future__ import annotations

import math

import numpy as np

PHOTON, ELECTRON, POSITRON, MUON_MINUS, MUON_PLUS = 0, 1, 2, 3, 4
PION_MINUS, PION_PLUS, PION_ZERO, PROTON, NEUTRON = 5, 6, 7, 8, 9
KAON_PLUS, KAON_MINUS, DEUTERON, ALPHA, NEUTRINO = 10, 11, 12, 13, 14
FOLLOWED = 15
"""The species below it are those that our own transport knows. Geant4 makes those after it, too."""
TRITON, HELIUM3, NUCLEUS, OTHER = 20, 21, 22, 23

NAMES = (
    "photon", "e-", "e+", "mu-", "mu+", "pi-", "pi+", "pi0", "proton", "neutron",
    "K+", "K-", "deuteron", "alpha", "neutrino",
    "K0L", "K0S", "Lambda", "Sigma+", "Sigma-", "triton", "He3", "nucleus", "other",
)  # fmt: skip
PDG = np.array([
    22, 11, -11, 13, -13, -211, 211, 111, 2212, 2112, 321, -321, 1000010020, 1000020040, 12,
    130, 310, 3122, 3222, 3112, 1000010030, 1000020030, 1000180400, 0,
])  # fmt: skip
"""A neutrino of any flavour counts as that of the electron: it leaves unseen. A heavy nucleus counts as
argon 40, and what has no place here has no number."""
CHARGE = np.array([0, -1, 1, -1, 1, -1, 1, 0, 1, 0, 1, -1, 1, 2, 0, 0, 0, 0, 1, -1, 1, 2, 18, 0])

ELECTRON_MASS, MUON_MASS, PION_MASS = 0.51099895, 105.6583755, 139.57039
PION_ZERO_MASS, PROTON_MASS, NEUTRON_MASS = 134.9768, 938.27208816, 939.56542052
MASS_MEV = np.array([
    0.0, ELECTRON_MASS, ELECTRON_MASS, MUON_MASS, MUON_MASS, PION_MASS, PION_MASS, PION_ZERO_MASS,
    PROTON_MASS, NEUTRON_MASS, 493.677, 493.677, 1875.61294257, 3727.3794066, 0.0,
    497.611, 497.611, 1115.683, 1189.37, 1197.449, 2808.92113668, 2808.39161112, 37215.5259, 0.0,
])  # fmt: skip
LIFETIME_NS = np.array([
    math.inf, math.inf, math.inf, 2196.9811, 2196.9811, 26.033, 26.033, 8.43e-8,
    math.inf, math.inf, 12.38, 12.38, math.inf, math.inf, math.inf,
    51.16, 0.08954, 0.2617, 0.08018, 0.1479, math.inf, math.inf, math.inf, math.inf,
])  # fmt: skip
"""Mean life at rest and in vacuum. Neutrons outlive an event."""

PRIMARY, DELTA, BREMSSTRAHLUNG, PAIR, COMPTON, PHOTOELECTRIC, ANNIHILATION = 0, 1, 2, 3, 4, 5, 6
DECAY, CAPTURE, NUCLEAR = 7, 8, 9
PROCESSES = (
    "primary", "delta", "bremsstrahlung", "pair", "compton", "photoelectric", "annihilation",
    "decay", "capture", "nuclear",
)  # fmt: skip
"""How a particle was made."""
