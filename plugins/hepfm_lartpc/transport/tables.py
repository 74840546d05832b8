"""All that a step of a charged particle looks up, on one grid of kinetic energies."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Array, Floats
from hepfm_lartpc.nuclear import hadron_length_mm
from hepfm_lartpc.transport.annihilation import annihilation_rate
from hepfm_lartpc.transport.attenuation import photon_table
from hepfm_lartpc.transport.bremsstrahlung import radiation
from hepfm_lartpc.transport.config import TransportConfig
from hepfm_lartpc.transport.grid import GRID_MEV, PER_LOG
from hepfm_lartpc.transport.knock_on import hard_collisions, largest_knock_on
from hepfm_lartpc.transport.scattering import scattering
from hepfm_lartpc.transport.stopping import (
    XI_MEV_MM,
    effective_charge,
    electron_loss,
    heavy_loss,
    muon_radiation,
    speed,
)

SMOOTH, SOFT, SPREAD, SOFT_LEAST, LOSS, RANGE, SLOWNESS = 0, 1, 2, 3, 4, 5, 6
DEFLECTION, MU_HARD, CHI_A2 = 7, 8, 9
HARD, DELTA, SCATTER, RADIATE, NUCLEAR, DECAY = 10, 11, 12, 13, 14, 15
"""Columns, all for each mm. `SMOOTH`: loss in MeV that does not fluctuate but for the variance `SPREAD`;
`SOFT`: collisions that take between `SOFT_MEV` and the cut, `SOFT_LEAST` being one over the most that they
can take; `LOSS`: mean of both. `RANGE`: mm. `SLOWNESS`: ns. `DEFLECTION` to `CHI_A2`: see `scattering`.
`HARD`: everything that changes the particle at one point, the sum of those after it and of annihilation."""
_COLUMNS = 16

SOFT_MEV = 0.02
"""Collisions that take less are so many that their sum is given its mean and variance alone."""
_C_MM_NS = 299.792458

KINDS = (
    sp.ELECTRON, sp.POSITRON, sp.MUON_MINUS, sp.PION_MINUS, sp.PION_PLUS, sp.PROTON, sp.KAON_PLUS,
    sp.KAON_MINUS, sp.DEUTERON, sp.ALPHA,
)  # fmt: skip
KIND_OF: Array = np.full(len(sp.NAMES), -1)
"""Which of the tables a species uses; -1 for neutral ones."""
KIND_OF[list(KINDS)] = np.arange(len(KINDS))
KIND_OF[sp.MUON_PLUS] = KIND_OF[sp.MUON_MINUS]


class Physics(NamedTuple):
    """What the compiled transport knows, without the event.

    Attributes:
        charged: ``(kinds, energies, columns)``, columns as above.
        photons: ``(energies, columns)`` of `attenuation.photon_table`.
        box_mm: ``(2, 3)`` lower and upper corner of the argon.
        delta_cut_mev: As in `TransportConfig`, and so are the others.
        photon_cut_mev: Least energy of a radiated photon.
        stop_mev: Energy below which an electron stays where it is.
        max_step_mm: Longest step.
        nuclear: Whether hadrons interact.
        muon_capture: Whether negative muons at rest may be captured.
    """

    charged: Floats
    photons: Floats
    box_mm: Floats
    delta_cut_mev: float
    photon_cut_mev: float
    stop_mev: float
    max_step_mm: float
    nuclear: bool
    muon_capture: bool


def physics(config: TransportConfig, box_mm: Floats) -> Physics:
    """The tables for a configuration and a box of liquid argon."""
    charged = np.stack([charged_table(species, config) for species in KINDS])
    return Physics(
        charged=charged,
        photons=photon_table(),
        box_mm=box_mm,
        delta_cut_mev=config.delta_cut_mev,
        photon_cut_mev=config.photon_cut_mev,
        stop_mev=config.stop_mev,
        max_step_mm=config.max_step_mm,
        nuclear=config.nuclear,
        muon_capture=config.muon_capture,
    )


def charged_table(species: int, config: TransportConfig) -> Floats:
    """``(len(GRID_MEV), columns)`` of one species."""
    mass, charge = float(sp.MASS_MEV[species]), int(sp.CHARGE[species])
    beta, _, momentum = speed(GRID_MEV, mass)
    strength = XI_MEV_MM * (effective_charge(beta, charge) / beta) ** 2
    largest = largest_knock_on(species, GRID_MEV)
    top = np.clip(largest, SOFT_MEV, config.delta_cut_mev)
    table = np.zeros((len(GRID_MEV), _COLUMNS))
    table[:, SOFT] = strength * (1.0 / SOFT_MEV - 1.0 / top)
    table[:, SOFT_LEAST] = 1.0 / top
    table[:, SPREAD] = strength * np.minimum(largest, SOFT_MEV)
    table[:, DELTA], hard = hard_collisions(species, GRID_MEV, config.delta_cut_mev, strength)
    total, unseen = _mean_loss(species, table, config)
    table[:, LOSS] = total - hard - unseen
    table[:, SMOOTH] = table[:, LOSS] - strength * np.log(top / SOFT_MEV)
    table[:, RANGE] = _range(total)
    table[:, SLOWNESS] = 1.0 / (beta * _C_MM_NS)
    table[:, DEFLECTION], table[:, SCATTER], table[:, MU_HARD], table[:, CHI_A2] = scattering(
        GRID_MEV, mass, charge, table[:, RANGE], config.delta_cut_mev
    )
    if config.nuclear and species not in {sp.ELECTRON, sp.POSITRON, sp.MUON_MINUS}:
        table[:, NUCLEAR] = [1.0 / hadron_length_mm(species, float(kinetic)) for kinetic in GRID_MEV]
    table[:, DECAY] = mass / (momentum * _C_MM_NS * sp.LIFETIME_NS[species])
    table[:, HARD] += table[:, DELTA : DECAY + 1].sum(axis=1)
    return table


def _mean_loss(species: int, table: Floats, config: TransportConfig) -> tuple[Floats, Floats]:
    """Mean loss of all kinds, and the part of it that photons above the cut take; fills what radiates."""
    if species in {sp.ELECTRON, sp.POSITRON}:
        table[:, RADIATE], soft, radiative = radiation(GRID_MEV, config.photon_cut_mev)
        if species == sp.POSITRON:
            table[:, HARD] = annihilation_rate(GRID_MEV)
        return electron_loss(GRID_MEV, positron=species == sp.POSITRON) + radiative, radiative - soft
    total = heavy_loss(GRID_MEV, float(sp.MASS_MEV[species]), int(sp.CHARGE[species]))
    if species == sp.MUON_MINUS:
        total = total + muon_radiation(GRID_MEV)
    return total, np.zeros_like(total)


def _range(loss: Floats) -> Floats:
    """Range in the continuous-slowing-down approximation; below the grid the loss goes with T**0.45."""
    slope = GRID_MEV / loss
    first = slope[0] / 0.55
    return np.asarray(first + np.concatenate([[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]))]) / PER_LOG)


def range_mm(species: int, kinetic_mev: Floats) -> Floats:
    """Mean range of a charged particle in liquid argon, in the continuous-slowing-down approximation."""
    kind = sp.MUON_MINUS if species == sp.MUON_PLUS else species
    return np.asarray(np.exp(np.interp(np.log(kinetic_mev), np.log(GRID_MEV), _log_ranges(kind))))


@cache
def _log_ranges(species: int) -> Floats:
    return np.asarray(np.log(charged_table(species, TransportConfig(nuclear=False))[:, RANGE]))
