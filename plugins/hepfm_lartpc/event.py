"""What stands between the steps of the simulation: primaries, then tracks and deposits.

Positions are in mm from the detector's centre, energies in MeV, times in ns from the event's trigger.
Legend: P primaries, T tracks, D deposits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Primaries:
    """The particles that an event begins with.

    Attributes:
        species: ``(P,)`` numbers of `hepfm_lartpc.species`.
        kinetic_mev: ``(P,)``.
        direction: ``(P, 3)`` unit vectors.
        position_mm: ``(P, 3)``.
        time_ns: ``(P,)``.
        interaction: ``(P,)``, from 0; particles of one vertex share it.
    """

    species: Integers
    kinetic_mev: Floats
    direction: Floats
    position_mm: Floats
    time_ns: Floats
    interaction: Integers

    def __len__(self) -> int:
        return len(self.species)


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """All particles that were followed, the primaries first, a parent before its children.

    Attributes:
        species: ``(T,)``.
        parent: ``(T,)`` row of the parent; -1 for a primary.
        process: ``(T,)`` how it was made, of `hepfm_lartpc.species.PROCESSES`.
        interaction: ``(T,)`` of its primary.
        kinetic_mev: ``(T,)`` when it was made.
        direction: ``(T, 3)`` when it was made.
        start_mm: ``(T, 3)``.
        end_mm: ``(T, 3)`` where it stopped, ended or left the volume.
        start_ns: ``(T,)``.
        end_ns: ``(T,)``.
        deposited_mev: ``(T,)`` by itself, without its children.
        length_mm: ``(T,)`` of its path.
    """

    species: Integers
    parent: Integers
    process: Integers
    interaction: Integers
    kinetic_mev: Floats
    direction: Floats
    start_mm: Floats
    end_mm: Floats
    start_ns: Floats
    end_ns: Floats
    deposited_mev: Floats
    length_mm: Floats

    def __len__(self) -> int:
        return len(self.species)


@dataclass(frozen=True, kw_only=True)
class Deposits:
    """Energy that was left along short straight pieces of tracks; a piece may be a point.

    Attributes:
        start_mm: ``(D, 3)``.
        end_mm: ``(D, 3)``.
        energy_mev: ``(D,)``.
        length_mm: ``(D,)`` of the path on which it was left, for the density of ionisation: at least that
            of the straight piece; that of a point is the range of the electron that stopped in it.
        time_ns: ``(D,)`` at the start.
        track: ``(D,)`` row of `Tracks`.
    """

    start_mm: Floats
    end_mm: Floats
    energy_mev: Floats
    length_mm: Floats
    time_ns: Floats
    track: Integers

    def __len__(self) -> int:
        return len(self.energy_mev)


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Where the energy of an event went, in MeV; ``brought = deposited + escaped + neutrinos + bound``.

    Attributes:
        brought: Kinetic energy of the primaries, and the mass of those that are not stable matter (all but
            electrons, protons, neutrons and nuclei).
        deposited: In the volume: all of `Deposits`.
        escaped: Kinetic energy and mass, as for ``brought``, of what left the volume.
        neutrinos: With neutrinos.
        bound: Into nuclei and masses that stay behind: binding energy, recoils that are not seen, the mass of
            electrons that were made; negative where matter that was there vanished, as a positron's partner.
    """

    brought: float
    deposited: float
    escaped: float
    neutrinos: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """An event after transport."""

    tracks: Tracks
    deposits: Deposits
    balance: Balance


Array = NDArray[Any]
