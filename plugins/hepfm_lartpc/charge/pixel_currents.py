"""Induced currents: what electrons that arrive at pixels leave on them and their neighbours.

Legend: N clouds, P pixels that see something.
"""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.charge.pixel_response import CELLS
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats, Integers

_REACH = 3.0
"""Sigmas of a cloud that are shared out among pixels; the rest is spread over them."""


@compiled
def shares(centre: float, sigma: float, count: int, share: Floats, where: Floats) -> tuple[int, int]:
    """A Gaussian's parts in pixels of unit width: how much is in each, and the mean of where it is there.

    Returns:
        The first pixel and how many; those outside of ``0 .. count - 1`` are left out, and their charge lost.
    """
    first = math.floor(centre - _REACH * sigma)
    last = math.floor(centre + _REACH * sigma)
    if first == last:
        share[0], where[0] = 1.0, centre
        return first, 1 if 0 <= first < count else 0
    scale, peak = 1.0 / (sigma * math.sqrt(2.0)), sigma / math.sqrt(2.0 * math.pi)
    start, stop = 0.5 * math.erf((first - centre) * scale), 0.5 * math.erf((last + 1 - centre) * scale)
    low, high = max(first, 0), min(last, count - 1)
    for i in range(low, high + 1):
        a, b = (i - centre) * scale, (i + 1 - centre) * scale
        part = 0.5 * (math.erf(b) - math.erf(a))
        share[i - low] = part / (stop - start)
        mean = centre + peak * (math.exp(-a * a) - math.exp(-b * b)) / max(part, 1e-12)
        where[i - low] = min(max(mean, float(i)), i + 1.0)
    return low, max(0, high - low + 1)


@compiled
def currents(
    tpc: Integers,
    across: Floats,
    tick: Floats,
    electrons: Floats,
    sigma: Floats,
    sigma_ticks: Floats,
    first: Array,
    count: Array,
    neighbours: int,
    induced: Array,
    first_tick: int,
    width_ticks: float,
    behind: int,
) -> tuple[Array, Array, Array, Array]:
    """What clouds of arriving electrons induce, tick by tick, on the pixels that they come near.

    Args:
        tpc: ``(N,)`` drift volume.
        across: ``(N, 2)`` along the two axes of the face from its lower corner, in pixels.
        tick: ``(N,)`` of arrival.
        electrons: ``(N,)``.
        sigma: ``(N,)`` across the drift, in pixels.
        sigma_ticks: ``(N,)`` along the drift.
        first: ``(volumes + 1,)`` first pixel of each drift volume.
        count: ``(volumes, 2)`` pixels along the two axes.
        neighbours: Pixels on each side that are followed.
        induced: Of `hepfm_lartpc.charge.pixel_response.PixelResponse`, as are the next two.
        first_tick: Of the response.
        width_ticks: Of the response.
        behind: Ticks without charge at the end of each pixel's.

    Returns:
        Pixel and first tick of each, ``(P,)``; offsets ``(P + 1,)``; electrons in each tick, float32, of all
        pixels one after the other.
    """
    n = len(tpc)
    reach = 8
    if n:
        reach += int(2.0 * _REACH * sigma.max())
    share_u, where_u, share_v, where_v = np.empty(reach), np.empty(reach), np.empty(reach), np.empty(reach)
    length = induced.shape[3]
    begin, end = np.full(first[-1], 2**62), np.full(first[-1], -(2**62))
    touched = [0]
    for i in range(n):
        t = tpc[i]
        u0, nu = shares(across[i, 0], sigma[i], count[t, 0], share_u, where_u)
        v0, nv = shares(across[i, 1], sigma[i], count[t, 1], share_v, where_v)
        if nu == 0 or nv == 0:
            continue
        at = math.floor(tick[i] + 0.5) + first_tick
        for v in range(max(0, v0 - neighbours), min(count[t, 1], v0 + nv + neighbours)):
            for u in range(max(0, u0 - neighbours), min(count[t, 0], u0 + nu + neighbours)):
                pixel = first[t] + v * count[t, 0] + u
                if end[pixel] < begin[pixel]:
                    touched.append(pixel)
                begin[pixel] = min(begin[pixel], at)
                end[pixel] = max(end[pixel], at + length + behind)
    channel = np.sort(np.array(touched[1:], np.int64))
    offset = np.zeros(len(channel) + 1, np.int64)
    for k in range(len(channel)):
        offset[k + 1] = offset[k] + end[channel[k]] - begin[channel[k]]
    ticks = begin[channel]
    for k in range(len(channel)):
        # From here on, where a pixel's tick 0 would lie in the array of charges.
        begin[channel[k]] = offset[k] - ticks[k]
    charge = np.zeros(offset[-1], np.float32)
    half, cells = CELLS // 2, induced.shape[1]
    for i in range(n):
        t = tpc[i]
        u0, nu = shares(across[i, 0], sigma[i], count[t, 0], share_u, where_u)
        v0, nv = shares(across[i, 1], sigma[i], count[t, 1], share_v, where_v)
        at = math.floor(tick[i] + 0.5) + first_tick
        b = min(int(sigma_ticks[i] / width_ticks + 0.5), len(induced) - 1)
        for jv in range(nv):
            for ju in range(nu):
                q = np.float32(electrons[i] * share_u[ju] * share_v[jv])
                if q < 0.5:
                    continue
                for v in range(max(0, v0 + jv - neighbours), min(count[t, 1], v0 + jv + neighbours + 1)):
                    cv = int(abs(where_v[jv] - v - 0.5) * CELLS)
                    cv = min(min(cv, half - 1) if v == v0 + jv else max(cv, half), cells - 1)
                    for u in range(max(0, u0 + ju - neighbours), min(count[t, 0], u0 + ju + neighbours + 1)):
                        cu = int(abs(where_u[ju] - u - 0.5) * CELLS)
                        # On a border, rounding must not move the electron to another pixel.
                        cu = min(min(cu, half - 1) if u == u0 + ju else max(cu, half), cells - 1)
                        row = begin[first[t] + v * count[t, 0] + u] + at
                        current = induced[b, cu, cv]
                        for k in range(length):
                            charge[row + k] += q * current[k]
    return channel, ticks, offset, charge
