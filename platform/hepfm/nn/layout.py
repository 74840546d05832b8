"""How the events of a packed batch are grouped for attention; planned once, shared by all layers.

On a CPU, events are padded to a length that follows from their own length alone, and events of equal padded
length are computed together. So what is computed for an event does not depend on its batch-mates, and the
matrix products meet few distinct shapes (each new one costs the CPU's library a compilation).

Legend of shapes: B events, T rows, H heads, C head width, G events of a group, L padded length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from hepfm.nn.ragged import event_index
from hepfm.nn.rows import RowMap

STEP = 16
"""Padded lengths are multiples of this: as many as a vector register holds."""

GROUP_SCORES = 512 * 512
"""Largest number of scores of a group, for each head: more leave the processor's cache."""


@dataclass(frozen=True)
class Group:
    """Events computed together.

    Attributes:
        events: Their indices, G of them.
        padded: Padded length of queries and keys.
        lengths_k: Number of keys of each event.
    """

    events: tuple[int, ...]
    padded: tuple[int, int]
    lengths_k: tuple[int, ...]


class PackedLayout:
    """The events of packed queries and keys, and the plan of their attention.

    Attributes:
        offsets_q: ``(B+1,)`` int64 offsets of the queries.
        offsets_k: ``(B+1,)`` int64 offsets of the keys; by default those of the queries.
        causal: Whether a query sees the keys up to its own number in the event only.
    """

    def __init__(self, offsets_q: Tensor, offsets_k: Tensor | None = None, *, causal: bool = False) -> None:
        assert offsets_k is None or not causal, "of a memory there is no before and after"
        self.causal = causal
        self.offsets_q = offsets_q
        self.offsets_k = offsets_q if offsets_k is None else offsets_k
        self._maps: dict[int, tuple[RowMap, RowMap]] = {}

    @cached_property
    def event(self) -> Tensor:
        """``(T_q,)`` int64, the event of each query."""
        return event_index(self.offsets_q)

    @cached_property
    def lengths(self) -> list[tuple[int, int]]:
        """Number of queries and keys of each event."""
        lengths = torch.stack([self.offsets_q.diff(), self.offsets_k.diff()]).tolist()
        return list(zip(*lengths, strict=True))

    @cached_property
    def cumulative(self) -> tuple[Tensor, Tensor]:
        """Offsets of queries and keys as int32, as CUDA kernels take them."""
        return self.offsets_q.int(), self.offsets_k.int()

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of the events that have both queries and keys."""

        def padded(event: int) -> tuple[int, int]:
            q, k = self.lengths[event]
            return -(-q // STEP) * STEP, -(-k // STEP) * STEP

        events = [event for event, (q, k) in enumerate(self.lengths) if q and k]
        groups = []
        for shape, same in groupby(sorted(events, key=padded), key=padded):
            members = list(same)
            size = max(1, GROUP_SCORES // (shape[0] * shape[1]))
            for start in range(0, len(members), size):
                chunk = tuple(members[start : start + size])
                groups.append(Group(chunk, shape, tuple(self.lengths[event][1] for event in chunk)))
        return groups

    def maps(self, heads: int) -> tuple[RowMap, RowMap]:
        """From packed rows, ``(T, H)`` flattened, to grouped ones, ``(G, H, L)`` flattened: queries, keys."""
        if heads not in self._maps:
            q = _row_map(self.offsets_q, [(g.events, g.padded[0]) for g in self.groups], heads)
            same = self.offsets_k is self.offsets_q
            k = q if same else _row_map(self.offsets_k, [(g.events, g.padded[1]) for g in self.groups], heads)
            self._maps[heads] = q, k
        return self._maps[heads]


def _row_map(offsets: Tensor, groups: list[tuple[tuple[int, ...], int]], heads: int) -> RowMap:
    lengths = offsets.diff()
    head = torch.arange(heads)[None, :, None]
    source, real = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, dtype=torch.bool)]
    for events, padded in groups:
        event = torch.tensor(events)
        row = torch.arange(padded)
        inside = (row < lengths[event, None])[:, None].expand(-1, heads, -1)
        packed = (offsets[event, None] + row)[:, None] * heads + head
        real.append(inside.flatten())
        source.append(packed.flatten().where(real[-1], 0))
    sources, is_real = torch.cat(source), torch.cat(real)
    target = torch.full((int(offsets[-1]) * heads,), -1)
    target[sources[is_real]] = is_real.nonzero()[:, 0]
    return RowMap(sources, (~is_real).nonzero()[:, 0], target.clamp(min=0), (target < 0).nonzero()[:, 0])
