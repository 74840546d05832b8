"""Masks of instances from anchors: which points of an event belong with one of them.

A query is made of an anchor, one point of an event. Its mask is a product of the query with an embedding of
each point, half of it turned by where the two lie, and falls with distances from the anchor, from the axis of
what is near it, and from middle and axis of the mask before. Layers refine the query by attention to the
event's tokens, and by what its mask covers (as k-means does clusters' centres; Yu et al., ECCV 2022).

Legend of shapes: N points of one event, A anchors, D width, P position axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from hepfm.api import Tokens
from hepfm.nn.init import linear
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import event_index
from hepfm.nn.rotary import rotate, rotations
from hepfm.nn.transformer import Block
from hepfm_tasks.places import DISTANCES, Places, directions

HEADS = 4
"""Of attention to tokens."""


class MaskDecoder(nn.Module):
    """Queries of anchors, and their masks.

    Args:
        width: D.
        layers: Refinements of a query.
        d_tokens: Width of the tokens that queries attend to.
    """

    def __init__(self, width: int, layers: int, d_tokens: int) -> None:
        super().__init__()
        self.width = width
        self.memory = nn.Sequential(nn.LayerNorm(d_tokens), linear(d_tokens, width), nn.LayerNorm(width))
        self.query = nn.Sequential(linear(width, width), nn.GELU(), linear(width, width))
        self.blocks = nn.ModuleList(
            Block(width, HEADS, layer=layer + 1, n_layers=layers, cross=True) for layer in range(layers)
        )
        self.turns = nn.ModuleList(Turn(width) for _ in range(layers))
        self.key = linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.mask = linear(width, 2 * width + 1 + DISTANCES)
        self.scale = (2 * width) ** -0.5
        with torch.no_grad():
            # At first, what is near belongs together.
            self.mask.bias[2 * width :] = torch.tensor([2.0, 0.5, -2.0, -2.0, -2.0])

    def forward(self, points: Tokens, tokens: Tokens, anchors: Tensor, offsets: Tensor) -> list[list[Tensor]]:
        """Logits ``(A, N)`` of the masks: for each layer, the first ones too, those of each event.

        Args:
            points: ``x (N, D)``.
            tokens: What queries attend to.
            anchors: ``(A,)`` int64 rows of the points, events in order.
            offsets: ``(B+1,)`` of the anchors.
        """
        width = self.width
        lengths, n_anchors = points.offsets.diff().tolist(), offsets.diff().tolist()
        positions, rows = points.positions.float(), anchors - points.offsets[:-1][event_index(offsets)]
        places = [*map(Places, torch.split(positions, lengths), torch.split(rows, n_anchors))]
        memory, layout = self.memory(tokens.x), PackedLayout(offsets, tokens.offsets)
        there = rotations(tokens.positions, width // HEADS)
        here = rotations(positions[anchors], width // HEADS)
        turn = rotations(directions(positions), width)
        keys = self.key(points.x).float() * self.scale
        keys = torch.cat((keys[:, :width], rotate(keys[:, None, width:], turn)[:, 0]), 1)
        of_event = [*zip(places, torch.split(keys, lengths), torch.split(points.x, lengths), strict=True)]

        def masks(queries: Tensor, before: list[Tensor] | None) -> list[Tensor]:
            made = self.mask(self.norm(queries)).float()
            turned = rotate(made[:, None, width : 2 * width], turn[anchors])[:, 0]
            made = torch.cat((made[:, :width], turned, made[:, 2 * width :]), 1)
            logits = []
            for event, mine in enumerate(torch.split(made, n_anchors)):
                place, key, _ = of_event[event]
                query, bias, fall = mine.split_with_sizes((2 * width, 1, DISTANCES), 1)
                distances = place.distances(None if before is None else before[event])
                farther = softplus(fall)[:, None] @ distances
                logits.append(query @ key.T + bias - farther[:, 0])
            return logits

        queries = self.query(points.x[anchors])
        logits = [masks(queries, None)]
        for block, refined in zip(self.blocks, self.turns, strict=True):
            queries = block(queries, layout, here, memory=memory, memory_rotation=there)
            weights = [each.sigmoid() for each in logits[-1]]
            means = [
                (weight / weight.sum(1, keepdim=True).clamp(min=1e-6)) @ x
                for (_, _, x), weight in zip(of_event, weights, strict=True)
            ]
            queries = refined(queries, torch.cat([queries[:0], *means]))
            logits.append(masks(queries, logits[-1]))
        return logits


class Turn(nn.Module):
    """One refinement of queries by the mean of the points that their masks cover."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.enter, self.leave = linear(2 * width, 2 * width), linear(2 * width, width)

    def forward(self, queries: Tensor, means: Tensor) -> Tensor:
        """``(A, D)`` for queries ``(A, D)`` and means of the points they cover ``(A, D)``."""
        joined = self.norm(torch.cat((queries, means), 1))
        refined: Tensor = queries + self.leave(gelu(self.enter(joined)))
        return refined
