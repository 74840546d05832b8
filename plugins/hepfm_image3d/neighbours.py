"""Which occupied voxels touch, and a convolution over them.

Legend: U cells, V voxels, P pairs of voxels that touch by face, edge or corner, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from hepfm_image3d.cells import Cells, forward_offsets, sub_coordinates

N_FORWARD = 13
"""`forward_offsets` are half of the neighbours; the others are the same pairs seen from the other side."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of occupied voxels that touch, grouped by offset.

    Attributes:
        near: ``(P,)`` int64.
        far: ``(P,)`` int64, the voxel at the offset from ``near``.
        counts: Pairs of each of the 13 offsets.
    """

    near: torch.Tensor
    far: torch.Tensor
    counts: list[int]


def touching(cells: Cells) -> Pairs:
    """Finds all pairs of voxels that touch.

    An occupied cell is a dense block of slots, so a voxel is found by its cell and its place in it: only
    cells are searched for, and they are few.
    """
    device, volume, n_voxels = cells.key.device, cells.side**3, len(cells.sub)
    step, place = (table.to(device) for table in _moves(cells.side))
    voxel_at = torch.full(((len(cells) + 1) * volume,), -1, dtype=torch.int32, device=device)
    start = cells.cell * volume
    voxel_at[start + cells.sub] = torch.arange(n_voxels, dtype=torch.int32, device=device)

    block = (cells.around * volume).flatten()
    slot = block[(cells.cell * 27) + step[:, cells.sub]] + place[:, cells.sub]
    far = voxel_at[slot]
    offset, near = (far >= 0).nonzero(as_tuple=True)
    counts = torch.bincount(offset, minlength=N_FORWARD)
    return Pairs(near=near, far=far[offset, near].long(), counts=counts.tolist())


@cache
def _moves(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``(13, s^3)`` each: from a place in a cell, the cell stepped into (of 27) and the place in it."""
    place = sub_coordinates(torch.arange(side**3), side) + forward_offsets()[:, None]
    step, place = place.div(side, rounding_mode="floor") + 1, place % side
    return (
        (step[..., 0] * 3 + step[..., 1]) * 3 + step[..., 2],
        (place[..., 0] * side + place[..., 1]) * side + place[..., 2],
    )


class Convolution(nn.Module):
    """A 3 x 3 x 3 convolution over occupied voxels, at occupied voxels (submanifold, Graham et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.centre = nn.Linear(width, width)
        self.weight = nn.Parameter(torch.empty(2 * N_FORWARD, width, width))
        # Some three neighbours are there: their sum has the scale of the centre's term.
        nn.init.normal_(self.weight, std=(3 * width) ** -0.5)

    def forward(self, x: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``(V, C)`` to ``(V, C)``."""
        centre = self.centre(x)
        dtype, device = centre.dtype, x.device.type
        with torch.autocast(device, enabled=False):
            around = _Convolve.apply(  # type: ignore[no-untyped-call]
                x.to(dtype), self.weight.to(dtype), pairs.near, pairs.far, pairs.counts
            )
        update: torch.Tensor = centre + around
        return update


class _Convolve(torch.autograd.Function):
    """Each offset: gather its pairs, one matrix product, add to the pairs' other ends.

    Of 26 places around a voxel of a track some three are filled: pairs cost a tenth of a dense gather.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        near: torch.Tensor,
        far: torch.Tensor,
        counts: list[int],
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, near, far)
        ctx.counts = counts
        out = x.new_zeros(len(x), weight.shape[2])
        for k, (i, j) in enumerate(zip(torch.split(near, counts), torch.split(far, counts), strict=True)):
            out.index_add_(0, i, x.index_select(0, j) @ weight[k])
            out.index_add_(0, j, x.index_select(0, i) @ weight[N_FORWARD + k])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        x, weight, near, far = ctx.saved_tensors
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        for k, (i, j) in enumerate(
            zip(torch.split(near, ctx.counts), torch.split(far, ctx.counts), strict=True)
        ):
            grad_i, grad_j = grad.index_select(0, i), grad.index_select(0, j)
            grad_x.index_add_(0, j, grad_i @ weight[k].t())
            grad_x.index_add_(0, i, grad_j @ weight[N_FORWARD + k].t())
            grad_weight[k] = x.index_select(0, j).t() @ grad_i
            grad_weight[N_FORWARD + k] = x.index_select(0, i).t() @ grad_j
        return grad_x, grad_weight, None, None, None
