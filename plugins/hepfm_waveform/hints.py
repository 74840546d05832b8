"""What the samples next to a hidden patch say of it: those before and after it, and of the next channels.

Legend: U units, V visible ones, H hidden ones, P samples of a patch, Q known samples, D width.
"""

from __future__ import annotations

import torch
from torch import nn

from hepfm.nn.init import linear
from hepfm_waveform.windows import Windows

DIRECTIONS = 4
"""Of `Windows.around`."""


class Hints(nn.Module):
    """A linear map of each visible neighbour's samples, one for each direction; the maps' values are summed.

    Args:
        point_width: Width of the samples' features.
        d_model: Width of the queries, D.
        patch: Samples of a patch, P.
        width: Width to which samples are reduced before.
    """

    def __init__(self, point_width: int, d_model: int, *, patch: int, width: int = 4) -> None:
        super().__init__()
        self.d_model = d_model
        self.reduce = linear(point_width, width)
        self.towards = nn.ModuleList(linear(patch * width, d_model) for _ in range(DIRECTIONS))

    def forward(self, windows: Windows, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, D)`` from samples' features ``(Q, point_width)`` of visible units ``(U,)`` bool."""
        known = windows.known[visible]
        reduced = self.reduce(points)
        of_unit = reduced.new_zeros(*known.shape, reduced.shape[1])
        of_unit[known] = reduced
        of_unit = of_unit.flatten(1)
        # Where each unit is among the visible ones; -1 for hidden ones and for those that are not there.
        row = torch.cat(
            ((visible.cumsum(0) - 1).where(visible, -1), visible.new_full((1,), -1, dtype=torch.int64))
        )
        around = row[windows.around[~visible]]
        hint: torch.Tensor = reduced.new_zeros(len(around), self.d_model)
        for direction, network in enumerate(self.towards):
            asks = (around[:, direction] >= 0).nonzero()[:, 0]
            hint = hint.index_add(0, asks, network(of_unit[around[asks, direction]]))
        return hint
