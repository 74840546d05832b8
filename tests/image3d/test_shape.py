"""Local moments against brute force in float64 and against lines, planes and rotations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm_image3d.cells import group
from hepfm_image3d.shape import SHAPE_WIDTH, local_shape, shapes

GRID, SIDE = (48, 48, 48), 6


def cells_of(voxel, energy=None, side=SIDE):
    """Cells of one event, and the voxel of each row."""
    voxel = torch.as_tensor(np.asarray(voxel)).long()
    energy = torch.ones(len(voxel)) if energy is None else torch.as_tensor(energy).float()
    cells, _, row = group(voxel, energy, torch.tensor([0, len(voxel)]), grid=GRID, side=side)
    return cells, row


def shape_of(voxel, energy=None):
    """Features in the order of the rows."""
    cells, row = cells_of(voxel, energy)
    return local_shape(cells, cells.energy_mev)[row]


def spline(distance):
    distance = np.abs(distance)
    return np.where(distance < 0.5, 0.75 - distance**2, 0.5 * np.clip(1.5 - distance, 0, None) ** 2)


def brute_force(voxel, energy):
    """From each voxel's weighted neighbours themselves, by eigenvectors, in units of cells."""
    found = []
    for own in voxel:
        # Cells of the 27 around the voxel's own one are within the spline's reach, and no others.
        offset = (voxel - own) / SIDE
        place = (own % SIDE + 0.5) / SIDE - 0.5
        centre_of_cell = (voxel // SIDE - own // SIDE) - place
        weight = spline(centre_of_cell).prod(1)
        mean = (weight[:, None] * offset).sum(0) / weight.sum()
        spread = (weight[:, None, None] * (offset[:, :, None] * offset[:, None])).sum(0) / weight.sum()
        covariance = spread - np.outer(mean, mean)
        found.append((weight.sum(), (weight * energy).sum() / weight.sum(), mean, covariance))
    return found


def test_moments_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    voxel = np.unique(rng.normal(24, 6, (300, 3)).round().astype(int).clip(0, 47), axis=0)
    energy = rng.exponential(1, len(voxel)).astype(np.float32)
    shape = shape_of(voxel, energy).double().numpy()
    for row, (count, mean, centre, covariance) in zip(shape, brute_force(voxel, energy), strict=True):
        eigenvalues = np.linalg.eigvalsh(covariance).clip(0)
        trace = eigenvalues.sum()
        np.testing.assert_allclose(row[0] + 3, np.log(count), atol=1e-5)
        np.testing.assert_allclose(row[1], mean, rtol=1e-5)
        np.testing.assert_allclose((row[3] + 1) / 2, np.sqrt(trace), atol=1e-5)
        np.testing.assert_allclose(row[2] / 5 + 0.8, np.sqrt((eigenvalues**2).sum()) / trace, atol=1e-5)
        thickness = (eigenvalues.prod() + 1e-6) ** (1 / 3)
        np.testing.assert_allclose((row[4] + 1) / 6 * trace, min(thickness, trace / 3), atol=3e-5)
        np.testing.assert_allclose((row[5] + 1) / 5, np.sqrt(thickness), atol=1e-3)
        along = centre @ covariance @ centre / trace
        np.testing.assert_allclose((row[6] + 0.5) / 2, np.sqrt(along), atol=1e-4)
        np.testing.assert_allclose(((row[7] + 1) / 5) ** 2, centre @ centre - along, atol=1e-5)
        np.testing.assert_allclose(row[8:11] / 3, centre, atol=1e-5)
        upper = covariance[np.triu_indices(3)] / trace
        np.testing.assert_allclose(row[11:] / 3, upper, atol=1e-5)


def test_shapes_at_several_scales_are_those_in_cells_of_these_sides() -> None:
    rng = np.random.default_rng(3)
    voxel = np.unique(rng.normal(24, 8, (300, 3)).round().astype(int).clip(0, 47), axis=0)
    energy = rng.exponential(1, len(voxel))
    cells, row = cells_of(voxel, energy)
    found = shapes(cells, cells.energy_mev, (1, 2, 4))[row]
    for scale, shape in zip((1, 2, 4), found.split(SHAPE_WIDTH, 1), strict=True):
        larger, row = cells_of(voxel, energy, side=SIDE * scale)
        torch.testing.assert_close(shape, local_shape(larger, larger.energy_mev)[row], atol=2e-4, rtol=2e-4)


def test_a_straight_line_has_no_thickness_and_a_voxel_beside_it_is_off_its_axis() -> None:
    line = [[x, 20, 20] for x in range(12, 36)]
    shape = shape_of([*line, [24, 23, 20]])
    alone = shape_of(line)
    on, beside = shape[12], shape[-1]
    torch.testing.assert_close(alone[:, 2], torch.full((24,), 5 * (1 - 0.8)))  # all spread along one axis
    torch.testing.assert_close(alone[:, 5], torch.full((24,), 5 * 1e-6 ** (1 / 6) - 1), atol=1e-2, rtol=0)
    torch.testing.assert_close(alone[:, 7], torch.full((24,), -1.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(alone[12, 11:] / 3, torch.tensor([1.0, 0, 0, 0, 0, 0]), atol=1e-4, rtol=0)
    # Three voxels of six to a cell: half a cell, less the pull of the voxel itself on the centre.
    assert 0.4 < (beside[7] + 1) / 5 < 0.5
    assert (on[7] + 1) / 5 < 0.1


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "plane"])
@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 0, 1)])
def test_scalars_survive_a_change_of_axes_and_vectors_follow_it(axes, flat) -> None:
    """In a plane the determinant is zero: no root of its rounding may show."""
    rng = np.random.default_rng(1)
    voxel = rng.integers(12, 30, (200, 3))
    if flat:
        voxel[:, 2] = voxel[:, 0] + voxel[:, 1] - 20
    voxel = np.unique(voxel, axis=0)
    shape, turned = shape_of(voxel), shape_of(voxel[:, list(axes)])
    torch.testing.assert_close(turned[:, :8], shape[:, :8], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(turned[:, 8:11], shape[:, 8:11][:, list(axes)], atol=1e-4, rtol=1e-4)


def test_a_lone_voxel_and_none_are_finite() -> None:
    lone = shape_of([[5, 5, 5]])
    assert lone.abs().max() < 10, "of order one, whatever is divided by"
    assert shape_of(np.zeros((0, 3), int)).shape == (0, SHAPE_WIDTH)


def test_half_precision_around_it_changes_nothing() -> None:
    """Moments are differences of large numbers: autocast must not reach them."""
    rng = np.random.default_rng(2)
    cells, _ = cells_of(np.unique(rng.integers(0, 48, (400, 3)), axis=0))
    plain = local_shape(cells, cells.energy_mev)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(local_shape(cells, cells.energy_mev), plain)
