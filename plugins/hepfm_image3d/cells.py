"""Voxels grouped into coarse cells by one sort.

Legend: B events, N rows of the table, V occupied voxels, U occupied cells, s voxels along a cell's side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn.functional import pad

from hepfm.nn.ragged import event_index, offsets_of


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Occupied voxels in the order of (event, cell, voxel within the cell), whatever the order of the rows.

    Attributes:
        side: Voxels along a cell's side, s.
        sizes: Cells along x, y and z, one more than an event can occupy: so a neighbour's key across a face
            of the grid is that of an empty cell, never that of another row, plane or event.
        key: ``(U,)`` int64, ascending: ``((event x_size + x) y_size + y) z_size + z``.
        offsets: ``(U+1,)`` int64, the voxels of each cell.
        cell: ``(V,)`` int64, the cell of each voxel.
        sub: ``(V,)`` int64, index of the voxel in its cell, ``(x s + y) s + z``.
        energy_mev: ``(V,)`` float32.
    """

    side: int
    sizes: tuple[int, int, int]
    key: torch.Tensor
    offsets: torch.Tensor
    cell: torch.Tensor
    sub: torch.Tensor
    energy_mev: torch.Tensor

    def __len__(self) -> int:
        return len(self.key)

    def keep(self, mask: torch.Tensor) -> Cells:
        """The cells of a mask ``(U,)`` bool, as if the others had never been there."""
        voxels = mask[self.cell]
        return Cells(
            side=self.side,
            sizes=self.sizes,
            key=self.key[mask],
            offsets=offsets_of(self.offsets.diff()[mask]),
            cell=(mask.cumsum(0) - 1)[self.cell[voxels]],
            sub=self.sub[voxels],
            energy_mev=self.energy_mev[voxels],
        )

    def coarser(self, factor: int) -> tuple[Cells, torch.Tensor]:
        """The same voxels in cells of ``factor`` times the side, and which voxel here each one there is."""
        x_size, y_size, z_size = (-(-size // factor) + 1 for size in self.sizes)
        x, y, z = self.coordinates().div(factor, rounding_mode="floor").unbind(1)
        event = self.key // math.prod(self.sizes)
        key = ((event * x_size + x) * y_size + y) * z_size + z
        key, order = key[self.cell].sort(stable=True)
        first = _first_of_run(key)
        side = self.side * factor
        at = self.voxels()[order] % side
        coarse = Cells(
            side=side,
            sizes=(x_size, y_size, z_size),
            key=key[first],
            offsets=pad(first.nonzero()[:, 0], (0, 1), value=len(key)),
            cell=first.cumsum(0) - 1,
            sub=(at[:, 0] * side + at[:, 1]) * side + at[:, 2],
            energy_mev=self.energy_mev[order],
        )
        return coarse, order

    def coordinates(self) -> torch.Tensor:
        """``(U, 3)`` int64 indices of the cells along x, y, z."""
        x_size, y_size, z_size = self.sizes
        return torch.stack(
            (self.key // (y_size * z_size) % x_size, self.key // z_size % y_size, self.key % z_size), -1
        )

    def voxels(self) -> torch.Tensor:
        """``(V, 3)`` int64 indices of the voxels along x, y, z."""
        return self.coordinates()[self.cell] * self.side + sub_coordinates(self.sub, self.side)

    def places(self) -> torch.Tensor:
        """``(V, 3)`` float32: each voxel's centre from its cell's, in lengths of a cell."""
        return (sub_coordinates(self.sub, self.side).float() + 0.5) / self.side - 0.5

    @cached_property
    def around(self) -> torch.Tensor:
        """``(U, 27)`` int64: the cell at each offset, U where it is empty. Looked up once."""
        device, n_cells = self.key.device, len(self)
        _, y_size, z_size = self.sizes
        offset = forward_offsets().to(device)
        wanted = self.key + ((offset[:, :1] * y_size + offset[:, 1:2]) * z_size + offset[:, 2:])
        found = torch.searchsorted(self.key, wanted)
        key = torch.cat((self.key, self.key.new_full((1,), -1)))
        forward, near = (key[found] == wanted).nonzero(as_tuple=True)
        far = found[forward, near]
        table = self.key.new_full((n_cells, 27), n_cells)
        table[:, 13] = torch.arange(n_cells, device=device)
        table[near, 14 + forward] = far
        table[far, 12 - forward] = near
        return table


def forward_offsets() -> torch.Tensor:
    """``(13, 3)`` int64: half of the 26 offsets to neighbours, those after ``(0, 0, 0)`` in lexical order."""
    return sub_coordinates(torch.arange(14, 27), 3) - 1


def sub_coordinates(sub: torch.Tensor, side: int) -> torch.Tensor:
    """``(..., 3)`` int64: where in its cell a voxel of this index lies, each 0 to ``side - 1``."""
    return torch.stack((sub // (side * side), sub // side % side, sub % side), -1)


def group(
    voxel: torch.Tensor,
    energy_mev: torch.Tensor,
    offsets: torch.Tensor,
    *,
    grid: tuple[int, int, int],
    side: int,
) -> tuple[Cells, torch.Tensor, torch.Tensor]:
    """Groups the voxels of packed events. Rows of one voxel are one voxel, with their summed energy.

    Args:
        voxel: ``(N, 3)`` int64, within the grid.
        energy_mev: ``(N,)`` float32.
        offsets: ``(B+1,)`` int64, rows of each event.
        grid: Voxels along x, y, z.
        side: Voxels along a cell's side.

    Returns:
        The cells, their offsets over the events ``(B+1,)``, and the voxel of each row ``(N,)``.
    """
    x, y, z = (-(-length // side) + 1 for length in grid)
    sizes = x, y, z
    n_events, bits = len(offsets) - 1, (side**3 - 1).bit_length()
    # Of a voxel's key the low bits say where it is in its cell: shifts take the place of divisions. What each
    # coordinate adds to the key is looked up.
    key = event_index(offsets) * (math.prod(sizes) << bits)
    strides = (y * z, z, 1), (side * side, side, 1)
    for axis, (of_cell, of_voxel) in enumerate(zip(*strides, strict=True)):
        at = torch.arange(grid[axis], device=voxel.device)
        key += ((at // side * of_cell << bits) + at % side * of_voxel).index_select(0, voxel[:, axis])
    key, order = key.sort()

    first = _first_of_run(key)
    voxel_of_sorted = first.cumsum(0) - 1
    row = torch.empty_like(order).scatter_(0, order, voxel_of_sorted)
    energy = energy_mev[order]
    if len(unique := key[first]) < len(key):
        # Summed in double precision: then the order of duplicate rows does not show in single precision.
        sums = energy.new_zeros(len(unique), dtype=torch.float64)
        energy = sums.index_add_(0, voxel_of_sorted, energy.double()).float()

    cell_key = unique >> bits
    first = _first_of_run(cell_key)
    cell_of_voxel = first.cumsum(0) - 1
    start = first.nonzero()[:, 0]
    cells = Cells(
        side=side,
        sizes=sizes,
        key=cell_key[first],
        offsets=pad(start, (0, 1), value=len(unique)),
        cell=cell_of_voxel,
        sub=unique & ((1 << bits) - 1),
        energy_mev=energy,
    )
    events = torch.arange(n_events + 1, device=voxel.device)
    return cells, torch.searchsorted(cells.key, events * math.prod(sizes)), row


def _first_of_run(key: torch.Tensor) -> torch.Tensor:
    """Marks where a sorted key differs from the one before it."""
    return torch.cat((key.new_ones(min(len(key), 1), dtype=torch.bool), key[1:] != key[:-1]))
