"""Masks of instances from anchors: which points of an event belong with one of them.

A query is made of an anchor, one point of an event. Its mask is a product of the query with an embedding of
each point, and falls with the distance from the anchor. Layers refine the query by what its mask covers (as
k-means does clusters' centres; Yu et al., ECCV 2022): a masked attention whose weights are the mask itself.

Legend of shapes: N points of one event, A anchors, D width, P position axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from hepfm.nn.init import linear
from hepfm.nn.ragged import offsets_of


class MaskDecoder(nn.Module):
    """Queries of anchors, and their masks.

    Args:
        width: D.
        layers: Refinements of a query.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.key = linear(width, width)
        self.query = nn.Sequential(linear(width, width), nn.GELU(), linear(width, width))
        self.turns = nn.ModuleList(Turn(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.mask = linear(width, width + 2)
        with torch.no_grad():
            self.mask.bias[-2:] = torch.tensor([2.0, 0.5])  # at first, what is near belongs together

    def forward(self, points: Tensor, positions: Tensor, anchors: Tensor) -> tuple[list[Tensor], Tensor]:
        """Logits ``(A, N)`` of each layer's masks, the first ones too, and the last queries ``(A, D)``.

        Args:
            points: ``(N, D)`` of one event.
            positions: ``(N, P)``, in units.
            anchors: ``(A,)`` int64 rows.
        """
        keys = self.key(points).float() * self.scale
        away = torch.cdist(positions[anchors].float(), positions.float()).log1p()
        queries = self.query(points[anchors])
        logits = [self._logits(queries, keys, away)]
        for turn in self.turns:
            queries = turn(queries, points, logits[-1])
            logits.append(self._logits(queries, keys, away))
        return logits, queries

    def _logits(self, queries: Tensor, keys: Tensor, away: Tensor) -> Tensor:
        made = self.mask(self.norm(queries)).float()
        product, bias, slope = made[:, :-2] @ keys.T, made[:, -2:-1], softplus(made[:, -1:])
        logits: Tensor = product + bias - slope * away
        return logits


class Turn(nn.Module):
    """One refinement of queries by the mean of the points that their masks cover."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.enter, self.leave = linear(2 * width, 2 * width), linear(2 * width, width)

    def forward(self, queries: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """``(A, D)`` for queries ``(A, D)``, points ``(N, D)`` and logits ``(A, N)``."""
        weight = logits.sigmoid()
        mean = (weight / weight.sum(1, keepdim=True).clamp(min=1e-6)) @ points
        joined = self.norm(torch.cat((queries, mean), 1))
        refined: Tensor = queries + self.leave(gelu(self.enter(joined)))
        return refined


@torch.no_grad()
def grouped(
    points: Tensor,
    positions: Tensor,
    seed: Tensor,
    inside: Tensor,
    decoder: MaskDecoder,
    *,
    queries: int,
    smallest: int,
) -> tuple[Tensor, Tensor]:
    """Instances of one event.

    The best seed among the points that are inside and not yet in a mask is the next anchor; its mask takes
    its points. This ends when no point is left, or as many masks as are allowed were made. A mask that took
    fewer than ``smallest`` points is dropped, unless it is the first. Each point inside then goes to the mask
    that is surest of it, and masks that cover one another are joined.

    Args:
        points: ``(N, D)``.
        positions: ``(N, P)``.
        seed: ``(N,)`` how good an anchor each point is.
        inside: ``(N,)`` bool, points that belong to an instance.
        decoder: Makes the masks.
        queries: Most masks.
        smallest: Fewest points of a mask.

    Returns:
        ``(N,)`` int64 instance, -1 for none; ``(N,)`` float32 its probability.
    """
    left, order = inside.clone(), seed.argsort(descending=True, stable=True)
    masks: list[Tensor] = []
    for _ in range(queries):
        if not bool(left.any()):
            break
        anchor = order[left[order]][:1]
        mask = decoder(points, positions, anchor)[0][-1][0].sigmoid()
        taken = left & (mask > 0.5)
        taken[anchor] = True
        left &= ~taken
        if int(taken.sum()) >= smallest or not masks:
            masks.append(mask[inside])
    instance = torch.full_like(seed, -1, dtype=torch.int64)
    probability = torch.zeros_like(seed, dtype=torch.float32)
    if masks:
        probability[inside], instance[inside] = joined(torch.stack(masks))
    return instance, probability


def joined(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Each point's probability and instance, of masks ``(I, N)`` that may be of the same instances.

    A point goes to the mask that is surest of it. As long as some mask covers the points of another one by
    more than half on average, the two that do so most are joined: pieces that lie far apart, as those of a
    shower, are often sure to be of the whole while the whole is not sure of them.
    """
    count, (best, which) = len(masks), masks.max(0)
    member = torch.nn.functional.one_hot(which, count).to(masks.dtype)
    shared, size = masks @ member, member.sum(0)  # of masks (first) on the points of the others
    name = torch.arange(count, device=masks.device)
    itself = name[:, None] == name
    while True:
        cover = shared / size
        # Masks that lost their points to others, or were joined to them, have none that could be covered.
        cover[(size == 0)[:, None] | (size == 0) | itself] = 0
        if not bool((cover > 0.5).any()):
            break
        kept, gone = sorted(divmod(int(cover.argmax()), count))
        weight = size[[kept, gone]] / size[[kept, gone]].sum()
        shared[kept] = weight @ shared[[kept, gone]]
        shared[:, kept] += shared[:, gone]
        size[kept] += size[gone]
        size[gone] = 0
        name[name == gone] = kept
    return best, torch.unique(name[which], return_inverse=True)[1]


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
    order = inside[_shuffled(positions[inside])]
    spread = order
    order = order[instance[order].argsort(stable=True)]
    size = torch.unique_consecutive(instance[order], return_counts=True)[1]
    sizes = size.repeat_interleave(size)
    turn = torch.arange(len(order), device=order.device) - offsets_of(size)[:-1].repeat_interleave(size)
    order = order[(turn * (int(size.max()) + 1) - sizes).argsort(stable=True)]
    first = order[: (most + 1) // 2]
    others = spread[~torch.isin(spread, first)]
    return torch.cat((first, others))[:most]


def _shuffled(positions: Tensor) -> Tensor:
    """``(N,)`` int64: an order of points that follows from their places ``(N, P)``, and looks random."""
    place = (positions.double() * 64).round().long()
    mixed = torch.arange(len(place), device=place.device) * 2654435761
    for axis in range(place.shape[1]):  # Knuth's multiplicative hash, axis by axis
        mixed = ((mixed ^ place[:, axis]) * 2654435761) % 2**32
        mixed = mixed ^ (mixed >> 15)
    return mixed.argsort(stable=True)
