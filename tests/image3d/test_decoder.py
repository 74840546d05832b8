"""The loss, its counts, and the baseline that learns nothing, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from hepfm.api import RaggedTable


def half(units):
    return torch.arange(len(units.positions)) % 2 == 0


def test_counts_and_sums_are_those_of_a_dense_target(make_modality, make_tables) -> None:
    modality = make_modality()
    units = modality.units(make_tables())
    hidden = half(units)
    target, cells = modality.target(units, hidden), units.payload.cells
    decoder = modality.decoder(16)
    prediction = decoder(torch.randn(int(hidden.sum()), 16))
    assert prediction.shape == (int(hidden.sum()), 2, 216)

    occupied = torch.zeros(len(hidden), 216, dtype=torch.bool)
    occupied[cells.cell, cells.sub] = True
    energy = torch.zeros(len(hidden), 216)
    energy[cells.cell, cells.sub] = modality.energy(cells.energy_mev)
    occupied, energy = occupied[hidden], energy[hidden]
    loss = decoder.loss(prediction, target)
    assert target.counts == {"occupancy": occupied.numel(), "energy": int(occupied.sum())}
    torch.testing.assert_close(
        loss["occupancy"],
        F.binary_cross_entropy_with_logits(prediction[:, 0], occupied.float(), reduction="sum"),
    )
    torch.testing.assert_close(
        loss["energy"], F.mse_loss(prediction[:, 1][occupied], energy[occupied], reduction="sum")
    )


def test_the_baseline_is_entropy_and_variance(make_modality) -> None:
    """One cell in four has both voxels, the others one: entropies of rates 1 and 1/4, variance of energies."""
    modality = make_modality()
    n = 4000
    voxel = torch.zeros(n + n // 4, 3, dtype=torch.int64)
    voxel[n:, 2] = 1
    energy = torch.cat((torch.tensor([0.5, 2.0]).repeat(n // 2), torch.full((n // 4,), 1.0)))
    event = torch.cat((torch.arange(n), torch.arange(n // 4)))
    order = event.argsort(stable=True)
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), event.bincount().cumsum(0)))
    units = modality.units(
        {"voxels": RaggedTable({"voxel": voxel[order], "energy_mev": energy[order]}, offsets)}
    )
    target = modality.target(units, torch.ones(n, dtype=torch.bool))
    decoder = modality.decoder(8)
    for _ in range(3):
        decoder.observe(target)
    found = {term: float(total) / target.counts[term] for term, total in decoder.baseline(target).items()}
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    # The estimate takes half a voxel more of 12,000 at the 215 places that are always or never filled.
    assert found["occupancy"] == pytest.approx((entropy + 215 * 0.5 / 12000) / 216, rel=1e-3)
    assert found["energy"] == pytest.approx(
        float(modality.energy(energy).double().var(correction=0)), rel=1e-5
    )


def test_marginals_add_up_over_ranks(make_modality, make_tables) -> None:
    modality = make_modality()
    targets = []
    for seed in (0, 1):
        units = modality.units(make_tables(seed=seed))
        targets.append(modality.target(units, half(units)))
    whole, *ranks = (modality.decoder(8) for _ in range(3))
    for target, rank in zip(targets, ranks, strict=True):
        whole.observe(target)
        rank.observe(target)
    for total, *parts in zip(whole.buffers(), *(rank.buffers() for rank in ranks), strict=True):
        assert total.dtype == torch.float64
        torch.testing.assert_close(total, sum(parts))


def test_the_first_prediction_is_about_as_good_as_a_guess(make_modality, make_tables) -> None:
    modality = make_modality()
    units = modality.units(make_tables((400, 400)))
    target = modality.target(units, half(units))
    decoder = modality.decoder(32)
    loss = decoder.loss(decoder(torch.randn(target.payload.n_cells, 32)), target)
    assert loss["occupancy"] / target.counts["occupancy"] < 0.3


def test_tables_of_a_perfect_prediction_are_the_hidden_voxels(make_modality, make_tables) -> None:
    modality = make_modality()
    units = modality.units(make_tables())
    hidden = half(units)
    cells = units.payload.cells.keep(hidden)
    prediction = torch.zeros(len(cells), 2, 216)
    prediction[:, 0] = -20.0
    prediction[cells.cell, 0, cells.sub] = 20.0
    prediction[cells.cell, 1, cells.sub] = modality.energy(cells.energy_mev)
    found = modality.decoder(8).tables(prediction, units, hidden)["voxels"]
    wanted = modality.visible_tables(units, hidden)["voxels"]
    assert torch.equal(found.offsets, wanted.offsets)
    assert torch.equal(found.columns["voxel"], wanted.columns["voxel"])
    torch.testing.assert_close(found.columns["energy_mev"], wanted.columns["energy_mev"])


def test_nothing_hidden_gives_no_loss_and_a_connected_gradient(make_modality, make_tables) -> None:
    modality = make_modality()
    units = modality.units(make_tables())
    target = modality.target(units, torch.zeros(len(units.positions), dtype=torch.bool))
    decoder = modality.decoder(8)
    points = torch.zeros(len(units.payload.cells.sub), modality.config.point_width)
    hints = decoder.hints(units, torch.ones(len(units.positions), dtype=torch.bool), points)
    loss = decoder.loss(decoder(hints), target)
    assert target.counts == {"occupancy": 0, "energy": 0}
    assert {term: float(total.detach()) for term, total in loss.items()} == {"occupancy": 0.0, "energy": 0.0}
    sum(loss.values()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in decoder.parameters())
    assert all(float(total) == 0 for total in decoder.baseline(target).values())


def test_voxels_that_are_filled_in_are_counted(make_modality) -> None:
    """Two cells; of one voxel each is known where it is taken to be, and with what energy."""
    modality = make_modality()
    voxel = torch.tensor([[0, 0, 0], [0, 0, 1], [8, 8, 8]])
    energy = torch.tensor([1.0, 2.0, 0.5])
    tables = {"voxels": RaggedTable({"voxel": voxel, "energy_mev": energy}, torch.tensor([0, 2, 3]))}
    units = modality.units(tables)
    target = modality.target(units, torch.ones(2, dtype=torch.bool))
    decoder = modality.decoder(8)
    logits, value = torch.full((2, 216), -20.0), torch.zeros(2, 216)
    occupied = target.payload.slot
    # One of two, one, and one too many.
    called = torch.stack((occupied[0], occupied[2], (occupied[2] + 1) % 216 + 216))
    logits.flatten()[called] = 20.0
    value.flatten()[called] = modality.energy(torch.tensor([1.5, 0.25, 4.0]))
    found = decoder.figures(decoder.statistics(torch.stack((logits, value), 1), target).numpy())
    assert found["precision"] == found["recall"] == pytest.approx(2 / 3)
    assert found["energy_ratio"] == pytest.approx(5.75 / 3.5, rel=1e-4)
    ratios = torch.tensor([1.5, 0.5]).log()
    assert found["energy_bias"] == pytest.approx(float(ratios.mean()), rel=1e-4)
    assert found["energy_spread"] == pytest.approx(float(ratios.std(correction=0)), rel=1e-4)
    assert modality.amount(units).tolist() == pytest.approx([3.0, 0.5])
    assert decoder.figures([0.0] * 7) == {}
