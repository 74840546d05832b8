"""Tokens and per-voxel features: what may influence them, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hepfm.api import RaggedTable
from hepfm_image3d.tokenizer import interpolate

EVERY = 1e-5


@pytest.fixture
def tokenizer(make_modality):
    torch.manual_seed(0)
    return make_modality().tokenizer(32)


def tokens_of(tokenizer, units, visible):
    return tokenizer(units, visible)[0]


def points_of(tokenizer, units, x):
    """Tokens spread to the rows, and features of the rows' voxels, for encoded tokens x."""
    _, points = tokenizer(units, everything(units))
    values = torch.cat((tokenizer.spread(points, x), tokenizer.features(points, x)), 1)
    return tokenizer.rows(units, values).values


def everything(units):
    return torch.ones(len(units.positions), dtype=torch.bool)


def some(units, share=0.4):
    return torch.rand(len(units.positions), generator=torch.Generator().manual_seed(3)) < share


def test_tokens_do_not_depend_on_the_order_of_rows(make_modality, make_tables, shuffled, tokenizer) -> None:
    modality, tables = make_modality(), make_tables()
    other, rows = shuffled(tables)
    units, units_other = modality.units(tables), modality.units(other)
    assert torch.equal(units.positions, units_other.positions)
    visible = some(units)
    torch.testing.assert_close(
        tokens_of(tokenizer, units, visible),
        tokens_of(tokenizer, units_other, visible),
        rtol=EVERY,
        atol=EVERY,
    )
    x = torch.randn(len(units.positions), 32)
    torch.testing.assert_close(
        points_of(tokenizer, units, x)[rows],
        points_of(tokenizer, units_other, x),
        rtol=EVERY,
        atol=EVERY,
    )


def test_an_events_tokens_are_the_same_alone(make_modality, make_tables, one_event, tokenizer) -> None:
    modality, tables = make_modality(), make_tables()
    units = modality.units(tables)
    tokens = tokens_of(tokenizer, units, everything(units))
    for event in range(4):
        alone = modality.units(one_event(tables, event))
        start, stop = units.offsets[event : event + 2].tolist()
        torch.testing.assert_close(
            tokens_of(tokenizer, alone, everything(alone)), tokens[start:stop], rtol=EVERY, atol=EVERY
        )


def test_hidden_cells_have_no_influence(make_modality, make_tables, tokenizer) -> None:
    """Whatever energy and whatever further voxels hidden cells hold, visible tokens keep every bit."""
    modality, tables = make_modality(), make_tables()
    units = modality.units(tables)
    visible = some(units)
    tokens = tokens_of(tokenizer, units, visible)
    cells = units.payload.cells
    hidden_row = ~visible[cells.cell][units.payload.row]
    table = tables["voxels"]
    energy = table.columns["energy_mev"].clone()
    energy[hidden_row] *= 100
    changed = modality.units({"voxels": RaggedTable({**table.columns, "energy_mev": energy}, table.offsets)})
    assert torch.equal(tokens_of(tokenizer, changed, visible), tokens)

    # Fill one hidden cell of the first event with a voxel at each of its places.
    cell = int((~visible).nonzero()[0])
    first = cells.coordinates()[cell] * cells.side
    block = first + torch.cartesian_prod(*[torch.arange(cells.side)] * 3)
    columns = {
        "voxel": torch.cat((block, table.columns["voxel"].long())),
        "energy_mev": torch.cat((torch.ones(len(block)), table.columns["energy_mev"])),
    }
    offsets = table.offsets + torch.tensor([0, *[len(block)] * 4])
    filled = modality.units({"voxels": RaggedTable(columns, offsets)})
    assert torch.equal(filled.positions, units.positions)
    torch.testing.assert_close(tokens_of(tokenizer, filled, visible), tokens, rtol=1e-6, atol=1e-6)


def test_no_gradient_reaches_hidden_voxels(make_modality, make_tables, tokenizer) -> None:
    modality, tables = make_modality(), make_tables()
    table = tables["voxels"]
    energy = table.columns["energy_mev"].clone().requires_grad_()
    units = modality.units({"voxels": RaggedTable({**table.columns, "energy_mev": energy}, table.offsets)})
    visible = some(units)
    tokens_of(tokenizer, units, visible).square().sum().backward()
    seen = visible[units.payload.cells.cell][units.payload.row]
    assert energy.grad is not None
    assert not energy.grad[~seen].any()
    assert (energy.grad[seen] != 0).all()


