"""Rows of each event in the order of a curve through their positions, for models that read one after another.

The Hilbert curve visits the cells of a grid so that each is next to the one before, and cells that are close
come close in the order. Its index is found by Skilling's bit manipulation ("Programming the Hilbert curve",
AIP Conf. Proc. 707, 381 (2004)), here for any number of axes.

Legend of shapes: T rows, P position axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepfm.api import Tokens
from hepfm.nn.ragged import event_index
from hepfm.nn.rows import RowMap

INDEX_BITS = 62
"""Bits of a curve's index, shared by the axes."""

AXIS_BITS = 16
"""Most bits of an axis: detectors have some ten thousand channels."""


def axis_bits(n_axes: int) -> int:
    """Bits of each of so many axes: 16 of three, 15 of four."""
    return min(AXIS_BITS, INDEX_BITS // max(1, n_axes))


def curve_index(positions: Tensor) -> Tensor:
    """``(T,)`` int64, place along the Hilbert curve of the cell of side 1 that holds a position.

    Args:
        positions: ``(T, P)``, from 0 to below 2 to the power of `axis_bits`. What lies outside is moved to
            the edge.
    """
    n_axes = positions.shape[1]
    if not n_axes:
        return torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
    bits = axis_bits(n_axes)
    cells = positions.double().floor().clamp(0, (1 << bits) - 1).long()
    x = list(cells.unbind(1))
    for shift in range(bits - 1, 0, -1):
        low = (1 << shift) - 1
        for axis in range(n_axes):
            # Where the bit is set the lower bits of the first axis are inverted, elsewhere exchanged.
            is_set = (x[axis] >> shift & 1) * low
            swap = (x[0] ^ x[axis]) & (low - is_set)
            x[axis] = x[axis] ^ swap
            x[0] = x[0] ^ (is_set | swap) if axis else x[0] ^ is_set
    for axis in range(1, n_axes):
        x[axis] = x[axis] ^ x[axis - 1]
    flip = torch.zeros_like(x[0])
    for shift in range(bits - 1, 0, -1):
        flip = flip ^ (x[-1] >> shift & 1) * ((1 << shift) - 1)
    index = torch.zeros_like(x[0])
    for bit in range(bits - 1, -1, -1):
        for axis in range(n_axes):
            index = index << 1 | ((x[axis] ^ flip) >> bit & 1)
    return index


def curve_order(tokens: Tokens) -> RowMap:
    """Moves tokens into the order of (event, part, place along the curve); equal places keep theirs.

    Positions may be negative: the origin is the middle of the curve.
    """
    middle = 1 << axis_bits(tokens.positions.shape[1]) - 1
    along = curve_index(tokens.positions.double() + middle).argsort(stable=True)
    group = event_index(tokens.offsets) << 8 | tokens.part
    order = along[group[along].argsort(stable=True)]
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return RowMap(order, order[:0], back, order[:0])
