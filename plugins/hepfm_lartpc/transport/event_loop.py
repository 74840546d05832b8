"""One event from its primaries to the last electron."""

from __future__ import annotations

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats, Integers
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV
from hepfm_lartpc.species import ELECTRON, NEUTRINO, NEUTRON, PHOTON, PION_ZERO, PRIMARY
from hepfm_lartpc.streams import Stream
from hepfm_lartpc.transport import record as rc
from hepfm_lartpc.transport.charged import follow_charged, stays
from hepfm_lartpc.transport.neutral import follow_neutral
from hepfm_lartpc.transport.photon import follow_photon
from hepfm_lartpc.transport.tables import KIND_OF, Physics


@compiled
def simulate(
    record: rc.Record,
    physics: Physics,
    s: Stream,
    species: Integers,
    kinetic: Floats,
    direction: Floats,
    position: Floats,
    time_ns: Floats,
    interaction: Integers,
) -> float:
    """Follow all particles of an event; returns the energy that they brought, by the rule of `Balance`.

    The first rows of the tracks are the primaries, in their order; one with all its children before the next.
    """
    products, electrons = np.empty((64, 5)), physics.charged[KIND_OF[ELECTRON]]
    brought = 0.0
    tracks, counts = record.tracks, record.counts
    for p in range(len(species)):
        kind = int(species[p])
        brought += kinetic[p] + COUNTED_MASS_MEV[kind]
        track = tracks[p]
        track[rc.SPECIES], track[rc.PARENT], track[rc.PROCESS] = kind, -1, PRIMARY
        track[rc.INTERACTION], track[rc.KINETIC] = interaction[p], kinetic[p]
        track[rc.UX], track[rc.UY], track[rc.UZ] = direction[p, 0], direction[p, 1], direction[p, 2]
        x, y, z = position[p, 0], position[p, 1], position[p, 2]
        track[rc.X], track[rc.Y], track[rc.Z], track[rc.START_NS] = x, y, z, time_ns[p]
        rc.ended(track, x, y, z, time_ns[p], 0.0, 0.0)
        record.waiting[len(species) - 1 - p] = p
    counts[rc.N_TRACKS] = counts[rc.N_WAITING] = len(species)
    while counts[rc.N_WAITING] > 0 and counts[rc.FULL] == 0:
        counts[rc.N_WAITING] -= 1
        row = record.waiting[counts[rc.N_WAITING]]
        kind, energy = int(tracks[row, rc.SPECIES]), tracks[row, rc.KINETIC]
        if kind == ELECTRON and 0.0 < energy <= physics.stop_mev:  # as `follow_charged` would, and sooner
            x, y, z = tracks[row, rc.X], tracks[row, rc.Y], tracks[row, rc.Z]
            stays(record, electrons, row, energy, x, y, z, tracks[row, rc.START_NS])
            tracks[row, rc.DEPOSITED] = energy
        elif kind == PHOTON:
            follow_photon(record, physics, s, row)
        elif kind in (NEUTRON, PION_ZERO):
            follow_neutral(record, physics, s, products, row)
        elif kind == NEUTRINO:
            record.sums[rc.NEUTRINOS] += energy
        else:
            follow_charged(record, physics, s, products, row)
    return brought
