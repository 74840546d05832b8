"""Geant4's tracks and steps as those of the simulation."""

from __future__ import annotations

import numpy as np

from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Array, Balance, Deposits, Floats, Integers, Primaries, Simulated, Tracks
from hepfm_lartpc.geant4 import messages as ms
from hepfm_lartpc.geant4.messages import Shower
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV
from hepfm_lartpc.transport.tables import range_mm

_SPECIES = {int(pdg): species for species, pdg in enumerate(sp.PDG) if pdg}
_NEUTRINOS = (12, -12, 14, -14, 16, -16)
_LIGHTEST_NUCLEUS = 1_000_000_000


def simulated(shower: Shower, primaries: Primaries, centre_mm: Floats) -> Simulated:
    """The event, moved from Geant4's origin to the detector's.

    Energy that Geant4 gives to nuclei, and masses that stay behind, are what is missing: `Balance.bound`
    makes the sum right by definition, so that it tells nothing of Geant4.

    Args:
        shower: What Geant4 made of the primaries.
        primaries: Those that it was given.
        centre_mm: ``(3,)`` of the box.
    """
    species, states, steps = _species(shower.pdg), shower.states, shower.steps
    tracks = Tracks(
        species=species,
        parent=shower.parent,
        process=shower.process,
        interaction=_interaction(shower.parent, primaries.interaction),
        kinetic_mev=states[:, ms.KINETIC],
        direction=states[:, ms.DIRECTION : ms.START],
        start_mm=states[:, ms.START : ms.START_NS] + centre_mm,
        end_mm=states[:, ms.END : ms.END_NS] + centre_mm,
        start_ns=states[:, ms.START_NS],
        end_ns=states[:, ms.END_NS],
        deposited_mev=np.asarray(np.bincount(shower.row, steps[:, ms.DEPOSIT], len(species)), np.float64),
        length_mm=states[:, ms.LENGTH],
    )
    energy, length = steps[:, ms.DEPOSIT], steps[:, ms.STEP_LENGTH]
    deposits = Deposits(
        start_mm=steps[:, ms.BEGIN : ms.STOP] + centre_mm,
        end_mm=steps[:, ms.STOP : ms.STEP_NS] + centre_mm,
        energy_mev=energy,
        length_mm=np.where(length > 0.0, length, range_mm(sp.ELECTRON, np.maximum(energy, 1e-3))),
        time_ns=steps[:, ms.STEP_NS],
        track=shower.row,
    )
    left = shower.left_mev >= 0.0
    carried = np.where(left, shower.left_mev + COUNTED_MASS_MEV[species], 0.0)
    neutrino = species == sp.NEUTRINO
    brought = float((primaries.kinetic_mev + COUNTED_MASS_MEV[primaries.species]).sum())
    deposited, escaped = float(energy.sum()), float(carried[~neutrino].sum())
    neutrinos = float(carried[neutrino].sum())
    return Simulated(
        tracks=tracks,
        deposits=deposits,
        balance=Balance(
            brought=brought,
            deposited=deposited,
            escaped=escaped,
            neutrinos=neutrinos,
            bound=brought - deposited - escaped - neutrinos,
        ),
    )


def _species(pdg: Array) -> Integers:
    known = np.array([_SPECIES.get(int(number), sp.OTHER) for number in pdg], np.int32)
    known[np.isin(pdg, _NEUTRINOS)] = sp.NEUTRINO
    # Geant4 gives a nucleus in an excited state a number of its own.
    known[(known == sp.OTHER) & (pdg > _LIGHTEST_NUCLEUS)] = sp.NUCLEUS
    return known


def _interaction(parent: Integers, of_primary: Integers) -> Integers:
    interaction = np.empty(len(parent), np.int32)
    interaction[: len(of_primary)] = of_primary
    for row in range(len(of_primary), len(parent)):
        interaction[row] = interaction[parent[row]]
    return interaction
