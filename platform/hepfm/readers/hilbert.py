"""Hilbert order: points that are close in space come close in the file, so that they compress and group well.

The curve's index is found by Skilling's bit manipulation ("Programming the Hilbert curve", AIP Conf. Proc.
707, 381 (2004)), on all points at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from hepfm.api import Batch, PartSchema
from hepfm.readers.pack import permute_rows

_ROWS = 1 << 12
"""Voxels at a time: what is computed of them stays in the nearest cache, which is three times as fast."""
BITS = 16
"""Bits an axis. Fixed, so that the order of two voxels does not depend on the event's other voxels."""


def hilbert_index(voxel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Position along the 3D Hilbert curve of ``2**16`` voxels a side.

    Args:
        voxel: ``(N, 3)`` uint16.

    Returns:
        ``(N,)`` uint64, below ``2**48``.
    """
    index = np.empty(len(voxel), np.uint64)
    for start in range(0, len(voxel), _ROWS):
        rows = slice(start, start + _ROWS)
        index[rows] = _index(voxel[rows])
    return index


def _index(voxel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = [voxel[:, axis].astype(np.uint32) for axis in range(3)]
    used = max(int(voxel.max()).bit_length(), 1)
    for _ in range(used, BITS):  # a bit that none has exchanges the first axis with each other one
        x = [x[2], x[0], x[1]]
    for shift in range(used - 1, 0, -1):
        low = np.uint32((1 << shift) - 1)
        for axis in range(3):
            # Where the bit is set the lower bits of the first axis are inverted, elsewhere exchanged.
            is_set = ((x[axis] >> np.uint32(shift)) & np.uint32(1)) * low
            swap = (x[0] ^ x[axis]) & ~is_set & low
            x[0] ^= is_set | swap
            x[axis] ^= swap
    x[1] ^= x[0]
    x[2] ^= x[1]
    flip = np.zeros_like(x[0])
    for shift in range(used - 1, 0, -1):
        flip ^= ((x[2] >> np.uint32(shift)) & np.uint32(1)) * np.uint32((1 << shift) - 1)
    index = np.zeros(len(voxel), np.uint64)
    for axis in range(3):
        index |= _spread(x[axis] ^ flip) << np.uint64(2 - axis)
    return index


def _spread(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Puts two zero bits before each of 16 bits, ``(N,)`` uint32 to uint64."""
    y = x.astype(np.uint64)
    for shift, mask in (
        (16, 0x00FF0000FF0000FF),
        (8, 0xF00F00F00F00F00F),
        (4, 0x30C30C30C30C30C3),
        (2, 0x9249249249249249),
    ):
        y = (y | (y << np.uint64(shift))) & np.uint64(mask)
    return y


def hilbert_order(voxel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``(N,)`` int64: sorts voxels ``(N, 3)`` uint16 along the curve; equal voxels keep theirs."""
    return np.argsort(hilbert_index(voxel), kind="stable")


def order_rows(batch: Batch, parts: Mapping[str, PartSchema]) -> Batch:
    """The batch with primary tables in Hilbert order within each event, where a part's schema asks for it.

    A part asks with the attribute ``hilbert_column``, the name of a ``(N, 3)`` uint16 column. Labels of the
    table move with it.
    """
    inputs, labels = dict(batch.parts), dict(batch.labels)
    for part, schema in parts.items():
        column = schema.attributes.get("hilbert_column")
        if not column:
            continue
        table = batch.parts[part][schema.primary]
        order = _order_within(hilbert_index(table.columns[column]), table.offsets)
        inputs[part] = {**batch.parts[part], schema.primary: permute_rows(table, order)}
        if schema.primary in batch.labels.get(part, {}):
            truth = permute_rows(batch.labels[part][schema.primary], order)
            labels[part] = {**batch.labels[part], schema.primary: truth}
    return replace(batch, parts=inputs, labels=labels)


def _order_within(index: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``(N,)`` int64: sorts each event's rows by their index below ``2**48``; equal ones keep their order."""
    order = np.empty(len(index), np.int64)
    for start, stop in pairwise(offsets.tolist()):
        if stop - start <= 1 << 16:
            # With the row in the free bits a plain sort does, which numpy has in vector instructions.
            key = index[start:stop] << np.uint64(16) | np.arange(stop - start, dtype=np.uint64)
            key.sort()
            order[start:stop] = (key & np.uint64(0xFFFF)).astype(np.int64) + start
        else:
            order[start:stop] = np.argsort(index[start:stop], kind="stable") + start
    return order
