"""Deposits on a grid of voxels, with the truth of each voxel.

A deposit's energy is shared among the voxels that it crosses by the length in each. A voxel belongs to the
particle and class that left most energy in it (of equal ones, the particle that was made first). Voxels of
one particle and class that touch (26 neighbours) are a fragment; low-energy deposits are of none.

Legend: N voxels, D deposits, T tracks, F fragments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Deposits, Floats, Integers
from hepfm_lartpc.tpc import Point
from hepfm_lartpc.truth import LED

_HASH = np.uint64(0x9E3779B97F4A7C15)
_AHEAD = tuple((k // 9 - 1, k // 3 % 3 - 1, k % 3 - 1) for k in range(14, 27))
"""Half of the 26 neighbours of a voxel."""


_Voxels = Annotated[int, Field(gt=0, le=1 << 16)]
"""Their indices are uint16."""


class ImageGrid(BaseModel):
    """The voxels of a 3D image."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    voxel_mm: float = Field(default=3.0, ge=0.1)
    """Side of a voxel."""
    origin_mm: Point = (-1152.0, -1152.0, -1152.0)
    """Lower corner of the grid."""
    grid: tuple[_Voxels, _Voxels, _Voxels] = (768, 768, 768)
    """Voxels along x, y, z."""
    threshold_mev: float = Field(default=0.02, ge=0)
    """Voxels with less energy are left out."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """The voxels of an event, in the order in which they were first hit.

    Attributes:
        voxel: ``(N, 3)`` uint16.
        energy_mev: ``(N,)`` float32.
        time_ns: ``(N,)`` float32, weighted by energy.
        electrons: ``(N,)`` float32.
        dx_mm: ``(N,)`` float32, path of all tracks in the voxel.
        particle: ``(N,)`` int32, row of the track that stands for its particle.
        semantic: ``(N,)`` int8.
        fragment: ``(N,)`` int32, from 0; -1 for low-energy deposits.
    """

    voxel: NDArray[np.uint16]
    energy_mev: Array
    time_ns: Array
    electrons: Array
    dx_mm: Array
    particle: Integers
    semantic: Array
    fragment: Integers


def voxelise(
    deposits: Deposits, electrons: Floats, particle: Integers, semantic: Array, grid: ImageGrid
) -> Image:
    """The image of an event's deposits; what lies outside the grid is left out.

    Args:
        deposits: Of one event.
        electrons: ``(D,)`` that ionisation left.
        particle: ``(T,)``, and
        semantic: ``(T,)`` of each track (`hepfm_lartpc.truth.classify`).
        grid: The voxels.
    """
    sizes, origin = np.array(grid.grid, np.int64), np.array(grid.origin_mm)
    room = 4 * len(deposits) + 64
    while True:
        pieces = _cut(deposits.start_mm, deposits.end_mm, origin, grid.voxel_mm, sizes, room)
        if pieces is not None:
            break
        room *= 2
    owners = particle[deposits.track].astype(np.int64) * 8 + semantic[deposits.track]
    key, sums, owner = _gather(
        *pieces, deposits.energy_mev, deposits.time_ns, electrons, deposits.length_mm, owners
    )
    kept, owner, voxel, columns = _columns(key, sums, owner, sizes, grid.threshold_mev)
    return Image(
        voxel=voxel,
        energy_mev=columns[0],
        time_ns=columns[1],
        electrons=columns[2],
        dx_mm=columns[3],
        particle=(owner >> 3).astype(np.int32),
        semantic=(owner & 7).astype(np.int8),
        fragment=_fragments(kept, owner, sizes),
    )


@compiled
def _columns(
    key: Array, sums: Floats, owner: Array, sizes: Array, threshold_mev: float
) -> tuple[Array, Array, NDArray[np.uint16], Array]:
    """Keys, owners, coordinates and columns ``(4, N)`` of the voxels above the threshold."""
    kept, owners = np.empty(len(key), np.int64), np.empty(len(key), np.int64)
    voxel, columns = np.empty((len(key), 3), np.uint16), np.empty((4, len(key)), np.float32)
    n = 0
    for v in range(len(key)):
        energy = sums[v, 0]
        if energy <= threshold_mev:
            continue
        kept[n], owners[n] = key[v], owner[v]
        rest = key[v] // sizes[2]
        voxel[n, 0], voxel[n, 1], voxel[n, 2] = rest // sizes[1], rest % sizes[1], key[v] % sizes[2]
        columns[0, n], columns[1, n] = energy, sums[v, 1] / energy
        columns[2, n], columns[3, n] = sums[v, 2], sums[v, 3]
        n += 1
    return kept[:n].copy(), owners[:n].copy(), voxel[:n].copy(), columns[:, :n].copy()


@compiled
def _slot(table: Array, key: int, mask: np.uint64) -> int:
    """Where a key is in a table of open addressing (-1 marks free places), or where it belongs."""
    at = (np.uint64(key) * _HASH) >> np.uint64(20) & mask
    while table[at] != -1 and table[at] != key:
        at = (at + np.uint64(1)) & mask
    return int(at)


@compiled
def _cut(
    start: Floats, end: Floats, origin: Floats, side: float, sizes: Array, room: int
) -> tuple[Array, Integers, Floats] | None:
    """Deposits cut at voxels' faces: key, deposit and share of each piece; None where ``room`` is short."""
    key, deposit, share = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room)
    a, step = np.empty(3), np.empty(3)
    cell, last = np.empty(3, np.int64), np.empty(3, np.int64)
    n, scale = 0, 1.0 / side
    for d in range(len(start)):
        crossings = 0
        for i in range(3):
            a[i] = (start[d, i] - origin[i]) * scale
            step[i] = (end[d, i] - start[d, i]) * scale
            cell[i], last[i] = math.floor(a[i]), math.floor(a[i] + step[i])
            crossings += abs(last[i] - cell[i])
        if n + crossings + 1 > room:
            return None
        done = 0.0
        for piece in range(crossings + 1):
            ahead, axis = 1.0, -1
            if piece < crossings:
                for i in range(3):
                    if cell[i] != last[i]:
                        cut = ((cell[i] + 1 if step[i] > 0 else cell[i]) - a[i]) / step[i]
                        if axis < 0 or cut < ahead:
                            ahead, axis = cut, i
                ahead = min(max(ahead, done), 1.0)
            inside = 0 <= cell[0] < sizes[0] and 0 <= cell[1] < sizes[1] and 0 <= cell[2] < sizes[2]
            if inside and ahead > done:
                key[n] = (cell[0] * sizes[1] + cell[1]) * sizes[2] + cell[2]
                deposit[n], share[n] = d, ahead - done
                n += 1
            done = ahead
            if axis >= 0:
                cell[axis] += 1 if step[axis] > 0 else -1
    return key[:n], deposit[:n], share[:n]


