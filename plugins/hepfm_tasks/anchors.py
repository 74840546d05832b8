"""Which points of an event queries are made of.

Legend of shapes: N points of one event, A anchors, P position axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepfm.nn.ragged import offsets_of


def anchors_of(positions: Tensor, instance: Tensor, most: int) -> Tensor:
    """``(A,)`` int64 rows of one event to learn from, no more than ``most``, all of them of instances.

    For half of them instances take turns, the largest first, so that small ones are learned; the others are
    any points, so that large ones are learned well. Which points follows from their places: an event that is
    seen in another orientation has other anchors.

    Args:
        positions: ``(N, P)``.
        instance: ``(N,)`` int64, negative for none.
        most: Largest A.
    """
    inside = (instance >= 0).nonzero()[:, 0]
    if not len(inside):
        return inside
    order = inside[shuffled(positions[inside])]
    spread = order
    order = order[instance[order].argsort(stable=True)]
    size = torch.unique_consecutive(instance[order], return_counts=True)[1]
    sizes = size.repeat_interleave(size)
    turn = torch.arange(len(order), device=order.device) - offsets_of(size)[:-1].repeat_interleave(size)
    order = order[(turn * (int(size.max()) + 1) - sizes).argsort(stable=True)]
    first = order[: (most + 1) // 2]
    others = spread[~torch.isin(spread, first)]
    return torch.cat((first, others))[:most]


def shuffled(positions: Tensor) -> Tensor:
    """``(N,)`` int64: an order of points that follows from their places ``(N, P)``, and looks random."""
    place = (positions.double() * 64).round().long()
    mixed = torch.arange(len(place), device=place.device) * 2654435761
    for axis in range(place.shape[1]):  # Knuth's multiplicative hash, axis by axis
        mixed = ((mixed ^ place[:, axis]) * 2654435761) % 2**32
        mixed = mixed ^ (mixed >> 15)
    return mixed.argsort(stable=True)
