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
    order = order[(_turns(size) * (int(size.max()) + 1) - sizes).argsort(stable=True)]
    first = order[: (most + 1) // 2]
    others = spread[~torch.isin(spread, first)]
    return torch.cat((first, others))[:most]


def shuffled(positions: Tensor) -> Tensor:
    """``(N,)`` int64: an order of points that follows from their places ``(N, P)``, and looks random.

    Which of several points of one place comes first, their rows decide.
    """
    place = (positions.double() * 64).round().long()
    mixed = torch.zeros(len(place), dtype=torch.int64, device=place.device)
    for axis in range(place.shape[1]):
        mixed = _mixed(mixed, place[:, axis])
    order = mixed.argsort(stable=True)
    again = torch.empty_like(order)  # else points of one place would come all at once
    again[order] = _turns(torch.unique_consecutive(mixed[order], return_counts=True)[1])
    return _mixed(mixed, again).argsort(stable=True)


def _mixed(one: Tensor, other: Tensor) -> Tensor:
    """Knuth's multiplicative hash of two numbers."""
    mixed = ((one ^ other) * 2654435761) % 2**32
    return mixed ^ (mixed >> 15)


def _turns(size: Tensor) -> Tensor:
    """``(N,)`` int64: 0, 1, ... within each of groups of these sizes, one after the other."""
    rows = torch.arange(int(size.sum()), device=size.device)
    return rows - offsets_of(size)[:-1].repeat_interleave(size)
