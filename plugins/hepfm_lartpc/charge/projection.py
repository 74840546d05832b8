"""Projection: arrived electrons on the wires of each plane, in the ticks of their arrival.

Legend: K channels, N clouds, P planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import Arrivals
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats, Integers
from hepfm_lartpc.tpc import Tpc

_REACH = 4.0
"""Sigmas of a cloud that are followed; the rest, 6e-5, is spread over them."""


@dataclass(frozen=True, kw_only=True)
class WireGeometry:
    """Where the wires are: of each drift volume and plane, the first channel and how a point maps to wires.

    Attributes:
        tpc: ``(K,)`` drift volume of each channel.
        plane: ``(K,)`` plane of each channel.
        position_mm: ``(K, 3)`` middle of each wire.
        first: ``(volumes, P)`` first channel.
        count: ``(P,)`` wires.
        across: ``(volumes, P, 2)`` wires for each mm along the two axes of the face.
        constant: ``(volumes, P)`` wire at the origin of coordinates.
        pitch_mm: ``(P,)``.
    """

    tpc: Integers
    plane: Integers
    position_mm: Floats
    first: Array
    count: Array
    across: Floats
    constant: Floats
    pitch_mm: Floats


def wire_geometry(readout: WireReadout, tpcs: Sequence[Tpc]) -> WireGeometry:
    """Wires of all drift volumes, numbered through drift volumes, planes and wires."""
    planes = readout.planes
    count = np.array([plane.wires for plane in planes])
    first = np.cumsum(np.tile(count, len(tpcs))) - np.tile(count, len(tpcs))
    across = np.empty((len(tpcs), len(planes), 2))
    constant = np.empty((len(tpcs), len(planes)))
    positions = []
    for t, tpc in enumerate(tpcs):
        axes = [axis for axis in range(3) if axis != tpc.axis]
        low, high = np.array(tpc.low_mm)[axes], np.array(tpc.high_mm)[axes]
        for p, plane in enumerate(planes):
            angle = math.radians(plane.angle_deg)
            sine, cosine = math.sin(angle), math.cos(angle)
            # Of the two axes in their order, the vertical is the first (y, z) or the second (x, z; x, y).
            pitch = np.array([-sine, cosine] if tpc.axis == 0 else [cosine, -sine])
            along = np.array([cosine, sine] if tpc.axis == 0 else [sine, cosine])
            across[t, p] = pitch / plane.pitch_mm
            middle = 0.5 * (low + high) + plane.offset_mm * pitch
            constant[t, p] = 0.5 * (plane.wires - 1) - across[t, p] @ middle
            shift = (np.arange(plane.wires) - 0.5 * (plane.wires - 1)) * plane.pitch_mm
            position = np.empty((plane.wires, 3))
            position[:, axes] = _middles(middle + shift[:, None] * pitch, along, low, high)
            position[:, tpc.axis] = tpc.anode_mm - tpc.towards * plane.height_mm
            positions.append(position)
    return WireGeometry(
        tpc=np.repeat(np.arange(len(tpcs), dtype=np.int32), count.sum()),
        plane=np.tile(np.repeat(np.arange(len(planes), dtype=np.int32), count), len(tpcs)),
        position_mm=np.concatenate(positions),
        first=first.reshape(len(tpcs), len(planes)),
        count=count,
        across=across,
        constant=constant,
        pitch_mm=np.array([plane.pitch_mm for plane in planes]),
    )


def _middles(point: Floats, along: Floats, low: Floats, high: Floats) -> Floats:
    """Of lines through points ``(W, 2)``, the middles of their parts within a rectangle ``(W, 2)``.

    Of a line that misses it, the point itself.
    """
    steps = np.where(np.abs(along) > 1e-9, along, 1e-9)
    ends = np.sort(np.stack([(low - point) / steps, (high - point) / steps]), axis=0)
    enter, leave = ends[0].max(1), ends[1].min(1)
    return point + np.where(enter < leave, 0.5 * (enter + leave), 0.0)[:, None] * along


def project(
    arrived: Arrivals,
    geometry: WireGeometry,
    *,
    tick_ns: float,
    offset_ticks: float,
    before: int,
    after: int,
    out: Array,
) -> None:
    """Adds each cloud's electrons to the wires and ticks that it falls on, integrated over these.

    What falls on no wire, or outside of the ticks, is lost.

    Args:
        arrived: The clouds.
        geometry: Of the wires.
        tick_ns: A tick reaches from half of it before its sample to half of it after it.
        offset_ticks: Tick of the event's time 0.
        before: Ticks before 0 that count; they are kept at the end of a row (tick -1 in the last column).
        after: Ticks from 0 that count.
        out: ``(K, n)`` float32, n at least ``before + after``; added to.
    """
    if not len(arrived):
        return
    widest = float(arrived.sigma_ns.max()) / tick_ns
    narrowest_mm = float(geometry.pitch_mm.min())
    across = float(arrived.sigma_mm.max()) / narrowest_mm
    _project(
        arrived.tpc,
        arrived.across_mm,
        arrived.time_ns / tick_ns + offset_ticks,
        arrived.electrons,
        arrived.sigma_mm,
        arrived.sigma_ns / tick_ns,
        geometry.first,
        geometry.count,
        geometry.across,
        geometry.constant,
        geometry.pitch_mm,
        before,
        after,
        np.empty(int(2 * _REACH * widest) + 4),
        np.empty(int(2 * _REACH * across) + 4),
        out,
    )


@compiled
def _integrals(centre: float, sigma: float, out: Floats) -> tuple[int, int]:
    """Integrals of a Gaussian over the bins ``[i - 1/2, i + 1/2)`` within its reach: the first, and how many.

    They add up to 1.
    """
    first = math.floor(centre - _REACH * sigma + 0.5)
    last = math.floor(centre + _REACH * sigma + 0.5)
    if first == last:
        out[0] = 1.0
        return first, 1
    scale = 1.0 / (sigma * math.sqrt(2.0))
    below, start = 0.0, 0.5 * math.erf((first - 0.5 - centre) * scale)
    total = 0.5 * math.erf((last + 0.5 - centre) * scale) - start
    for i in range(last - first + 1):
        upto = (0.5 * math.erf((first + i + 0.5 - centre) * scale) - start) / total
        out[i] = upto - below
        below = upto
    return first, last - first + 1


@compiled
def _project(
    tpc: Integers,
    across_mm: Floats,
    tick: Floats,
    electrons: Floats,
    sigma_mm: Floats,
    sigma_ticks: Floats,
    first: Array,
    count: Array,
    across: Floats,
    constant: Floats,
    pitch_mm: Floats,
    before: int,
    after: int,
    in_time: Floats,
    in_space: Floats,
    out: Array,
) -> None:
    n = out.shape[1]
    for i in range(len(tpc)):
        t0, ticks = _integrals(tick[i], sigma_ticks[i], in_time)
        if t0 + ticks <= -before or t0 >= after:
            continue
        t = tpc[i]
        for p in range(len(count)):
            wire = constant[t, p] + across[t, p, 0] * across_mm[i, 0] + across[t, p, 1] * across_mm[i, 1]
            w0, wires = _integrals(wire, sigma_mm[i] / pitch_mm[p], in_space)
            for j in range(max(0, -w0), min(wires, count[p] - w0)):
                charge = electrons[i] * in_space[j]
                row = first[t, p] + w0 + j
                for k in range(max(0, -before - t0), min(ticks, after - t0)):
                    column = t0 + k
                    out[row, column + n if column < 0 else column] += charge * in_time[k]
