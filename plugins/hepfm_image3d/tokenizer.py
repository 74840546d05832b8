"""From voxels to one token a cell, and back to features of each voxel.

Legend: N rows, V voxels (in the contract of a tokenizer: points), U cells, C and W widths, D model width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hepfm.api import Ragged, Units
from hepfm.nn.position import PositionEmbedding
from hepfm.nn.ragged import segment_max, segment_mean
from hepfm_image3d.cells import Cells
from hepfm_image3d.energy import EnergyMap
from hepfm_image3d.neighbours import Convolution, Pairs, touching
from hepfm_image3d.shape import SHAPE_WIDTH, shapes


@dataclass(frozen=True, kw_only=True)
class Image:
    """What the units of an image carry.

    Attributes:
        cells: The occupied cells and their voxels.
        row: ``(N,)`` int64, the voxel of each row of the table.
        row_offsets: ``(B+1,)`` int64.
    """

    cells: Cells
    row: torch.Tensor
    row_offsets: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Voxels:
    """Voxels of visible cells.

    Attributes:
        cells: The visible cells.
        pairs: Those of their voxels that touch.
        x: ``(V, C)`` what is known of each voxel from those around it.
    """

    cells: Cells
    pairs: Pairs
    x: torch.Tensor


class VoxelLayer(nn.Module):
    """What a voxel learns from the voxels that touch it: a pre-norm residual layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.around = Convolution(width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``(V, C)`` to ``(V, C)``."""
        update: torch.Tensor = self.out(nn.functional.gelu(self.around(self.norm(x), pairs)))
        return x + update


class CellTokenizer(nn.Module):
    """Voxel layers over touching voxels, then a point-wise network reduced over each cell (PointNet).

    A hidden cell's voxels are taken away before anything is looked up around a voxel: they have no influence.
    """

    def __init__(
        self,
        d_model: int,
        *,
        side: int,
        energy: EnergyMap,
        voxel_width: int,
        voxel_layers: int,
        pool_width: int,
        point_width: int,
        point_layers: int,
        shape_scales: Sequence[int],
    ) -> None:
        super().__init__()
        self.shape_scales = tuple(shape_scales)
        shape_width = SHAPE_WIDTH * len(self.shape_scales)
        self.energy = energy
        self.lift = nn.Sequential(
            nn.Linear(1 + shape_width, voxel_width), nn.GELU(), nn.Linear(voxel_width, voxel_width)
        )
        self.layers = nn.ModuleList(VoxelLayer(voxel_width) for _ in range(voxel_layers))
        self.norm = nn.LayerNorm(voxel_width)
        # A vector for each place, as a patch embedding has: which voxels are filled can be read off a token.
        self.place = nn.Embedding(side**3, pool_width)
        nn.init.normal_(self.place.weight, std=0.5)
        self.enter = nn.Linear(voxel_width + 1, pool_width)
        self.point = nn.Sequential(nn.GELU(), nn.Linear(pool_width, pool_width))
        self.pool = nn.Linear(2 * pool_width, d_model)
        self.position = PositionEmbedding(3, d_model)
        self.join = nn.Linear(d_model + shape_width + voxel_width + pool_width, point_width)
        self.point_width = point_width
        # What a token says of a place is as coarse as its cell; where a particle ends is seen voxel by voxel.
        self.narrow = nn.Linear(point_width, pool_width)
        self.refine = nn.ModuleList(VoxelLayer(pool_width) for _ in range(point_layers))
        self.widen = nn.Sequential(nn.LayerNorm(pool_width), nn.Linear(pool_width, point_width))

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, Voxels]:
        """``(U, d_model)`` of the visible cells, and their voxels: see `hepfm.api.Tokenizer`."""
        cells = units.payload.cells.keep(visible)
        energy = self.energy.centred(cells.energy_mev)
        shape = shapes(cells, energy, self.shape_scales)
        pairs = touching(cells)
        x = self.lift(torch.cat((energy[:, None], shape), -1))
        for layer in self.layers:
            x = layer(x, pairs)
        x = self.norm(x)
        point = self.point(self.enter(torch.cat((x, energy[:, None]), -1)) + self.place(cells.sub))
        pooled = torch.cat((segment_max(point, cells.offsets), segment_mean(point, cells.offsets)), -1)
        token: torch.Tensor = self.pool(pooled) + self.position(units.positions[visible])
        return token, Voxels(cells=cells, pairs=pairs, x=torch.cat((shape, x, point), -1))

    def spread(self, points: Voxels, x: torch.Tensor) -> torch.Tensor:
        """Cells' values at their voxels, trilinear between the centres of cells."""
        return interpolate(points.cells, x)

    def unit(self, points: Voxels) -> torch.Tensor:
        """The cell of each voxel (`hepfm.api.Containing`)."""
        return points.cells.cell

    def features(self, points: Voxels, x: torch.Tensor) -> torch.Tensor:
        """``(V, point_width)``: what is around a voxel, joined with its event's tokens at its place."""
        joined = nn.functional.gelu(self.join(torch.cat((self.spread(points, x), points.x), -1)))
        fine = self.narrow(joined)
        for layer in self.refine:
            fine = layer(fine, points.pairs)
        refined: torch.Tensor = joined + self.widen(fine)
        return refined

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Each row has the values of its voxel."""
        image: Image = units.payload
        return Ragged(values.index_select(0, image.row), image.row_offsets)


def interpolate(cells: Cells, x: torch.Tensor) -> torch.Tensor:
    """``(V, W)``: cells' values ``(U, W)`` at their voxels, trilinear between centres of occupied cells."""
    place = cells.places()
    towards, fraction = torch.where(place < 0, -1, 1), place.abs()
    total, norm = x.new_zeros(len(place), x.shape[1]), place.new_zeros(len(place), 1)
    for corner in itertools.product((0, 1), repeat=3):
        beyond = torch.tensor(corner, device=x.device)
        step = towards * beyond + 1
        cell = cells.around[cells.cell, (step[:, 0] * 3 + step[:, 1]) * 3 + step[:, 2]]
        there = cell < len(cells)
        weight = torch.where(beyond > 0, fraction, 1.0 - fraction).prod(-1) * there
        total = total + weight[:, None].to(x.dtype) * x.index_select(0, torch.where(there, cell, cells.cell))
        norm = norm + weight[:, None]
    return total / norm.to(x.dtype)
