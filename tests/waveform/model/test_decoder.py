"""The loss, its counts, and the baseline that learns nothing, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  torch's own name for it


def half(units):
    return torch.arange(len(units.positions)) % 2 == 0


def test_counts_and_sums_are_those_of_a_dense_target(make_modality, pulses, packed):
    modality = make_modality(adc_range=(0.0, 240.0))
    units = modality.units(packed([pulses(0), pulses(1)]))
    hidden = half(units)
    target, windows = modality.target(units, hidden), units.payload
    decoder = modality.decoder(16)
    prediction = decoder(torch.randn(int(hidden.sum()), 16) * 3)
    asked = (windows.known & (windows.adc < 240.0))[hidden]
    value = windows.value[hidden]
    active = asked & (value.abs() > math.asinh(4.0))
    assert 0 < int(active.sum()) < int(asked.sum()) < int(windows.known[hidden].sum())
    assert target.counts == {"activity": int(asked.sum()), "amplitude": int(active.sum())}
    loss = decoder.loss(prediction, target)
    torch.testing.assert_close(
        loss["activity"],
        F.binary_cross_entropy_with_logits(prediction[:, 0][asked], active[asked].float(), reduction="sum"),
    )
    torch.testing.assert_close(
        loss["amplitude"], F.mse_loss(prediction[:, 1][active], value[active], reduction="sum")
    )


def test_the_baseline_is_entropy_and_variance_of_each_plane(make_modality, make_event, packed):
    """Plane 0: a quarter active, at two heights; plane 2: half active, at one."""
    heights = {0: [0, 0, 0, 40, 0, 0, 0, 60], 2: [0, -30, 0, -30]}
    traces = [{"channel": 9 * p, "plane": p, "adc": 200.0 + np.tile(h, 400)} for p, h in heights.items()]
    modality = make_modality()
    units = modality.units(packed([make_event(traces)]))
    target = modality.target(units, torch.ones(len(units.positions), dtype=torch.bool))
    decoder = modality.decoder(8)
    for _ in range(2):
        decoder.observe(target)
    found = decoder.baseline(target)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) * 3200 + math.log(2) * 1600
    assert float(found["activity"]) == pytest.approx(entropy, rel=1e-4)
    spread = (math.asinh(30.0) - math.asinh(20.0)) ** 2 / 4 * 800
    assert float(found["amplitude"]) == pytest.approx(spread, rel=1e-4)


def test_planes_without_a_name_share_the_last_ones_marginals(make_modality, make_event, packed):
    traces = [{"channel": 0, "plane": p, "adc": [250.0, 200.0]} for p in (2, 40, -1)]
    modality = make_modality()
    units = modality.units(packed([make_event(traces)]))
    decoder = modality.decoder(8)
    decoder.observe(modality.target(units, torch.ones(3, dtype=torch.bool)))
    assert decoder.samples.tolist() == [2, 0, 4]
    assert decoder.active.tolist() == [1, 0, 2]


def test_tables_of_a_perfect_prediction_are_the_hidden_samples(make_modality, pulses, packed):
    modality = make_modality()
    units = modality.units(packed([pulses(0, noise=0.0), pulses(1, noise=0.0)]))
    hidden = half(units)
    prediction = torch.full((int(hidden.sum()), 2, 16), 9.0)
    prediction[:, 1] = units.payload.value[hidden]
    found = modality.decoder(8).tables(prediction, units, hidden)
    wanted = modality.visible_tables(units, hidden)
    for name, table in wanted.items():
        assert torch.equal(found[name].offsets, table.offsets)
        for column, values in table.columns.items():
            torch.testing.assert_close(found[name].columns[column], values, atol=1e-3, rtol=0)
    prediction[:, 0] = -9.0
    quiet = modality.decoder(8).tables(prediction, units, hidden)["samples"].columns["adc"]
    assert (quiet == 200.0).all()


def test_the_first_prediction_is_about_as_good_as_a_guess(make_modality, pulses, packed):
    modality = make_modality()
    units = modality.units(packed([pulses(0)]))
    decoder = modality.decoder(32)
    target = modality.target(units, half(units))
    prediction = decoder(torch.randn(int(half(units).sum()), 32)).detach()
    rate = prediction[:, 0].sigmoid()
    assert float(rate.mean()) == pytest.approx(0.1, abs=0.02)
    assert float(decoder.loss(prediction, target)["activity"]) < 2.5 * target.counts["activity"]


def test_active_samples_that_are_called_so_are_counted(make_modality, pulses, packed):
    modality = make_modality()
    units = modality.units(packed([pulses(0), pulses(1)]))
    hidden = half(units)
    prediction = torch.randn(int(hidden.sum()), 2, 16)
    decoder = modality.decoder(8)
    found = decoder.figures(decoder.statistics(prediction, modality.target(units, hidden)).numpy())
    windows = units.payload
    asked = (windows.known & ~windows.clipped)[hidden]
    active = (windows.value[hidden].abs() > math.asinh(4.0))[asked]
    called = (prediction[:, 0] > 0)[asked]
    assert found["precision"] == pytest.approx(float(active[called].float().mean()))
    assert found["recall"] == pytest.approx(float(called[active].float().mean()))
    nothing = modality.target(units, torch.zeros_like(hidden))
    assert decoder.figures(decoder.statistics(prediction[:0], nothing).numpy()) == {}


def test_the_amount_is_what_lies_above_the_pedestals(make_modality, make_event, packed):
    one = [
        {"channel": 0, "plane": 0, "adc": [230.0, 200.0, 180.0]},
        {"channel": 4, "plane": 2, "adc": [205.0]},
    ]
    modality = make_modality()
    units = modality.units(packed([make_event(one), make_event(one[:1])]))
    assert modality.amount(units).tolist() == pytest.approx([15, 10])
