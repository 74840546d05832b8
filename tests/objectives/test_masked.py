"""Masks are a function of the event alone; the loss is that of hidden units, seen from visible ones."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.api import Batch, RaggedTable, Units
from hepfm.errors import RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.hiding import hidden_units
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.random import Draws
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

GRID = (48, 48, 48)


def make_units(counts, seed=0):
    """Units at distinct places of a grid of 10 a side."""
    rng = np.random.default_rng(seed)
    places = [rng.permutation(1000)[:n] for n in counts]
    flat = np.concatenate([*places, np.zeros(0, int)])
    positions = np.stack((flat // 100, flat // 10 % 10, flat % 10), -1)
    offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
    return Units(positions=torch.from_numpy(positions).float(), offsets=offsets, payload=None)


def draws(ids, *, epoch=0, seed=1):
    return Draws(seed=seed, epoch=epoch, event_ids=torch.tensor(ids, dtype=torch.int64))


def hide(units, ids, *, share=0.6, block=1.0, epoch=0, seed=1):
    return hidden_units(units, draws(ids, epoch=epoch, seed=seed), share=share, block=block, purpose="test")


@given(st.lists(st.integers(0, 40), max_size=6), st.floats(0.01, 0.99), st.sampled_from([1.0, 2.5, 4.0]))
@settings(max_examples=60, deadline=None)
def test_the_share_is_hidden_and_one_unit_stays(counts, share, block) -> None:
    units = make_units(counts)
    hidden = hide(units, list(range(len(counts))), share=share, block=block)
    found = [int(hidden[a:b].sum()) for a, b in zip(units.offsets[:-1], units.offsets[1:], strict=True)]
    assert found == [min(round(share * n), max(n - 1, 0)) for n in counts] or any(
        math.isclose(abs(share * n % 1 - 0.5), 0, abs_tol=1e-6) for n in counts
    )


@pytest.mark.parametrize("n_axes", [0, 2])
def test_units_without_a_place_of_their_own_are_hidden_evenly(n_axes) -> None:
    events, n = 400, 10
    offsets = torch.arange(0, events * n + 1, n)
    units = Units(positions=torch.zeros(events * n, n_axes), offsets=offsets, payload=None)
    share = hide(units, list(range(events)), share=0.5).reshape(events, n).double().mean(0)
    assert (share - 0.5).abs().max() < 5 * 0.5 / math.sqrt(events)


@pytest.mark.parametrize("block", [1.0, 3.0])
def test_a_mask_depends_on_the_event_alone(block) -> None:
    counts, ids = [30, 1, 0, 50], [7, 8, 9, -3]
    units = make_units(counts)
    together = hide(units, ids, block=block)
    for event, (start, stop) in enumerate(zip(units.offsets[:-1], units.offsets[1:], strict=True)):
        alone = Units(
            positions=units.positions[start:stop],
            offsets=torch.tensor([0, counts[event]]),
            payload=None,
        )
        assert torch.equal(hide(alone, [ids[event]], block=block), together[start:stop])


def test_masks_differ_between_events_epochs_and_seeds() -> None:
    """64 events of the same units: no two masks alike, and each unit hidden as often as any other."""
    one = make_units([40])
    units = Units(positions=one.positions.repeat(64, 1), offsets=torch.arange(65) * 40, payload=None)
    masks = [
        tuple(mask.tolist())
        for epoch, seed in ((0, 1), (1, 1), (0, 2))
        for mask in hide(units, list(range(64)), epoch=epoch, seed=seed).view(64, 40)
    ]
    assert len(set(masks)) == len(masks)
    rate = torch.tensor(masks).double().mean(0)
    sigma = math.sqrt(0.6 * 0.4 / len(masks))
    assert (rate - 0.6).abs().max() < 5 * sigma


def test_blocks_are_hidden_whole() -> None:
    """In a full grid, a hidden unit's neighbour is hidden far more often under blocks than by chance."""
    places = torch.cartesian_prod(*[torch.arange(12)] * 3).float()
    units = Units(positions=places, offsets=torch.tensor([0, len(places)]), payload=None)

    def share_of_neighbours(block):
        grid = hide(units, [5], block=block, share=0.5).view(12, 12, 12)
        return (grid[1:] & grid[:-1]).sum() / grid[:-1].sum()

    assert share_of_neighbours(1.0) < 0.6
    assert share_of_neighbours(4.0) > 0.8


