"""What visible units of other parts say of a hidden one that they overlap with.

A wire's patch and the image's cells that it crosses hold the same charge. Attention has to find that out, and
tells a query the mean of what it found; here it is told of each such unit, and from where it speaks.

Legend of shapes: H hidden units, V visible ones, M pairs that overlap, P axes, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from hepfm.api import Tokens
from hepfm.nn.init import linear
from hepfm.nn.ragged import offsets_of, segment_mean

WAVELENGTHS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Of the features of an offset, in frame units."""


def overlapping(asked: Tokens, told: Tokens) -> tuple[Tensor, Tensor]:
    """``(M,)`` rows of either: units of one event and two parts that overlap along each axis that both have.

    In order of the rows that ask. Units without a common axis do not overlap.
    """
    assert asked.reach is not None
    assert told.reach is not None
    pairs = [torch.empty(2, 0, dtype=torch.int64, device=asked.x.device)]
    q_ends, m_ends = asked.offsets.tolist(), told.offsets.tolist()
    for q0, q1, m0, m1 in zip(q_ends, q_ends[1:], m_ends, m_ends[1:], strict=False):
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


class Overlaps(nn.Module):
    """For each hidden unit the mean of what the visible units of other parts say that overlap with it.

    Args:
        width: Of queries and memory, W.
        n_axes: Number of axes, P.
    """

    def __init__(self, width: int, n_axes: int) -> None:
        super().__init__()
        self.register_buffer("frequency", 2 * torch.pi / torch.tensor(WAVELENGTHS), persistent=False)
        self.says = linear(width, width)
        n_features = n_axes * (2 * len(WAVELENGTHS) + 1)
        self.factor, self.summand = linear(n_features, width), linear(n_features, width)
        nn.init.ones_(self.factor.bias)
        self.count = linear(1, width)
        self.out = linear(width, width)

    def forward(self, asked: Tokens, memory: Tensor, told: Tokens) -> Tensor:
        """``(H, W)`` to be added to queries.

        Args:
            asked: The hidden units; their ``x`` has no influence.
            memory: ``(V, W)``, what is known of the visible ones.
            told: Where these lie.
        """
        q, m = overlapping(asked, told)
        offset_MP = told.positions[m] - asked.positions[q]
        both_MP = (told.reach[m] + asked.reach[q]).isfinite()
        angle = offset_MP[..., None] * self.frequency
        features = torch.cat((angle.sin(), angle.cos(), torch.ones_like(angle[..., :1])), -1)
        features = (features * both_MP[..., None]).flatten(1)
        said = self.says(memory).index_select(0, m)
        message = gelu(said * self.factor(features) + self.summand(features))
        number = torch.bincount(q, minlength=len(asked.x))
        mean = segment_mean(message, offsets_of(number))
        answer: Tensor = self.out(mean) + self.count(number.float().log1p()[:, None])
        return answer
