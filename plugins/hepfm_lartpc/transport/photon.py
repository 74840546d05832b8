"""Photons: straight lines from one interaction to the next."""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.species import COMPTON, ELECTRON, ELECTRON_MASS, PAIR, PHOTOELECTRIC, POSITRON
from hepfm_lartpc.streams import Stream, exponential, uniform
from hepfm_lartpc.transport import attenuation as at
from hepfm_lartpc.transport.box import share_inside
from hepfm_lartpc.transport.bremsstrahlung import radiation_cosine
from hepfm_lartpc.transport.frame import turned
from hepfm_lartpc.transport.grid import LOG_LOWEST, PER_LOG, between
from hepfm_lartpc.transport.record import (
    BOUND,
    ESCAPED,
    FULL,
    KINETIC,
    START_NS,
    UX,
    UY,
    UZ,
    Record,
    X,
    Y,
    Z,
    born,
    ended,
)
from hepfm_lartpc.transport.tables import Physics

_TURN = 2.0 * math.pi
_NS_MM = 1.0 / 299.792458
_ABSORB_MEV = 0.01
"""A photon below it is absorbed where it is: it would go a tenth of a millimetre."""
_FORM_MEV2 = 8.0e-5
"""Square of the momentum transfer at which the coherent form factor of argon has fallen by half: 9 keV."""


@compiled
def follow_photon(record: Record, physics: Physics, s: Stream, row: int) -> None:
    """Follow a photon until it is absorbed, makes a pair, or leaves."""
    track = record.tracks[row]
    energy, ux, uy, uz = track[KINETIC], track[UX], track[UY], track[UZ]
    x, y, z, now = track[X], track[Y], track[Z], track[START_NS]
    table, box = physics.photons, physics.box_mm
    length = 0.0
    while energy > _ABSORB_MEV and record.counts[FULL] == 0:
        place = (math.log(energy) - LOG_LOWEST) * PER_LOG
        i = int(place)
        f = place - i
        total = between(table, i, f, at.TOTAL)
        step = exponential(s) / total
        end_x, end_y, end_z = x + step * ux, y + step * uy, z + step * uz
        inside = share_inside(box, x, y, z, end_x, end_y, end_z)
        if inside < 1.0:
            step *= inside
            record.sums[ESCAPED] += energy
            now, length = now + step * _NS_MM, length + step
            ended(track, x + step * ux, y + step * uy, z + step * uz, now, 0.0, length)
            return
        x, y, z, now, length = end_x, end_y, end_z, now + step * _NS_MM, length + step
        draw = uniform(s) * total
        draw -= between(table, i, f, at.COMPTON)
        if draw < 0.0:
            left, cosine = compton(s, energy)
            phi = _TURN * uniform(s)
            vx, vy, vz = turned(ux, uy, uz, cosine, phi)
            _recoil(record, row, COMPTON, energy, ux, uy, uz, left, vx, vy, vz, x, y, z, now)
            energy, ux, uy, uz = left, vx, vy, vz
            continue
        draw -= between(table, i, f, at.PAIR)
        if draw < 0.0:
            bound = between(table, i, f, at.PAIR_BOUND)
            ended(track, x, y, z, now, 0.0, length)
            _pair(record, s, row, energy, 1.02 * bound, ux, uy, uz, x, y, z, now)
            return
        draw -= between(table, i, f, at.RAYLEIGH)
        if draw >= 0.0:
            break
        ux, uy, uz = turned(ux, uy, uz, rayleigh_cosine(s, energy), _TURN * uniform(s))
    ended(track, x, y, z, now, 0.0, length)
    # The few keV that the electron lacks by its binding come back at the same place.
    vx, vy, vz = turned(ux, uy, uz, photoelectron_cosine(s, energy), _TURN * uniform(s))
    born(record, ELECTRON, row, PHOTOELECTRIC, energy, vx, vy, vz, x, y, z, now)


@compiled
def compton(s: Stream, energy: float) -> tuple[float, float]:
    """Energy and cosine of a photon after it scattered on a free electron (Klein and Nishina).

    Drawn in two parts, 1/e and e, of the fraction e that is left (Butcher and Messel 1960).
    """
    k = energy / ELECTRON_MASS
    least = 1.0 / (1.0 + 2.0 * k)
    first, second = -math.log(least), 0.5 * (1.0 - least * least)
    while True:
        if uniform(s) * (first + second) < first:
            e = math.exp(-first * uniform(s))
        else:
            e = math.sqrt(least * least + (1.0 - least * least) * uniform(s))
        drop = (1.0 - e) / (k * e)
        if uniform(s) < 1.0 - e * drop * (2.0 - drop) / (1.0 + e * e):
            return e * energy, 1.0 - drop


@compiled
def rayleigh_cosine(s: Stream, energy: float) -> float:
    """Cosine of coherent scattering: Thomson's, with a form factor ``1 / (1 + q**2 / q0**2)`` squared."""
    a = 2.0 * energy * energy / _FORM_MEV2
    while True:
        u = uniform(s)
        drop = 2.0 * u / (1.0 + 2.0 * a * (1.0 - u))  # of density 1 / (1 + a drop)**2 up to 2
        if 2.0 * uniform(s) < 1.0 + (1.0 - drop) ** 2:
            return 1.0 - drop


@compiled
def photoelectron_cosine(s: Stream, kinetic: float) -> float:
    """Cosine of a photoelectron: across the photon in the frame where it was slow, and thrown forward."""
    beta = math.sqrt(kinetic * (kinetic + 2.0 * ELECTRON_MASS)) / (kinetic + ELECTRON_MASS)
    while True:
        x = 2.0 * uniform(s) - 1.0
        if uniform(s) < 1.0 - x * x:
            return (x + beta) / (1.0 + beta * x)


@compiled
def _recoil(
    record: Record, row: int, process: int, energy: float, ux: float, uy: float, uz: float,
    left: float, vx: float, vy: float, vz: float, x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """The electron that takes what a photon lost."""
    px, py, pz = energy * ux - left * vx, energy * uy - left * vy, energy * uz - left * vz
    p = math.sqrt(px * px + py * py + pz * pz)
    if p > 0.0:
        px, py, pz = px / p, py / p, pz / p
    else:
        px, py, pz = ux, uy, uz
    born(record, ELECTRON, row, process, energy - left, px, py, pz, x, y, z, time_ns)


@compiled
def _pair(
    record: Record, s: Stream, row: int, energy: float, bound: float,
    ux: float, uy: float, uz: float, x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """A photon becomes an electron and a positron, in one plane on both sides of its line."""
    least = ELECTRON_MASS / energy
    while True:
        share = least + (1.0 - 2.0 * least) * uniform(s)
        if energy < 2.0 or uniform(s) * bound < at.pair_shape(energy, share):
            break
    record.sums[BOUND] += ELECTRON_MASS
    first = share * energy - ELECTRON_MASS
    second = energy - 2.0 * ELECTRON_MASS - first
    phi = _TURN * uniform(s)
    vx, vy, vz = turned(ux, uy, uz, radiation_cosine(s, first), phi)
    born(record, ELECTRON, row, PAIR, first, vx, vy, vz, x, y, z, time_ns)
    vx, vy, vz = turned(ux, uy, uz, radiation_cosine(s, second), phi + math.pi)
    born(record, POSITRON, row, PAIR, second, vx, vy, vz, x, y, z, time_ns)