def make_model(*, parts=("charge",), parts_=None, **options):
    options |= {"parts": parts_} if parts_ else {}
    torch.manual_seed(0)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=GRID)
    modalities = {part: Image3D(Image3DConfig(voxel_width=8, point_width=16), schema) for part in parts}
    backbone = Transformer(TransformerConfig(d_model=32, n_layers=2, n_heads=2), n_positions=3)
    objective = Masked(MaskedConfig(decoder_heads=2, **options), modalities=modalities, d_model=32)
    return Encoder(modalities, backbone), objective


def make_batch(counts, ids=None, *, parts=("charge",), seed=0):
    packed = {}
    for index, part in enumerate(parts):
        rng = np.random.default_rng((seed, index))
        steps = [rng.integers(-2, 3, size=(n, 3)).cumsum(0) + 24 for n in counts]
        voxel = np.concatenate([*steps, np.zeros((0, 3), int)]).clip(0, 47).astype(np.uint16)
        columns = {
            "voxel": torch.from_numpy(voxel),
            "energy_mev": torch.from_numpy(rng.exponential(size=len(voxel)).astype(np.float32)),
        }
        offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
        packed[part] = {"voxels": RaggedTable(columns, offsets)}
    ids = list(range(len(counts))) if ids is None else ids
    return Batch(event_ids=torch.tensor(ids, dtype=torch.int64), cost=torch.tensor(counts), parts=packed)


def take(batch, event):
    """One event of a batch."""

    def cut(table):
        start, stop = table.offsets[event : event + 2].tolist()
        # torch's uint16 tensors cannot be indexed by rows; numpy's can.
        columns = {
            name: torch.from_numpy(column.numpy()[start:stop]) for name, column in table.columns.items()
        }
        return RaggedTable(columns, torch.tensor([0, stop - start]))

    parts = {
        part: {name: cut(table) for name, table in tables.items()} for part, tables in batch.parts.items()
    }
    return Batch(
        event_ids=batch.event_ids[event : event + 1], cost=batch.cost[event : event + 1], parts=parts
    )


def plan_of(objective, batch, *, augment=True):
    return objective.plan(batch, draws(batch.event_ids.tolist()), augment=augment)


