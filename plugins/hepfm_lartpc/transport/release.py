"""What a particle leaves behind where it ends: products of decays and of nuclei."""

from __future__ import annotations

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.nuclear import decay, stops
from hepfm_lartpc.species import (
    ANNIHILATION,
    CAPTURE,
    DECAY,
    ELECTRON_MASS,
    KAON_MINUS,
    LIFETIME_NS,
    MUON_MINUS,
    PHOTON,
    PION_MINUS,
)
from hepfm_lartpc.streams import Stream, exponential, isotropic
from hepfm_lartpc.transport.frame import rotated
from hepfm_lartpc.transport.record import BOUND, Record, born
from hepfm_lartpc.transport.tables import Physics


@compiled
def release(
    record: Record, products: Floats, rows: int, parent: int, process: int,
    ux: float, uy: float, uz: float, x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """Products, given in the frame of a particle that flew along ``u``, become particles."""
    for i in range(rows):
        vx, vy, vz = rotated(ux, uy, uz, products[i, 2], products[i, 3], products[i, 4])
        born(record, int(products[i, 0]), parent, process, products[i, 1], vx, vy, vz, x, y, z, time_ns)


@compiled
def decay_in_flight(
    record: Record, s: Stream, products: Floats, row: int, species: int, kinetic: float,
    ux: float, uy: float, uz: float, x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """A particle decays before it stops."""
    rows, unseen = decay(s, species, kinetic, products)
    record.sums[BOUND] += unseen
    release(record, products, rows, row, DECAY, ux, uy, uz, x, y, z, time_ns)


@compiled
def annihilation_at_rest(
    record: Record, s: Stream, row: int, x: float, y: float, z: float, time_ns: float
) -> None:
    """A positron that stopped and an electron of the argon become two photons, back to back."""
    ux, uy, uz = isotropic(s)
    record.sums[BOUND] -= ELECTRON_MASS
    born(record, PHOTON, row, ANNIHILATION, ELECTRON_MASS, ux, uy, uz, x, y, z, time_ns)
    born(record, PHOTON, row, ANNIHILATION, ELECTRON_MASS, -ux, -uy, -uz, x, y, z, time_ns)


@compiled
def come_to_rest(
    record: Record, physics: Physics, s: Stream, products: Floats, row: int, species: int,
    x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """A muon, hadron or nucleus that stopped: it is captured, decays, or stays."""
    captured = physics.muon_capture if species == MUON_MINUS else physics.nuclear
    if species in (MUON_MINUS, PION_MINUS, KAON_MINUS) and not captured:
        rows, unseen = decay(s, species, 0.0, products)
        delay, decays = LIFETIME_NS[species] * exponential(s), True
    else:
        rows, unseen, delay, decays = stops(s, species, products)
    record.sums[BOUND] += unseen
    process = DECAY if decays else CAPTURE
    release(record, products, rows, row, process, 0.0, 0.0, 1.0, x, y, z, time_ns + delay)
