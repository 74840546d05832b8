"""Liquid argon: what the simulation takes for granted of it, with sources.

PDG: Particle Data Group, Review of Particle Physics 2024, atomic and nuclear properties of materials.
"""

from __future__ import annotations

DENSITY_G_CM3 = 1.396
"""At the boiling point, 87.3 K (PDG)."""
Z, A = 18, 39.948
MEAN_EXCITATION_EV = 188.0
"""PDG, liquid argon."""
RADIATION_LENGTH_MM = 140.0
"""19.55 g/cm2 (PDG)."""
DENSITY_EFFECT = {"C": 5.2146, "x0": 0.2000, "x1": 3.0000, "a": 0.19559, "k": 3.0000, "delta0": 0.0}
"""Sternheimer's parameters of liquid argon (Groom, Mokhov and Striganov 2001; PDG)."""
ELECTRONS_MM3 = 6.02214076e23 * DENSITY_G_CM3 / A * Z * 1e-3
ATOMS_MM3 = ELECTRONS_MM3 / Z

W_ION_EV = 23.6
"""Energy of an electron-ion pair (Miyajima et al. 1974)."""
EXCITON_RATIO = 0.21
"""Excitons for each ion (Doke et al. 2002)."""
