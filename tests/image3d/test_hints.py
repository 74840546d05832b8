"""Hints come from the visible voxels near a hidden cell, from all of them and from no others."""

from __future__ import annotations

import itertools

import torch

from hepfm.api import RaggedTable
from hepfm_image3d.hints import Hints, near_hidden

WIDTH = 8


def hints_of(units, visible):
    torch.manual_seed(0)
    cells = units.payload.cells
    points = torch.randn(len(cells.sub), WIDTH)[visible[cells.cell]]
    return Hints(WIDTH, 16, side=cells.side), cells, points


def some(units, share=0.4):
    return torch.rand(len(units.positions), generator=torch.Generator().manual_seed(3)) < share


def test_pairs_equal_brute_force(make_modality, make_tables) -> None:
    units = make_modality().units(make_tables((200, 0, 1, 150)))
    visible = some(units)
    cells = units.payload.cells
    event = torch.repeat_interleave(torch.arange(len(units.offsets) - 1), units.offsets.diff())
    corner, voxel = cells.coordinates() * cells.side, cells.voxels()
    seen, hidden = visible[cells.cell].nonzero()[:, 0].tolist(), (~visible).nonzero()[:, 0].tolist()
    wanted = set()
    for (h, cell), (v, point) in itertools.product(enumerate(hidden), enumerate(seen)):
        place = (voxel[point] - corner[cell]).tolist()
        if event[cell] == event[cells.cell[point]] and all(-3 <= p < cells.side + 3 for p in place):
            wanted.add((h, v, *place))
    near, place, cell = near_hidden(cells, visible, 3)
    assert cell.tolist() == sorted(cell.tolist())
    found = list(zip(cell.tolist(), near.tolist(), *place.T.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert set(found) == wanted
    assert len(wanted) > 50


def test_a_cell_far_from_what_is_visible_gets_none(make_modality) -> None:
    columns = {
        "voxel": torch.tensor([[5, 1, 1], [6, 1, 1], [13, 1, 1], [28, 1, 1]]),
        "energy_mev": torch.ones(4),
    }
    units = make_modality().units({"voxels": RaggedTable(columns, torch.tensor([0, 4]))})
    visible = torch.tensor([True, False, False, False])
    network, cells, points = hints_of(units, visible)
    found = network(cells, visible, points)
    assert found.any(1).tolist() == [True, False, False]
    assert torch.equal(found[1:], torch.zeros(2, 16))


def test_hints_know_where_a_voxel_is_and_what_it_says(make_modality) -> None:
    modality = make_modality()

    def hint(x, scale):
        columns = {"voxel": torch.tensor([[x, 1, 1], [6, 1, 1]]), "energy_mev": torch.ones(2)}
        units = modality.units({"voxels": RaggedTable(columns, torch.tensor([0, 2]))})
        visible = torch.tensor([True, False])
        network, cells, points = hints_of(units, visible)
        return network(cells, visible, scale * points)

    assert not torch.allclose(hint(5, 1.0), hint(4, 1.0))
    assert not torch.allclose(hint(5, 1.0), hint(5, 2.0))


def test_nothing_hidden_nothing_visible_and_no_events_connect_every_parameter(
    make_modality, make_tables
) -> None:
    for lengths, all_seen in itertools.product(((), (0,), (5,)), (True, False)):
        units = make_modality().units(make_tables(lengths))
        visible = torch.full((len(units.positions),), all_seen)
        network, cells, points = hints_of(units, visible)
        found = network(cells, visible, points)
        assert found.shape == (int((~visible).sum()), 16)
        assert not found.any()
        found.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in network.parameters())
