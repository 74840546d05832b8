"""What is said between a simulation and the process that runs Geant4 for it."""

from __future__ import annotations

from typing import NamedTuple

from hepfm_lartpc.event import Array, Floats, Integers


class Setup(NamedTuple):
    """Said once. Lengths in mm; the box of argon is centred on the origin.

    Attributes:
        half_mm: Half of each side of the box.
        max_step_mm: Longest step of a charged particle.
        cut_mm: Production cut.
        physics_list: A reference list; None for electromagnetic physics and decays.
        muon_capture: Whether negative muons at rest may be captured.
        density_g_cm3: Of the argon.
        excitation_ev: Its mean excitation energy.
    """

    half_mm: tuple[float, float, float]
    max_step_mm: float
    cut_mm: float
    physics_list: str | None
    muon_capture: bool
    density_g_cm3: float
    excitation_ev: float


class Shower(NamedTuple):
    """What Geant4 made of an event: T tracks in the order in which it followed them, S steps with a deposit.

    Attributes:
        pdg: ``(T,)``.
        parent: ``(T,)`` row of the parent, -1 for a primary.
        process: ``(T,)`` of `hepfm_lartpc.species.PROCESSES`.
        states: ``(T, 13)`` kinetic energy, direction, position and time when it was made, then position,
            time and length of its path when it ended.
        left_mev: ``(T,)`` kinetic energy with which it left the box; negative for one that did not.
        row: ``(S,)`` the step's track.
        steps: ``(S, 9)`` energy deposit, length, begin, end, time at its begin.
    """

    pdg: Array
    parent: Integers
    process: Integers
    states: Floats
    left_mev: Floats
    row: Integers
    steps: Floats


KINETIC, DIRECTION, START, START_NS, END, END_NS, LENGTH = 0, 1, 4, 7, 8, 11, 12
"""First columns of `Shower.states`."""
DEPOSIT, STEP_LENGTH, BEGIN, STOP, STEP_NS = 0, 1, 2, 5, 8
"""First columns of `Shower.steps`."""
