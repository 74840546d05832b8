"""What visible voxels say of hidden cells near them: where a track enters, and which way it goes.

Legend: U cells, H hidden ones, V visible voxels, P pairs of a voxel and a hidden cell near it, D width.
"""

from __future__ import annotations

import torch
from torch import nn

from hepfm.nn.ragged import offsets_of, segment_max, segment_mean
from hepfm_image3d.cells import Cells, sub_coordinates


class Hints(nn.Module):
    """A point-wise network on voxels and their places as a hidden cell sees them, reduced over the cell.

    A voxel tells every hidden cell that is no further from it than half a cell, rounded down.

    Args:
        point_width: Width of the voxels' features.
        d_model: Width of the queries, D.
        side: Voxels along a cell's side.
    """

    def __init__(self, point_width: int, d_model: int, *, side: int) -> None:
        super().__init__()
        self.side, self.reach = side, side // 2
        self.enter = nn.Linear(point_width, d_model)
        # One vector for each coordinate along each axis; their sum is the place's.
        self.place = nn.Embedding(3 * (side + 2 * self.reach), d_model)
        nn.init.normal_(self.place.weight, std=0.5)
        self.point = nn.Linear(d_model, d_model)
        self.pool = nn.Linear(2 * d_model, d_model)

    def forward(self, cells: Cells, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, D)`` from points ``(V, point_width)`` of visible cells ``(U,)`` bool; zeros without any."""
        voxel, place, cell = near_hidden(cells, visible, self.reach)
        axis = torch.arange(3, device=place.device) * (self.side + 2 * self.reach)
        at = self.place(place + self.reach + axis).sum(1)
        told = self.point(nn.functional.gelu(self.enter(points).index_select(0, voxel) + at))
        offsets = offsets_of(torch.bincount(cell, minlength=int((~visible).sum())))
        pooled = torch.cat((segment_max(told, offsets), segment_mean(told, offsets)), -1)
        hint: torch.Tensor = self.pool(pooled)
        return hint.masked_fill((offsets.diff() == 0)[:, None], 0.0)


def near_hidden(
    cells: Cells, visible: torch.Tensor, reach: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of a visible voxel and a hidden cell, at most ``reach`` voxels outside of it along each axis.

    Returns:
        The voxel among the visible ones ``(P,)``, its place from the cell's corner ``(P, 3)`` in voxels, and
        the cell among the hidden ones ``(P,)``, ascending.
    """
    table = cells.around
    is_hidden = torch.cat((~visible, visible.new_zeros(1)))
    seen = visible[cells.cell]
    own, sub = cells.cell[seen], cells.sub[seen]
    voxel, towards = is_hidden[table][own].nonzero(as_tuple=True)
    step = sub_coordinates(towards, 3) - 1
    place = sub_coordinates(sub[voxel], cells.side) - step * cells.side
    near = ((place >= -reach) & (place < cells.side + reach)).all(-1)
    voxel, towards, place = voxel[near], towards[near], place[near]
    cell = ((~visible).cumsum(0) - 1)[table[own[voxel], towards]]
    cell, order = cell.sort(stable=True)
    return voxel[order], place[order], cell
