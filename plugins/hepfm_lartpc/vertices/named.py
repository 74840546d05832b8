"""Particles by name or PDG number, and the energies that the simulation can follow."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from hepfm.errors import did_you_mean
from hepfm_lartpc.species import NAMES, NEUTRINO, PDG

LEAST_MEV, MOST_MEV = 1e-3, 1e5
"""Range of the energy tables: 1 keV to 100 GeV."""

_ALIASES = {
    "gamma": "photon", "electron": "e-", "positron": "e+", "muon": "mu-", "p": "proton", "n": "neutron",
    "d": "deuteron", "4He": "alpha",
}  # fmt: skip
SPECIES_OF_PDG = {int(pdg): species for species, pdg in enumerate(PDG[:NEUTRINO])}


def species_of(particle: str | int) -> int:
    """Number of a species that can be followed, from its name, an alias (``gamma``, ``p``) or its PDG number.

    Raises:
        ValueError: There is none; says which name was meant.
    """
    if isinstance(particle, int) or particle.lstrip("+-").isdigit():
        species = SPECIES_OF_PDG.get(int(particle))
        if species is None:
            raise ValueError(f"no particle with PDG number {particle} can be followed")
        return species
    name = _ALIASES.get(particle, particle)
    followed = NAMES[:NEUTRINO]
    if name not in followed:
        raise ValueError(f"no particle '{particle}' can be followed; {did_you_mean(particle, followed)}")
    return followed.index(name)


def _name(particle: object) -> object:
    return NAMES[species_of(particle)] if isinstance(particle, str | int) else particle


def _energy(kinetic_mev: float) -> float:
    if not LEAST_MEV <= kinetic_mev <= MOST_MEV:
        raise ValueError(
            f"{kinetic_mev:g} MeV lies outside the energy tables, {LEAST_MEV:g} to {MOST_MEV:g} MeV"
        )
    return kinetic_mev


def _ordered(low_high: tuple[float, float]) -> tuple[float, float]:
    if low_high[0] > low_high[1]:
        raise ValueError(f"the range {low_high} begins above its end")
    return low_high


Name = Annotated[str, BeforeValidator(_name)]
"""A particle's name of `hepfm_lartpc.species.NAMES`; aliases and PDG numbers are turned into it."""
Energy = Annotated[float, AfterValidator(_energy)]
EnergyRange = Annotated[tuple[Energy, Energy], AfterValidator(_ordered)]
Count = Annotated[int, Field(ge=0, le=1000)]
CountRange = Annotated[tuple[Count, Count], AfterValidator(_ordered)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Vector = tuple[Finite, Finite, Finite]


def unit(vector: Vector) -> tuple[float, float, float]:
    """The vector at length 1; a ValueError for one without a direction."""
    length = math.hypot(*vector)
    if length == 0.0:
        raise ValueError("a direction needs a length")
    return vector[0] / length, vector[1] / length, vector[2] / length
