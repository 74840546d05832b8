"""Charged particles: steps along which they lose energy and scatter, and what happens at their ends."""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats
from hepfm_lartpc.nuclear import COUNTED_MASS_MEV
from hepfm_lartpc.species import ELECTRON, MASS_MEV, POSITRON
from hepfm_lartpc.streams import Stream, exponential, uniform
from hepfm_lartpc.transport import tables as tb
from hepfm_lartpc.transport.box import share_inside
from hepfm_lartpc.transport.collide import GONE, annihilates, knocks_on, meets_nucleus, radiates
from hepfm_lartpc.transport.frame import turned
from hepfm_lartpc.transport.grid import LOG_LOWEST, LOWEST_MEV, PER_LOG, between
from hepfm_lartpc.transport.record import (
    ESCAPED,
    FULL,
    KINETIC,
    N_DEPOSITS,
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
    left,
)
from hepfm_lartpc.transport.release import annihilation_at_rest, come_to_rest, decay_in_flight
from hepfm_lartpc.transport.scattering import deflected, hard_cosine
from hepfm_lartpc.transport.soft import smooth_loss, soft_loss

_TURN = 2.0 * math.pi
_OF_RANGE = 0.4
_OF_ELECTRONS_RANGE = 0.2
"""Electrons scatter so much near their end that longer steps make them go too straight, by 10 % at 1 MeV."""
_LAST_MM = 0.2
"""A heavy particle with less range goes straight to its end."""


@compiled
def stays(
    record: Record, table: Floats, row: int, kinetic: float, x: float, y: float, z: float, time_ns: float
) -> None:
    """An electron leaves the rest of its energy where it is, on the length of the range that it had."""
    deposits, n = record.deposits, record.counts[N_DEPOSITS]
    if n >= len(deposits) // 10:
        record.counts[FULL] = 1
        return
    place = max(0.0, (math.log(kinetic) - LOG_LOWEST) * PER_LOG)
    i = int(place)
    reach = between(table, i, place - i, tb.RANGE)
    left(deposits, n, row, kinetic, reach, time_ns, x, y, z, x, y, z)
    record.counts[N_DEPOSITS] = n + 1


@compiled
def follow_charged(record: Record, physics: tb.Physics, s: Stream, products: Floats, row: int) -> None:
    """Follow one particle to its end: rest, decay, interaction, annihilation, or the wall."""
    track, counts = record.tracks[row], record.counts
    deposits, room = record.deposits, len(record.deposits) // 10
    species = int(track[SPECIES])
    mass = MASS_MEV[species]
    table, box = physics.charged[tb.KIND_OF[species]], physics.box_mm
    light = species in (ELECTRON, POSITRON)
    kinetic, ux, uy, uz = track[KINETIC], track[UX], track[UY], track[UZ]
    x, y, z, now = track[X], track[Y], track[Z], track[START_NS]
    until, until_soft = exponential(s), exponential(s)
    length, deposited = 0.0, 0.0
    while kinetic > (physics.stop_mev if light else 0.0):
        if counts[N_DEPOSITS] >= room:
            counts[FULL] = 1
            return
        place = max(0.0, (math.log(kinetic) - LOG_LOWEST) * PER_LOG)
        i = int(place)
        f = place - i
        reach = between(table, i, f, tb.RANGE)
        last = not light and (reach < _LAST_MM or kinetic < LOWEST_MEV)
        collides = False
        if last:
            step, lost = reach, kinetic
            vx, vy, vz = ux, uy, uz
        else:
            step = min(physics.max_step_mm, (_OF_ELECTRONS_RANGE if light else _OF_RANGE) * reach)
            hard = between(table, i, f, tb.HARD)
            collides = until < hard * step
            if collides:
                step = until / hard
            until -= hard * step
            # everything else as of the middle of the step
            rough = between(table, i, f, tb.LOSS) * step / kinetic
            if rough < 0.05:
                f -= 0.5 * rough * PER_LOG
            else:
                place = max(0.0, place + math.log(1.0 - 0.5 * min(rough, 1.0)) * PER_LOG)
                i = int(place)
                f = place - i
            mean, variance = between(table, i, f, tb.SMOOTH), between(table, i, f, tb.SPREAD)
            lost = smooth_loss(s, step * mean, step * variance)
            until_soft -= step * between(table, i, f, tb.SOFT)
            if until_soft < 0.0:
                more, until_soft = soft_loss(s, until_soft, between(table, i, f, tb.SOFT_LEAST))
                lost += more
            lost = min(lost, kinetic)
            vx, vy, vz = deflected(s, ux, uy, uz, step * between(table, i, f, tb.DEFLECTION))
        slowness = between(table, i, f, tb.SLOWNESS)
        # the deflection sits in the middle of the step
        end_x, end_y, end_z = (
            x + 0.5 * step * (ux + vx),
            y + 0.5 * step * (uy + vy),
            z + 0.5 * step * (uz + vz),
        )
        inside = share_inside(box, x, y, z, end_x, end_y, end_z)
        if inside < 1.0:
            end_x, end_y, end_z = x + inside * (end_x - x), y + inside * (end_y - y), z + inside * (end_z - z)
            step, lost = inside * step, inside * lost
        left(deposits, counts[N_DEPOSITS], row, lost, step, now, x, y, z, end_x, end_y, end_z)
        counts[N_DEPOSITS] += 1
        x, y, z, ux, uy, uz = end_x, end_y, end_z, vx, vy, vz
        kinetic -= lost
        deposited += lost
        length += step
        now += step * slowness
        if inside < 1.0:
            record.sums[ESCAPED] += kinetic + COUNTED_MASS_MEV[species]
            ended(track, x, y, z, now, deposited, length)
            return
        if collides and kinetic > LOWEST_MEV:
            until = exponential(s)
            draw = uniform(s) * between(table, i, f, tb.HARD)
            draw -= between(table, i, f, tb.SCATTER)
            if draw < 0.0:
                mu = between(table, i, f, tb.MU_HARD)
                chi = between(table, i, f, tb.CHI_A2)
                momentum = math.sqrt(kinetic * (kinetic + 2.0 * mass))
                cosine = hard_cosine(s, mu, chi, momentum, momentum / (kinetic + mass))
                ux, uy, uz = turned(ux, uy, uz, cosine, _TURN * uniform(s))
                continue
            state = (kinetic, ux, uy, uz)
            draw -= between(table, i, f, tb.DELTA)
            if draw < 0.0:
                kinetic, ux, uy, uz = knocks_on(record, physics, s, row, species, state, x, y, z, now)
                continue
            draw -= between(table, i, f, tb.RADIATE)
            if draw < 0.0:
                kinetic, ux, uy, uz = radiates(record, physics, s, row, state, x, y, z, now)
                continue
            ended(track, x, y, z, now, deposited, length)
            if light:
                annihilates(record, s, row, state, x, y, z, now)
                return
            draw -= between(table, i, f, tb.NUCLEAR)
            if draw < 0.0:
                kinetic, ux, uy, uz = meets_nucleus(record, s, products, row, species, state, x, y, z, now)
                if kinetic == GONE:
                    return
            else:
                decay_in_flight(record, s, products, row, species, kinetic, ux, uy, uz, x, y, z, now)
                return
    if kinetic > 0.0:
        stays(record, table, row, kinetic, x, y, z, now)
        deposited += kinetic
    ended(track, x, y, z, now, deposited, length)
    if species == POSITRON:
        annihilation_at_rest(record, s, row, x, y, z, now)
    elif species != ELECTRON:
        come_to_rest(record, physics, s, products, row, species, x, y, z, now)
