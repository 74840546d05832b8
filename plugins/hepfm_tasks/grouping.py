"""From masks of anchors to instances: anchors whose masks cover one another are of one instance.

Legend of shapes: N points of one event, A anchors, D width.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from hepfm.api import Tokens
from hepfm.nn.ragged import offsets_of
from hepfm_tasks.anchors import shuffled
from hepfm_tasks.masks import MaskDecoder


@torch.no_grad()
def grouped(
    points: Tokens, tokens: Tokens, inside: Tensor, decoder: MaskDecoder, *, queries: int, smallest: int
) -> list[tuple[Tensor, Tensor]]:
    """Instances of each event.

    Anchors are ``queries`` points of each event that are inside, anywhere; then as many of those that no mask
    covers yet. Anchors whose masks cover one another are of one instance, see `linked`; the largest
    instance comes first.

    Args:
        points: ``x (N, D)``.
        tokens: What the decoder attends to.
        inside: ``(N,)`` bool, points that belong to an instance.
        decoder: Makes the masks.
        queries: Most anchors at a time, and most instances of an event.
        smallest: Fewest points of an instance.

    Returns:
        Of each event ``(N,)`` int64 instance, -1 for none; ``(N,)`` float32 its probability.
    """
    rows = [slice(*pair) for pair in pairwise(points.offsets.tolist())]
    order = [shuffled(points.positions[r]) for r in rows]
    left = inside.clone()
    anchors = [torch.empty(0, dtype=torch.int64, device=inside.device) for _ in rows]
    masks = [points.x.new_empty(0, r.stop - r.start) for r in rows]
    for _ in range(2):
        chosen = [each[left[r][each]][:queries] for each, r in zip(order, rows, strict=True)]
        offsets = offsets_of(points.offsets.new_tensor([len(each) for each in chosen]))
        whole = torch.cat([offsets[:0], *(each + r.start for each, r in zip(chosen, rows, strict=True))])
        made = decoder(points, tokens, whole, offsets)[-1]
        for event, r in enumerate(rows):
            anchors[event] = torch.cat((anchors[event], chosen[event]))
            masks[event] = torch.cat((masks[event], made[event].sigmoid()))
            if len(anchors[event]):
                left[r] &= masks[event].max(0).values < 0.5
    found = []
    for event, r in enumerate(rows):
        instance = torch.full_like(order[event], -1)
        probability = points.x.new_zeros(len(instance))
        if len(anchors[event]):
            group = linked(masks[event][:, anchors[event]])
            here = inside[r]
            probability[here], instance[here] = covered(masks[event][:, here], group, queries, smallest)
        found.append((instance, probability))
    return found


def linked(alike: Tensor) -> Tensor:
    """``(A,)`` int64 groups of anchors, of how probably each is of another's instance ``(A, A)``.

    Groups are joined by average linkage: as long as two are of one instance with a mean probability above
    one half, the two that are most so.
    """
    if len(alike) < 2:
        return torch.zeros(len(alike), dtype=torch.int64, device=alike.device)
    apart = 1 - (alike + alike.T).double().cpu().numpy() / 2
    first, second = np.triu_indices(len(alike), 1)
    tree = linkage(apart[first, second], "average")
    return torch.from_numpy(fcluster(tree, 0.5, "distance") - 1).long().to(alike.device)


def covered(masks: Tensor, group: Tensor, most: int, smallest: int) -> tuple[Tensor, Tensor]:
    """Each point's probability (float32) and instance ``(N,)``, of masks ``(A, N)`` in groups ``(A,)``.

    A point goes to the group whose masks are surest of it on average. Groups with fewer than ``smallest``
    points lose them to others, as do all but the largest ``most``. The largest instance comes first.
    """
    anchors = torch.bincount(group)
    total = masks.new_zeros(len(anchors), masks.shape[1], dtype=torch.float32)
    mean = total.index_add_(0, group, masks.float()) / anchors[:, None]  # a product would be bf16 in autocast
    size = torch.bincount(mean.argmax(0), minlength=len(mean))
    kept = size.argsort(descending=True, stable=True)[:most]
    kept = kept[(size[kept] >= smallest) | (size[kept] == size.max())]
    probability, which = mean[kept].max(0)
    instance, size = torch.unique(which, return_inverse=True, return_counts=True)[1:]
    return probability, size.argsort(descending=True, stable=True).argsort()[instance]
