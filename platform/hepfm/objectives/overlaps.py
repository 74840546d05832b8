"""What visible units of other parts say of a hidden one that they overlap with.

A wire's patch and the image's cells that it crosses hold the same charge. Attention has to find that out, and
tells a query the mean of what it found; here it is told of each voxel on the wire, and where it lies on it.

Legend of shapes: H hidden units, V visible ones, N pieces of these, M pairs that overlap, P axes, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from hepfm.api import Modality, Pieces, Tokens
from hepfm.nn.frame import Frame
from hepfm.nn.init import linear
from hepfm.nn.ragged import offsets_of, segment_sum

WAVELENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of the features of an offset, in frame units."""
MOST_PAIRS = 2**21
"""That are compared at a time: events of many units take time, and no more memory."""


def overlapping(asked: Tokens, told: Tokens) -> tuple[Tensor, Tensor]:
    """``(M,)`` rows of either: units of one event and two parts that overlap along each axis that both have.

    In order of the rows that ask. Units without a common axis do not overlap.
    """
    assert asked.reach is not None
    assert told.reach is not None
    pairs = [torch.empty(2, 0, dtype=torch.int64, device=asked.x.device)]
    for q0, q1, m0, m1 in _pieces(asked.offsets.tolist(), told.offsets.tolist()):
        meets = asked.part[q0:q1, None] != told.part[None, m0:m1]
        common = torch.zeros_like(meets)
        for axis in range(asked.positions.shape[1]):
            apart = (asked.positions[q0:q1, None, axis] - told.positions[None, m0:m1, axis]).abs()
            within = asked.reach[q0:q1, None, axis] + told.reach[None, m0:m1, axis]
            meets &= apart <= within
            common |= within.isfinite()
        q, m = (meets & common).nonzero(as_tuple=True)
        pairs.append(torch.stack((q + q0, m + m0)))
    q, m = torch.cat(pairs, 1)
    return q, m


def _pieces(q_ends: list[int], m_ends: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """First and last of some rows that ask and of all that tell, event by event."""
    for (q0, q1), (m0, m1) in zip(pairwise(q_ends), pairwise(m_ends), strict=True):
        rows = max(1, MOST_PAIRS // max(1, m1 - m0))
        yield from ((first, min(first + rows, q1), m0, m1) for first in range(q0, q1, rows))


class Overlaps(nn.Module):
    """For each hidden unit what the pieces of visible units of other parts say that overlap with it.

    Args:
        width: Of queries, W.
        frame: Where units and pieces lie.
        modalities: Part name to its modality.
    """

    frequency: Tensor

    def __init__(self, width: int, frame: Frame, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.frame, self.width = frame, width
        placed: list[tuple[int, str, Any]] = [
            (i, part, m) for i, (part, m) in enumerate(modalities.items()) if part in frame.placed
        ]
        self.index = {part: i for i, part, _ in placed}
        self.register_buffer("frequency", 2 * torch.pi / torch.tensor(WAVELENGTHS), persistent=False)
        self.says = nn.ModuleDict({part: linear(m.piece_width, width) for _, part, m in placed})
        n_features = frame.n_positions * (2 * len(WAVELENGTHS) + 1)
        self.factor, self.summand = linear(n_features, width), linear(n_features, width)
        nn.init.ones_(self.factor.bias)
        self.count, self.out = linear(1, width), linear(width, width)

    def forward(self, asked: Tokens, told: Tokens, pieces: Mapping[str, Pieces]) -> Tensor:
        """``(H, W)`` to be added to queries.

        Args:
            asked: The hidden units; their ``x`` has no influence.
            told: The visible ones, likewise.
            pieces: Of these, by part.
        """
        assert asked.reach is not None
        message, query = [], []
        q, m = overlapping(asked, told)
        for part, of_part in pieces.items():
            mine = told.part == self.index[part]
            q_part, unit = q[mine[m]], (mine.cumsum(0) - 1)[m[mine[m]]]
            # Of each pair of units all pieces of the visible one; then those that overlap themselves.
            number = torch.bincount(of_part.unit, minlength=int(mine.sum()))
            repeats, first = number[unit], offsets_of(number)[:-1][unit]
            shift = first - offsets_of(repeats)[:-1]
            row = torch.arange(int(repeats.sum()), device=q.device) + shift.repeat_interleave(repeats)
            q_part = q_part.repeat_interleave(repeats)
            positions, reach = self.frame.stack(of_part.places)
            offset, within = positions[row] - asked.positions[q_part], reach[row] + asked.reach[q_part]
            near = (offset.abs() <= within).all(1)
            q_part, row, offset, within = q_part[near], row[near], offset[near], within[near]
            said = self.says[part](of_part.features).index_select(0, row)
            features = self._features(offset, within.isfinite())
            message.append(gelu(said * self.factor(features) + self.summand(features)))
            query.append(q_part)
        rows = torch.cat(query)
        order = rows.argsort(stable=True)
        number = torch.bincount(rows, minlength=len(asked.x))
        total = segment_sum(torch.cat(message).index_select(0, order), offsets_of(number))
        # Their number is told by itself; the sum keeps its size.
        total = total / number.clamp_min(1).sqrt()[:, None].to(total.dtype)
        answer: Tensor = self.out(total) + self.count(number.float().log1p()[:, None])
        return answer

    def _features(self, offset_MP: Tensor, both_MP: Tensor) -> Tensor:
        angle = offset_MP[..., None] * self.frequency
        features = torch.cat((angle.sin(), angle.cos(), torch.ones_like(angle[..., :1])), -1)
        return (features * both_MP[..., None]).flatten(1)