@pytest.mark.parametrize("parts", [("charge",), ("charge", "other")])
def test_sums_and_counts_are_those_of_the_events_one_by_one(parts) -> None:
    encoder, objective = make_model(parts=parts)
    batch = make_batch([150, 0, 1, 80, 300], [5, 6, 7, 8, 2**62], parts=parts)
    together = plan_of(objective, batch)
    alone = [plan_of(objective, take(batch, event)) for event in range(len(batch))]
    sums = objective(encoder, together)
    assert set(sums) == set(together.counts) == set(objective.weights)
    assert set(sums) == {f"{part}/{term}" for part in parts for term in ("occupancy", "energy", "around")}
    baseline = objective.baseline(together)
    for term, total in sums.items():
        assert together.counts[term] == sum(plan.counts[term] for plan in alone)
        assert together.counts[term] > 0
        torch.testing.assert_close(
            total, sum(objective(encoder, plan)[term] for plan in alone), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(baseline[term], sum(objective.baseline(plan)[term] for plan in alone))


@pytest.mark.parametrize("counts", [[], [0, 0], [1], [3, 0, 1]])
def test_it_is_connected_to_every_parameter_whatever_the_batch(counts) -> None:
    encoder, objective = make_model()
    plan = plan_of(objective, make_batch(counts))
    sums = objective(encoder, plan)
    assert all(torch.isfinite(total) for total in sums.values())
    sum(sums.values()).backward()
    for module in (encoder, objective):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_every_parameter_learns() -> None:
    encoder, objective = make_model(parts=("charge", "other"))
    plan = plan_of(objective, make_batch([150, 80], parts=("charge", "other")))
    sum(objective(encoder, plan).values()).backward()
    for module in (encoder, objective):
        for name, parameter in module.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


def test_points_are_asked_what_is_around_them_hidden_or_not() -> None:
    """Each visible voxel once; more charge in hidden cells changes the truth, and not what is said."""
    encoder, objective = make_model()
    batch = make_batch([200, 100])
    plan = plan_of(objective, batch, augment=False)
    masking = plan.payload["charge"]
    cells = masking.units.payload.cells
    assert plan.counts["charge/around"] == int(masking.visible[cells.cell].sum()) == len(masking.around)
    table = batch.parts["charge"]["voxels"]
    hidden = ~masking.visible[cells.cell][masking.units.payload.row]
    energy = torch.where(hidden, 10.0, 1.0) * table.columns["energy_mev"]
    changed = RaggedTable({**table.columns, "energy_mev": energy}, table.offsets)
    other = plan_of(
        objective, dataclasses.replace(batch, parts={"charge": {"voxels": changed}}), augment=False
    )
    assert not torch.equal(other.payload["charge"].around, masking.around)
    said = [objective._predict(encoder, each)[1]["charge"] for each in (plan, other)]
    assert torch.equal(*said)


@pytest.mark.parametrize("options", [{"around_weight": 0.0}, {"parts_": {"charge": {"hide": 0.0}}}])
def test_nothing_is_asked_where_the_recipe_says_so_or_nothing_is_hidden(options) -> None:
    _, objective = make_model(parts=("charge", "other"), **options)
    plan = plan_of(objective, make_batch([50], parts=("charge", "other")))
    assert "charge/around" not in plan.counts
    assert set(plan.counts) == set(objective.weights)


def test_hidden_units_do_not_reach_the_encoder() -> None:
    """Ten times the energy in hidden cells: the prediction stays, the loss does not."""
    encoder, objective = make_model()
    batch = make_batch([200, 100])
    plan = plan_of(objective, batch, augment=False)
    masking = plan.payload["charge"]
    image = masking.units.payload
    hidden_rows = ~masking.visible[image.cells.cell][image.row]
    table = batch.parts["charge"]["voxels"]
    energy = torch.where(hidden_rows, 10 * table.columns["energy_mev"], table.columns["energy_mev"])
    changed = {"charge": {"voxels": RaggedTable({**table.columns, "energy_mev": energy}, table.offsets)}}
    other = plan_of(
        objective, Batch(event_ids=batch.event_ids, cost=batch.cost, parts=changed), augment=False
    )
    assert torch.equal(other.payload["charge"].visible, masking.visible)
    found, wanted = (objective.reconstruct(encoder, p)["charge"].predicted["voxels"] for p in (other, plan))
    assert torch.equal(found.columns["energy_mev"], wanted.columns["energy_mev"])
    assert objective(encoder, other)["charge/energy"] != objective(encoder, plan)["charge/energy"]


def test_a_plan_is_the_same_each_time_and_new_each_epoch() -> None:
    _, objective = make_model()
    batch = make_batch([200, 100])
    first, again = plan_of(objective, batch), plan_of(objective, batch)
    later = objective.plan(batch, draws([0, 1], epoch=1))
    assert torch.equal(first.payload["charge"].visible, again.payload["charge"].visible)
    assert not torch.equal(first.payload["charge"].units.positions, later.payload["charge"].units.positions)


def test_the_order_of_rows_does_not_matter() -> None:
    encoder, objective = make_model()
    batch = make_batch([120])
    table = batch.parts["charge"]["voxels"]
    order = np.random.default_rng(0).permutation(120)
    columns = {name: torch.from_numpy(column.numpy()[order]) for name, column in table.columns.items()}
    other = Batch(
        event_ids=batch.event_ids,
        cost=batch.cost,
        parts={"charge": {"voxels": RaggedTable(columns, table.offsets)}},
    )
    for term, total in objective(encoder, plan_of(objective, batch)).items():
        torch.testing.assert_close(
            total, objective(encoder, plan_of(objective, other))[term], rtol=1e-5, atol=1e-5
        )


def test_reconstruction_parts_the_event() -> None:
    encoder, objective = make_model()
    batch = make_batch([200, 0, 1, 90])
    shown = objective.reconstruct(encoder, plan_of(objective, batch, augment=False))["charge"]
    visible, hidden, predicted = shown.visible["voxels"], shown.hidden["voxels"], shown.predicted["voxels"]
    table = batch.parts["charge"]["voxels"]
    for event in range(4):
        voxels = set(
            map(
                tuple,
                table.columns["voxel"].long()[slice(*table.offsets[event : event + 2].tolist())].tolist(),
            )
        )
        seen, unseen = (set(map(tuple, part["voxel"][event].tolist())) for part in (visible, hidden))
        assert seen | unseen == voxels
        assert not seen & unseen
        # What is predicted lies in hidden cells.
        cells = {tuple(c // 6 for c in v) for v in unseen}
        assert {tuple(c // 6 for c in v) for v in map(tuple, predicted["voxel"][event].tolist())} <= cells


def test_it_learns_what_visible_cells_tell_of_hidden_ones() -> None:
    """Tracks of one energy each: that of hidden voxels follows from the visible ones, the baseline knows it not."""
    encoder, objective = make_model()
    rng = np.random.default_rng(0)

    def tracks(n):
        voxel = np.tile(np.stack((np.full(48, 20), np.full(48, 20), np.arange(48)), -1), (n, 1))
        columns = {
            "voxel": torch.from_numpy(voxel.astype(np.uint16)),
            "energy_mev": torch.from_numpy(np.repeat(rng.uniform(0.5, 3, n), 48).astype(np.float32)),
        }
        return Batch(
            event_ids=torch.from_numpy(rng.integers(0, 2**40, n)),
            cost=torch.full((n,), 48),
            parts={"charge": {"voxels": RaggedTable(columns, torch.arange(n + 1) * 48)}},
        )

    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(100):
        plan = plan_of(objective, tracks(16), augment=False)
        objective.observe(plan)
        sums = objective(encoder, plan)
        optimiser.zero_grad()
        sum(total / plan.counts[term] for term, total in sums.items()).backward()
        optimiser.step()
    plan = plan_of(objective, tracks(100), augment=False)
    with torch.no_grad():
        sums, baseline = objective(encoder, plan), objective.baseline(plan)
    assert sums["charge/energy"] < 0.5 * baseline["charge/energy"]


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match="multiple"):
        make_model(decoder_width=33)
    with pytest.raises(ValueError, match="hide"):
        MaskedConfig(hide=1.0)


def test_a_part_that_is_hidden_as_a_whole_is_predicted_from_the_others() -> None:
    """Charge is all of light's voxels: seen alone, it tells their energy, which no marginal does."""
    parts = ("charge", "light")
    encoder, objective = make_model(
        parts=parts, parts_={"charge": {"hide": 0}}, whole={"light": 1.0}, weights={"light": 3.0}
    )
    assert objective.weights["light/energy"] == 3 * objective.weights["charge/energy"]
    rng = np.random.default_rng(0)

    def events(n):
        voxel = np.tile(np.stack((np.full(24, 20), np.full(24, 20), 2 * np.arange(24)), -1), (n, 1))
        energy = np.repeat(rng.uniform(0.5, 3, n), 24).astype(np.float32)
        columns = {"voxel": torch.from_numpy(voxel.astype(np.uint16)), "energy_mev": torch.from_numpy(energy)}
        tables = {"voxels": RaggedTable(columns, torch.arange(n + 1) * 24)}
        ids = torch.from_numpy(rng.integers(0, 2**40, n))
        return Batch(event_ids=ids, cost=torch.full((n,), 48), parts=dict.fromkeys(parts, tables))

    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(80):
        plan = plan_of(objective, events(16), augment=False)
        assert not any(n for term, n in plan.counts.items() if term.startswith("charge/"))
        assert not plan.payload["light"].visible.any()
        objective.observe(plan)
        optimiser.zero_grad()
        (objective(encoder, plan)["light/energy"] / plan.counts["light/energy"]).backward()
        optimiser.step()
    plan = plan_of(objective, events(100), augment=False)
    with torch.no_grad():
        sums, baseline = objective(encoder, plan), objective.baseline(plan)
    assert sums["light/energy"] < 0.5 * baseline["light/energy"]


def test_events_that_lack_a_part_count_in_the_others() -> None:
    encoder, objective = make_model(parts=("charge", "light"), whole={"charge": 0.5, "light": 0.5})
    both, alone = make_batch([90, 60], [1, 2], parts=("charge", "light")), make_batch([90, 60], [1, 2])
    nothing = {"voxels": take_none(both.parts["light"]["voxels"])}
    lacking = Batch(
        event_ids=both.event_ids, cost=both.cost, parts={"charge": alone.parts["charge"], "light": nothing}
    )
    plan = plan_of(objective, lacking)
    sums = objective(encoder, plan)
    assert plan.counts["charge/energy"] > 0
    assert plan.counts["light/energy"] == 0 == sums["light/energy"]
    assert all(plan.payload["charge"].visible[a:b].any() for a, b in events_of(plan.payload["charge"].units))


def take_none(table):
    columns = {name: torch.from_numpy(column.numpy()[:0]) for name, column in table.columns.items()}
    return RaggedTable(columns, torch.zeros_like(table.offsets))


def events_of(units):
    return zip(units.offsets[:-1].tolist(), units.offsets[1:].tolist(), strict=True)
