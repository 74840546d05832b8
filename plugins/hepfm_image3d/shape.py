"""How the charge around each voxel lies: its amount, spread and direction, and where in it the voxel is.

A voxel beside a track differs from one on it by its distance from the local axis: this tells delta electrons.

Legend: U cells, V voxels, S scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hepfm.nn.ragged import segment_sum
from hepfm_image3d.cells import Cells, sub_coordinates

SHAPE_WIDTH = 17
"""Features of a voxel that `local_shape` gives."""


@torch.no_grad()
def shapes(cells: Cells, energy: torch.Tensor, scales: Sequence[int]) -> torch.Tensor:
    """``(V, 17 S)`` float32: `local_shape` in cells of each of S multiples of a cell's side, side by side.

    What ends or branches off is told by lengths of its own size: a delta electron by a cell's, a Michel
    electron at the end of its muon by several.
    """
    found = energy.new_empty(len(energy), len(scales), SHAPE_WIDTH)
    for i, scale in enumerate(scales):
        coarse, order = cells.coarser(scale)
        found[order, i] = local_shape(coarse, energy[order])
    return found.flatten(1)


@torch.no_grad()
def local_shape(cells: Cells, energy: torch.Tensor) -> torch.Tensor:
    """``(V, 17)`` float32 moments of the voxels around each one, scaled to order one.

    A cell counts by how near its centre is to the voxel, a quadratic spline that ends 1.5 cells from it: none
    enters or leaves with a jump. Cells' moments are summed: the cost does not grow with the voxels nearby.

    With d the vector from the voxel to the centre of what is around it, and C the covariance of the places,
    both in lengths of a cell, the features say:

    - 0, 1: logarithm of the number of voxels; their mean energy;
    - 2, 3: linearity ``|C| / tr C``, which is 1 for a line; size ``sqrt(tr C)``;
    - 4, 5: thickness ``det(C)^(1/3)``, which is 0 for a line or plane, over ``tr C``; its root;
    - 6, 7: length of d along the local axis, and off it;
    - 8 to 10: d; 11 to 16: the upper triangle of C over ``tr C``.

    The first eight stay the same where axes are exchanged. The lengths do without eigenvectors, which jump:
    ``d C d / tr C`` is the square of d's part along the axis of a line.

    Args:
        cells: The voxels.
        energy: ``(V,)`` float32 on a map of order one.
    """
    # Differences of moments: in half precision nothing would be left of them.
    with torch.autocast(energy.device.type, enabled=False):
        count, mean, centre, covariance = _moments(cells, energy.float())
    xx, xy, xz, yy, yz, zz = covariance.unbind(1)
    x, y, z = centre.unbind(1)
    trace = (xx + yy + zz).clamp_min(1e-4)
    norm = (xx * xx + yy * yy + zz * zz + 2 * (xy * xy + xz * xz + yz * yz)).sqrt()
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    # A plane's is zero up to rounding, which a root would blow up.
    thickness = (determinant.clamp_min(0) + 1e-6).pow(1 / 3)
    quadratic = xx * x * x + yy * y * y + zz * z * z + 2 * (xy * x * y + xz * x * z + yz * y * z)
    along = (quadratic / trace).clamp_min(0)
    off = (centre.square().sum(1) - along).clamp_min(0)
    scalars = (
        count.log() - 3,
        mean,
        5 * (norm / trace - 0.8),
        2 * trace.sqrt() - 1,
        # A ball has 1/3; the floor of a few voxels' thickness would go beyond.
        6 * (thickness / trace).clamp_max(1 / 3) - 1,
        5 * thickness.sqrt() - 1,
        2 * along.sqrt() - 0.5,
        5 * off.sqrt() - 1,
    )
    return torch.cat((torch.stack(scalars, 1), 3 * centre, 3 * covariance / trace[:, None]), 1)


def _moments(
    cells: Cells, energy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Number and mean energy ``(V,)``, centre from the voxel ``(V, 3)``, covariance ``(V, 6)``; in cells."""
    place = cells.places()
    one = torch.ones_like(energy)[:, None]
    moments = torch.cat((one, energy[:, None], place, _products(place, place)), 1)
    of_cell = segment_sum(moments, cells.offsets)
    around = torch.cat((of_cell, of_cell.new_zeros(1, moments.shape[1])))[cells.around]
    number, charge, first, second = torch.split(around, [1, 1, 3, 6], -1)
    step = (sub_coordinates(torch.arange(27, device=place.device), 3) - 1).float()
    # Of (p + step) (p + step): moments about the centre of the voxel's own cell.
    second = second + _products(first, step) + _products(step, first) + number * _products(step, step)
    around = torch.cat((number, charge, first + number * step, second), -1)

    distance = (place[:, None] - torch.arange(-1.0, 2.0, device=place.device)[:, None]).abs()
    spline = torch.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance).clamp_min(0) ** 2)
    x, y, z = spline.unbind(-1)
    weight = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)
    total = torch.bmm(weight[:, None], around.index_select(0, cells.cell))[:, 0]
    count = total[:, 0]
    energy_mean, centre, second = torch.split(total[:, 1:] / count[:, None], [1, 3, 6], 1)
    return count, energy_mean[:, 0], centre - place, second - _products(centre, centre)


def _products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``(..., 6)`` upper triangle of ``a b^T`` for vectors ``(..., 3)``."""
    (ax, ay, az), (bx, by, bz) = a.unbind(-1), b.unbind(-1)
    return torch.stack((ax * bx, ax * by, ax * bz, ay * by, ay * bz, az * bz), -1)
