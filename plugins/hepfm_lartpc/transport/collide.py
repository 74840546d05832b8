"""What befalls a charged particle at one point: collisions, hard scatters, radiation, annihilation."""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.nuclear import interact
from hepfm_lartpc.species import (
    ANNIHILATION,
    BREMSSTRAHLUNG,
    DELTA,
    ELECTRON,
    ELECTRON_MASS,
    MASS_MEV,
    NUCLEAR,
    PHOTON,
)
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.transport.annihilation import annihilated
from hepfm_lartpc.transport.bremsstrahlung import radiated, radiation_cosine
from hepfm_lartpc.transport.frame import turned
from hepfm_lartpc.transport.knock_on import knock_on, knock_on_cosine
from hepfm_lartpc.transport.record import BOUND, Record, born
from hepfm_lartpc.transport.release import release
from hepfm_lartpc.transport.tables import Physics

_TURN = 2.0 * math.pi
State = tuple[float, float, float, float]
"""Kinetic energy in MeV and direction."""
GONE = -1.0
"""Stands for the energy of a particle that is no more."""


@compiled
def knocks_on(
    record: Record, physics: Physics, s: Stream, row: int, species: int, state: State,
    x: float, y: float, z: float, time_ns: float,
) -> State:  # fmt: skip
    """An electron is knocked on; the particle goes on with what is left of its momentum."""
    kinetic, ux, uy, uz = state
    w = knock_on(s, species, kinetic, physics.delta_cut_mev)
    if w == 0.0:
        return state
    mass = MASS_MEV[species]
    vx, vy, vz = turned(ux, uy, uz, knock_on_cosine(kinetic, mass, w), _TURN * uniform(s))
    born(record, ELECTRON, row, DELTA, w, vx, vy, vz, x, y, z, time_ns)
    before, taken = math.sqrt(kinetic * (kinetic + 2.0 * mass)), math.sqrt(w * (w + 2.0 * ELECTRON_MASS))
    px, py, pz = before * ux - taken * vx, before * uy - taken * vy, before * uz - taken * vz
    p = math.sqrt(px * px + py * py + pz * pz)
    if p < 1e-9 * before:
        return kinetic - w, ux, uy, uz
    return kinetic - w, px / p, py / p, pz / p


@compiled
def radiates(
    record: Record, physics: Physics, s: Stream, row: int, state: State,
    x: float, y: float, z: float, time_ns: float,
) -> State:  # fmt: skip
    """An electron radiates a photon; its own direction hardly changes."""
    kinetic, ux, uy, uz = state
    k = radiated(s, kinetic, physics.photon_cut_mev)
    if k == 0.0:
        return state
    vx, vy, vz = turned(ux, uy, uz, radiation_cosine(s, kinetic), _TURN * uniform(s))
    born(record, PHOTON, row, BREMSSTRAHLUNG, k, vx, vy, vz, x, y, z, time_ns)
    return kinetic - k, ux, uy, uz


@compiled
def annihilates(
    record: Record, s: Stream, row: int, state: State, x: float, y: float, z: float, time_ns: float
) -> None:
    """A positron in flight and an electron of the argon become two photons."""
    kinetic, ux, uy, uz = state
    first, cos_first, second, cos_second = annihilated(s, kinetic)
    phi = _TURN * uniform(s)
    record.sums[BOUND] -= ELECTRON_MASS
    vx, vy, vz = turned(ux, uy, uz, cos_first, phi)
    born(record, PHOTON, row, ANNIHILATION, first, vx, vy, vz, x, y, z, time_ns)
    vx, vy, vz = turned(ux, uy, uz, cos_second, phi + math.pi)
    born(record, PHOTON, row, ANNIHILATION, second, vx, vy, vz, x, y, z, time_ns)


@compiled
def meets_nucleus(
    record: Record, s: Stream, products: Floats, row: int, species: int, state: State,
    x: float, y: float, z: float, time_ns: float,
) -> State:  # fmt: skip
    """A hadron interacts with a nucleus. Scattered alone it goes on, else it is `GONE`."""
    kinetic, ux, uy, uz = state
    rows, unseen = interact(s, species, kinetic, products)
    record.sums[BOUND] += unseen
    if rows == 1 and int(products[0, 0]) == species:
        cosine = products[0, 4]
        vx, vy, vz = turned(ux, uy, uz, cosine, math.atan2(products[0, 3], products[0, 2]))
        return products[0, 1], vx, vy, vz
    release(record, products, rows, row, NUCLEAR, ux, uy, uz, x, y, z, time_ns)
    return GONE, ux, uy, uz
