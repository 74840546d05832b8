"""Neutrons, from one nucleus to the next, and neutral pions, which decay where they are made."""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.nuclear import hadron_length_mm
from hepfm_lartpc.species import NEUTRON, NEUTRON_MASS, PION_ZERO
from hepfm_lartpc.streams import Stream, exponential
from hepfm_lartpc.transport.box import share_inside
from hepfm_lartpc.transport.collide import GONE, meets_nucleus
from hepfm_lartpc.transport.record import (
    ESCAPED,
    KINETIC,
    SPECIES,
    START_NS,
    UX,
    UY,
    UZ,
    Record,
    X,
    Y,
    Z,
    ended,
)
from hepfm_lartpc.transport.release import decay_in_flight
from hepfm_lartpc.transport.tables import Physics

_C_MM_NS = 299.792458
_FAR_MM = 1e9


@compiled
def follow_neutral(record: Record, physics: Physics, s: Stream, products: Floats, row: int) -> None:
    """Follow a neutron until a nucleus keeps it or it leaves; let a neutral pion decay.

    Without nuclear interactions neutrons leave, all of them.
    """
    track = record.tracks[row]
    kinetic, ux, uy, uz = track[KINETIC], track[UX], track[UY], track[UZ]
    x, y, z, now = track[X], track[Y], track[Z], track[START_NS]
    length = 0.0
    if int(track[SPECIES]) == PION_ZERO:
        ended(track, x, y, z, now, 0.0, 0.0)
        decay_in_flight(record, s, products, row, PION_ZERO, kinetic, ux, uy, uz, x, y, z, now)
        return
    while kinetic > 0.0:
        mean = hadron_length_mm(NEUTRON, kinetic) if physics.nuclear else math.inf
        step = min(_FAR_MM, exponential(s) * mean)
        speed = _C_MM_NS * math.sqrt(kinetic * (kinetic + 2.0 * NEUTRON_MASS)) / (kinetic + NEUTRON_MASS)
        end_x, end_y, end_z = x + step * ux, y + step * uy, z + step * uz
        inside = share_inside(physics.box_mm, x, y, z, end_x, end_y, end_z)
        step *= inside
        x, y, z = x + step * ux, y + step * uy, z + step * uz
        now, length = now + step / speed, length + step
        ended(track, x, y, z, now, 0.0, length)
        if inside < 1.0:
            record.sums[ESCAPED] += kinetic
            return
        state = (kinetic, ux, uy, uz)
        kinetic, ux, uy, uz = meets_nucleus(record, s, products, row, NEUTRON, state, x, y, z, now)
        if kinetic == GONE:
            return