@compiled
def _gather(
    key: Array,
    deposit: Integers,
    share: Floats,
    energy: Floats,
    time: Floats,
    electrons: Floats,
    length: Floats,
    owner: Array,
) -> tuple[Array, Floats, Array]:
    """Sums the pieces in each voxel.

    Returns:
        Keys of voxels ``(N,)``; sums ``(N, 4)`` of energy, energy times time, electrons and path; and the
        owner ``(N,)`` that left most energy.
    """
    places = 1
    while places < 2 * len(key) + 2:
        places *= 2
    mask = np.uint64(places - 1)
    key_at, row_at = np.full(places, -1, np.int64), np.empty(places, np.int32)
    voxel, sums = np.empty(len(key), np.int64), np.zeros((len(key), 4))
    # Of each voxel a chain of its owners: energy, owner, next of the chain.
    first, n, links = np.full(len(key), -1, np.int32), 0, 0
    left, owner_of, following = np.empty(len(key)), np.empty(len(key), np.int64), np.empty(len(key), np.int32)
    for piece in range(len(key)):
        at = _slot(key_at, key[piece], mask)
        if key_at[at] == -1:
            key_at[at], row_at[at], voxel[n] = key[piece], n, key[piece]
            n += 1
        v, d = row_at[at], deposit[piece]
        mev = share[piece] * energy[d]
        sums[v, 0] += mev
        sums[v, 1] += mev * time[d]
        sums[v, 2] += share[piece] * electrons[d]
        sums[v, 3] += share[piece] * length[d]
        link = first[v]
        while link >= 0 and owner_of[link] != owner[d]:
            link = following[link]
        if link >= 0:
            left[link] += mev
        else:
            left[links], owner_of[links], following[links], first[v] = mev, owner[d], first[v], links
            links += 1
    best = np.empty(n, np.int64)
    for v in range(n):
        link = first[v]
        most, best[v] = left[link], owner_of[link]
        while following[link] >= 0:
            link = following[link]
            if left[link] > most or (left[link] == most and owner_of[link] < best[v]):
                most, best[v] = left[link], owner_of[link]
    return voxel[:n], sums[:n], best


@compiled
def _root(up: Integers, v: int) -> int:
    while up[v] != v:
        up[v] = up[up[v]]
        v = up[v]
    return v


@compiled
def _fragments(key: Array, owner: Array, sizes: Array) -> Integers:
    """The fragment of each voxel, numbered by their first voxels."""
    n = len(key)
    places = 1
    while places < 2 * n + 2:
        places *= 2
    mask = np.uint64(places - 1)
    keys_at, row_at = np.full(places, -1, np.int64), np.empty(places, np.int32)
    # One bit for each of 2^16 hashes tells most of the empty neighbours without a look into the table.
    seen = np.zeros(1024, np.uint64)
    for v in range(n):
        at = _slot(keys_at, key[v], mask)
        keys_at[at], row_at[at] = key[v], v
        hashed = (np.uint64(key[v]) * _HASH) >> np.uint64(48)
        seen[hashed >> np.uint64(6)] |= np.uint64(1) << (hashed & np.uint64(63))
    up = np.arange(n).astype(np.int32)
    for v in range(n):
        if owner[v] & 7 == LED:
            continue
        z = key[v] % sizes[2]
        y = key[v] // sizes[2] % sizes[1]
        x = key[v] // (sizes[1] * sizes[2])
        for ahead in range(13):  # those behind look here
            dx, dy, dz = _AHEAD[ahead]
            if not (x + dx < sizes[0] and 0 <= y + dy < sizes[1] and 0 <= z + dz < sizes[2]):
                continue
            wanted = key[v] + (dx * sizes[1] + dy) * sizes[2] + dz
            hashed = (np.uint64(wanted) * _HASH) >> np.uint64(48)
            if not (seen[hashed >> np.uint64(6)] >> (hashed & np.uint64(63))) & np.uint64(1):
                continue
            at = _slot(keys_at, wanted, mask)
            if keys_at[at] == wanted and owner[row_at[at]] == owner[v]:
                one, other = _root(up, v), _root(up, row_at[at])
                up[max(one, other)] = min(one, other)
    fragment = np.full(n, -1, np.int32)
    count = 0
    for v in range(n):
        if owner[v] & 7 == LED:
            continue
        root = _root(up, v)
        if root == v:
            fragment[v] = count
            count += 1
        else:
            fragment[v] = fragment[root]
    return fragment
