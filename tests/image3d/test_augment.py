"""Augmentations are exact symmetries of the detector's grid, drawn for each event by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.random import Draws
from hepfm_image3d.augment import energy_factor, symmetries, transform

CUBE = (24, 24, 24)


def matrix(axes, reverse):
    out = np.zeros((3, 3), dtype=int)
    for i, (axis, flip) in enumerate(zip(axes, reverse, strict=True)):
        out[i, axis] = -1 if flip else 1
    return out


def draws(ids, epoch=0, seed=1):
    return Draws(seed=seed, epoch=epoch, event_ids=torch.tensor(ids))


@pytest.mark.parametrize(
    ("grid", "rotations", "reflections", "order"),
    [
        (CUBE, True, False, 24),
        (CUBE, True, True, 48),
        (CUBE, False, True, 8),
        (CUBE, False, False, 1),
        ((24, 24, 48), True, False, 8),
        ((24, 24, 48), True, True, 16),
        ((12, 24, 48), True, True, 8),
        ((12, 24, 48), True, False, 4),
    ],
)
def test_symmetries_are_a_group_of_known_order(grid, rotations, reflections, order) -> None:
    group = symmetries(grid, rotations=rotations, reflections=reflections)
    matrices = {matrix(*g).tobytes(): matrix(*g) for g in group}
    assert len(group) == len(matrices) == order
    np.testing.assert_array_equal(matrix(*group[0]), np.eye(3))
    for a in matrices.values():
        assert all((a @ b).tobytes() in matrices for b in matrices.values())
        assert reflections or round(np.linalg.det(a)) == 1


@pytest.mark.parametrize("grid", [CUBE, (5, 5, 5), (24, 24, 7)])
def test_a_symmetry_turns_voxels_about_the_grids_centre(grid) -> None:
    group = symmetries(grid, rotations=True, reflections=True)
    rng = np.random.default_rng(0)
    voxel = rng.integers(grid, size=(40, 3))
    centre = (np.array(grid) - 1) / 2
    for k, g in enumerate(group):
        moved = transform(
            torch.from_numpy(voxel), torch.zeros(40, dtype=torch.int64), torch.tensor([k]), grid, group
        )
        np.testing.assert_array_equal(moved.numpy(), (voxel - centre) @ matrix(*g).T + centre)


def test_each_event_takes_its_own_variant_whatever_its_batch(make_modality, make_tables, one_event) -> None:
    modality, tables = make_modality(), make_tables((20, 0, 1, 35, 20))
    ids = [11, 12, 13, 14, 15]
    together = modality.augment(tables, draws(ids))["voxels"]
    for event, event_id in enumerate(ids):
        alone = modality.augment(one_event(tables, event), draws([event_id]))["voxels"]
        for column in ("voxel", "energy_mev"):
            assert torch.equal(together[column][event], alone[column][0])


def test_all_variants_come_up_over_epochs_and_events() -> None:
    group = symmetries(CUBE, rotations=True, reflections=True)
    voxel = torch.tensor([[1, 5, 10]]).repeat(400, 1)
    from hepfm_image3d.augment import choose

    seen = set()
    for epoch in (0, 1):
        choice = choose(draws(list(range(400)), epoch=epoch), len(group))
        moved = transform(voxel, torch.arange(400), choice, CUBE, group)
        seen.add(tuple(map(tuple, moved.tolist())))
        assert len(set(map(tuple, moved.tolist()))) == 48
    assert len(seen) == 2


def test_voxels_and_energies_are_kept(make_modality, make_tables) -> None:
    modality = make_modality(shift_cells=False)
    tables = make_tables()
    found = modality.augment(tables, draws([1, 2, 3, 4]))["voxels"]
    factor = energy_factor(draws([1, 2, 3, 4]), 0.05)
    assert ((factor > 0.95) & (factor < 1.05)).all()
    assert len(set(factor.tolist())) == 4
    for event in (0, 2, 3):
        torch.testing.assert_close(
            found["energy_mev"][event], tables["voxels"]["energy_mev"][event] * factor[event]
        )
        # Distances between voxels are those of the original.
        original, moved = (t["voxel"][event].double() for t in (tables["voxels"], found))
        torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(original, original))
    assert (found.columns["voxel"] >= 0).all()
    assert (found.columns["voxel"] < 24).all()


def test_shifts_move_an_event_as_a_whole_by_less_than_a_cell(make_modality, make_tables) -> None:
    modality = make_modality(rotations=False, reflections=False)
    tables = make_tables()
    moved = modality.augment(tables, draws([1, 2, 3, 4]))["voxels"]
    shift = [
        (moved["voxel"][event] - tables["voxels"]["voxel"][event].long()).unique(dim=0) for event in (0, 2, 3)
    ]
    assert all(len(s) == 1 for s in shift)
    assert all(((s >= 0) & (s < 6)).all() for s in shift)
    assert len({tuple(s[0].tolist()) for s in shift}) == 3
    modality.units({"voxels": moved})


def test_switched_off_it_changes_nothing(make_modality, make_tables) -> None:
    modality = make_modality(rotations=False, reflections=False, shift_cells=False, energy_scale=0.0)
    tables = make_tables()
    found = modality.augment(tables, draws([1, 2, 3, 4]))["voxels"]
    assert torch.equal(found.columns["voxel"], tables["voxels"].columns["voxel"].long())
    assert torch.equal(found.columns["energy_mev"], tables["voxels"].columns["energy_mev"])


def test_cells_turn_with_the_event(make_modality, make_tables) -> None:
    """The grid holds whole cells, so a turned event has the turned cells of the original, with the same voxels."""
    modality = make_modality(shift_cells=False, energy_scale=0.0)
    tables = make_tables((60,))
    turned = modality.augment(tables, draws([5]))
    group = symmetries(CUBE, rotations=True, reflections=True)
    from hepfm_image3d.augment import choose

    before, after = modality.units(tables), modality.units(turned)
    cells = before.payload.cells
    wanted = transform(
        cells.coordinates(),
        torch.zeros(len(cells), dtype=torch.int64),
        choose(draws([5]), len(group)),
        (4, 4, 4),
        group,
    )
    wanted = sorted(zip(map(tuple, wanted.tolist()), cells.offsets.diff().tolist(), strict=True))
    cells = after.payload.cells
    assert wanted == sorted(
        zip(map(tuple, cells.coordinates().tolist()), cells.offsets.diff().tolist(), strict=True)
    )
