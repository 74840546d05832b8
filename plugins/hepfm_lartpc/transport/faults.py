"""Primaries that cannot be transported."""

from __future__ import annotations

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats, Integers
from hepfm_lartpc.species import FOLLOWED
from hepfm_lartpc.transport.grid import HIGHEST_MEV

FAULTS = (
    "is of an unknown species",
    f"has a kinetic energy outside 0 to {HIGHEST_MEV:g} MeV",
    "has a direction that is no unit vector",
    "starts outside the argon",
)


@compiled
def first_fault(
    species: Integers, kinetic: Floats, direction: Floats, position: Floats, box: Floats
) -> tuple[int, int]:
    """The first primary with a fault, and which of `FAULTS`; -1 where all are sound. A NaN is a fault."""
    for p in range(len(species)):
        ux, uy, uz = direction[p, 0], direction[p, 1], direction[p, 2]
        if not 0 <= species[p] < FOLLOWED:
            return p, 0
        if not 0.0 <= kinetic[p] <= HIGHEST_MEV:
            return p, 1
        if not abs(ux * ux + uy * uy + uz * uz - 1.0) < 1e-6:
            return p, 2
        for axis in range(3):
            if not box[0, axis] <= position[p, axis] <= box[1, axis]:
                return p, 3
    return -1, 0