@pytest.mark.parametrize(
    ("scales", "sees"), [((1,), [True, True, False]), ((1, 2), [True, True, False]), ((1, 4), [True] * 3)]
)
def test_a_token_sees_across_its_cells_face_as_far_as_its_scales_reach(make_modality, scales, sees) -> None:
    """The last voxel lies two cells of 12 voxels from the changed one, in the next one of 24."""
    modality = make_modality(grid=(48, 48, 48), shape_scales=scales)
    tokenizer = modality.tokenizer(32)

    def tokens(energy: float) -> torch.Tensor:
        columns = {
            "voxel": torch.tensor([[5, 1, 1], [6, 1, 1], [24, 1, 1]]),
            "energy_mev": torch.tensor([1.0, energy, 1.0]),
        }
        units = modality.units({"voxels": RaggedTable(columns, torch.tensor([0, 3]))})
        return tokens_of(tokenizer, units, everything(units))

    changed = (tokens(1.0) != tokens(2.0)).any(1)
    assert changed.tolist() == sees


@pytest.mark.parametrize("layers", [1, 3])
def test_features_hear_of_voxels_as_many_steps_away_as_there_are_layers(make_modality, layers) -> None:
    """Of a straight track, tokens aside: what the first voxel's features depend on."""
    modality = make_modality(point_layers=layers)
    tokenizer = modality.tokenizer(32)
    voxel = torch.tensor([[3 + step, 4, 5] for step in range(6)])
    columns = {"voxel": voxel, "energy_mev": torch.ones(6)}
    units = modality.units({"voxels": RaggedTable(columns, torch.tensor([0, 6]))})
    _, points = tokenizer(units, everything(units))
    known = points.x.detach().requires_grad_()
    x = torch.randn(len(units.positions), 32)
    first = int(units.payload.row[0])
    tokenizer.features(replace(points, x=known), x)[first].sum().backward()
    hears = (known.grad[units.payload.row] != 0).any(1)
    assert hears.tolist() == [step <= layers for step in range(6)]


@pytest.mark.parametrize("lengths", [(), (0, 0), (1,)])
def test_events_without_voxels_are_connected_to_every_parameter(
    make_modality, make_tables, tokenizer, lengths
) -> None:
    units = make_modality().units(make_tables(lengths))
    tokens = tokens_of(tokenizer, units, everything(units))
    assert tokens.shape == (sum(lengths), 32)
    features = points_of(tokenizer, units, tokens)
    assert features.shape == (sum(lengths), 32 + tokenizer.point_width)
    (tokens.sum() + features.sum()).backward()
    assert all(p.grad is not None for p in tokenizer.parameters())


def test_rows_of_one_voxel_share_their_features(make_modality, tokenizer) -> None:
    columns = {
        "voxel": torch.tensor([[3, 3, 3], [9, 9, 9], [3, 3, 3]]),
        "energy_mev": torch.tensor([0.5, 1.0, 0.25]),
    }
    modality = make_modality()
    units = modality.units({"voxels": RaggedTable(columns, torch.tensor([0, 3]))})
    summed = modality.units(
        {
            "voxels": RaggedTable(
                {"voxel": columns["voxel"][:2], "energy_mev": torch.tensor([0.75, 1.0])}, torch.tensor([0, 2])
            )
        }
    )
    x = torch.randn(2, 32)
    found, wanted = points_of(tokenizer, units, x), points_of(tokenizer, summed, x)
    torch.testing.assert_close(found, wanted[[0, 1, 0]])


def test_interpolation_is_trilinear_where_all_cells_are_occupied(make_modality) -> None:
    """A linear field given at the cells' centres comes back at every voxel that eight centres surround."""
    voxel = torch.cartesian_prod(*[torch.arange(24)] * 3)
    columns = {"voxel": voxel, "energy_mev": torch.ones(len(voxel))}
    units = make_modality().units({"voxels": RaggedTable(columns, torch.tensor([0, len(voxel)]))})
    slope = torch.tensor([[0.3, -2.0], [1.0, 0.5], [-0.7, 0.1]])
    centres = units.payload.cells.coordinates() * 6 + 2.5
    found = interpolate(units.payload.cells, centres @ slope)[units.payload.row]
    inside = ((voxel >= 3) & (voxel < 21)).all(1)
    torch.testing.assert_close(found[inside], (voxel.float() @ slope)[inside], rtol=1e-4, atol=1e-4)


def test_interpolation_of_a_constant_is_the_constant(make_modality, make_tables) -> None:
    units = make_modality().units(make_tables())
    cells = units.payload.cells
    found = interpolate(cells, torch.full((len(cells), 2), 3.0))
    torch.testing.assert_close(found, torch.full((len(cells.sub), 2), 3.0))
