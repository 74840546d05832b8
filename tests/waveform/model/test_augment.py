"""Variants keep what they should: rows, saturation, spectra; and draw what they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm.api import Column, RaggedTable
from hepfm.random import Draws
from hepfm_waveform import augment
from hepfm_waveform.traces import Traces

PEDESTAL = 200.0
OFF = {"gain": 0.0, "shift_ticks": 1, "noise": 0.0, "drop_channels": 0.0}


def draws(n, epoch=0):
    return Draws(seed=3, epoch=epoch, event_ids=torch.arange(500, 500 + n))


def test_switched_off_it_changes_nothing(make_modality, pulses, packed):
    tables = packed([pulses(0), pulses(1)])
    found = make_modality(**OFF).augment(tables, draws(2))
    for name, table in tables.items():
        for column, values in table.columns.items():
            torch.testing.assert_close(found[name].columns[column], values, check_dtype=False)


def test_a_gain_is_of_heights_above_the_pedestal(make_modality, pulses, packed):
    events = [pulses(k) for k in range(3)]
    modality = make_modality(**{**OFF, "gain": 0.2})
    before, after = (
        modality.units(t).payload for t in (packed(events), modality.augment(packed(events), draws(3)))
    )
    height = before.value.sinh()
    at = before.known & (height.abs() > 5)
    ratio = (after.value.sinh() / height).where(at, torch.nan)
    factor = augment.gain(draws(3), 0.2)
    torch.testing.assert_close(
        ratio[at], factor[before.event][:, None].expand_as(ratio)[at], atol=1e-4, rtol=0
    )
    many = augment.gain(draws(4000), 0.2)
    assert (many.min(), many.max()) == pytest.approx((0.8, 1.2), abs=1e-3)
    assert float(many.mean()) == pytest.approx(1.0, abs=0.01)


def test_true_signals_take_the_gain_and_charge_does_not(make_schema, make_modality, pulses, packed):
    """What is learned stays above the pedestal what the samples are."""
    schema = make_schema()
    signal = Column(dtype="float32", unit="ADC", label=True)
    tables = {**schema.tables, "samples": {**schema.tables["samples"], "signal_adc": signal}}
    before = packed([pulses(0), pulses(1)])
    samples = before["samples"]
    truth = {"signal_adc": samples.columns["adc"] - PEDESTAL, "electrons": samples.columns["adc"] + 7}
    before["samples"] = RaggedTable({**samples.columns, **truth}, samples.offsets)
    modality = make_modality(replace(schema, tables=tables), **{**OFF, "gain": 0.2})
    found = modality.augment(before, draws(2))["samples"].columns
    assert not torch.allclose(found["adc"], samples.columns["adc"])
    torch.testing.assert_close(found["signal_adc"], found["adc"] - PEDESTAL, atol=1e-3, rtol=0)
    torch.testing.assert_close(found["electrons"], truth["electrons"])


def test_the_digitiser_clips_again(make_modality, make_event, packed):
    adc = np.array([300.0, 4095.0, 4000.0, 4095.0, 0.0, 200.0])
    tables = packed([make_event([{"channel": 0, "adc": adc}])] * 200)
    modality = make_modality(**{**OFF, "gain": 0.3}, adc_range=(0.0, 4095.0))
    found = modality.augment(tables, draws(200))["samples"].columns["adc"].view(200, 6)
    assert (found[:, [1, 3]] == 4095.0).all()
    assert (found[:, 4] == 0.0).all()
    assert float(found.max()) == 4095.0
    larger = augment.gain(draws(200), 0.3) > 1.05
    assert (found[larger, 2] == 4095.0).all()


def test_a_shift_is_of_whole_ticks_of_all_channels_in_ticks_and_time(make_modality, pulses, packed):
    events = [pulses(k) for k in range(5)]
    modality = make_modality(**{**OFF, "shift_ticks": 9})
    before, after = packed(events), modality.augment(packed(events), draws(5))
    moved = [
        (after["traces"]["start_tick"][k] - before["traces"]["start_tick"][k]).unique() for k in range(5)
    ]
    assert all(len(ticks) == 1 for ticks in moved)
    assert all(0 <= int(ticks) < 9 for ticks in moved)
    later = after["traces"].columns["time_ns"] - before["traces"].columns["time_ns"]
    assert torch.equal(
        later, 500.0 * (after["traces"].columns["start_tick"] - before["traces"].columns["start_tick"])
    )
    assert torch.equal(after["samples"].columns["adc"], before["samples"].columns["adc"])
    assert set(augment.shift(draws(500), 9).tolist()) == set(range(9))
    modality.select({n: _numpy(t) for n, t in after.items()})


def _numpy(table):
    return type(table)({n: c.numpy() for n, c in table.columns.items()}, table.offsets.numpy())


def coloured(n_traces, length, seed=0):
    white = np.random.default_rng(seed).normal(0, 1, (n_traces, length + 20))
    kernel = np.exp(-np.arange(20) / 4.0)
    return np.stack([np.convolve(row, kernel, "valid")[:length] for row in white])


def test_added_noise_has_the_spectrum_of_the_trace_and_the_size_drawn(make_event, packed):
    adc = coloured(8, 2048)
    clean = adc / adc.std(1, keepdims=True) * 3.0
    seen = clean.copy()
    seen[:, 700:720] += 500.0  # a signal, whose spectrum is not the noise's
    tables = packed([make_event([{"channel": k, "adc": trace} for k, trace in enumerate(seen)])])
    traces = Traces.of(tables)
    added = augment.alike_noise(draws(1), traces, traces.adc, torch.full((8,), 3.0), 0.5).view(8, 2048)
    size = 0.5 * 3.0 * draws(1).per_event("waveform/noise", 1)[0, 0]
    torch.testing.assert_close(added.square().mean(1).sqrt(), size.float().expand(8), rtol=1e-4, atol=0)

    def power(x):
        bands = np.abs(np.fft.rfft(x)[:, 1:1025]) ** 2
        return (bands.reshape(len(x), 16, 64).mean(-1) / bands.mean(-1, keepdims=True)).mean(0)

    # From 6.5 in the lowest band to 0.13 in the highest; the hole where the signal was adds a little to it.
    np.testing.assert_allclose(power(added.double().numpy()), power(clean), rtol=0.1)
    # With other phases it is another noise.
    assert np.abs([np.corrcoef(a, b)[0, 1] for a, b in zip(added, clean, strict=True)]).max() < 0.15


def test_added_noise_of_two_traces_and_epochs_is_not_the_same(make_event, packed):
    adc = coloured(1, 4096)[0]
    tables = packed([make_event([{"channel": k, "adc": adc} for k in (0, 1)])])
    traces = Traces.of(tables)
    first, other = (
        augment.alike_noise(draws(1, epoch), traces, traces.adc, torch.full((2,), 1.0), 1.0).view(2, -1)
        for epoch in (0, 1)
    )
    for a, b in ((first[0], first[1]), (first[0], other[0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


def test_noise_leaves_nan_and_dead_traces_alone(make_modality, make_event, packed):
    adc = 200.0 + coloured(3, 64)
    adc[1], adc[2, 5] = 0.0, np.nan
    tables = packed([make_event([{"channel": k, "adc": trace} for k, trace in enumerate(adc)])])
    found = (
        make_modality(**{**OFF, "noise": 1.0}).augment(tables, draws(1))["samples"].columns["adc"].view(3, 64)
    )
    assert found.isnan().nonzero().tolist() == [[2, 5]]
    assert (found[1] == 0.0).all()
    assert (found[0] != torch.from_numpy(adc[0]).float()).all()


def test_channels_are_lost_as_wholes_and_make_no_unit(make_modality, pulses, packed):
    events = [pulses(k, channels=30) for k in range(20)]
    tables = packed(events)
    modality = make_modality(**{**OFF, "drop_channels": 0.3})
    found = modality.augment(tables, draws(20))
    traces = Traces.of(found)
    lost = traces.adc.isnan()
    of_channel = {}
    for event, channel, gone in zip(
        traces.at_samples(traces.event).tolist(),
        traces.at_samples(traces.channel).tolist(),
        lost.tolist(),
        strict=True,
    ):
        of_channel.setdefault((event, channel), set()).add(gone)
    assert all(len(fates) == 1 for fates in of_channel.values())
    share = np.mean([True in fates for fates in of_channel.values()])
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / len(of_channel)))
    windows = modality.units(found).payload
    left = set(zip(windows.event.tolist(), windows.channel.tolist(), strict=True))
    assert left == {key for key, fates in of_channel.items() if False in fates}
    assert torch.equal(found["samples"].offsets, tables["samples"].offsets)


def test_a_gain_changes_nothing_where_a_trace_tells_its_noise(make_modality, pulses, packed):
    options = {**OFF, "gain": 0.2, "noise_samples": 64, "noise_adc": None}
    modality, tables = make_modality(**options), packed([pulses(0, dense=600)])
    before, after = modality.units(tables).payload, modality.units(modality.augment(tables, draws(1))).payload
    # But for the floor of half a count.
    torch.testing.assert_close(after.value, before.value, atol=0.02, rtol=0)
    assert not torch.allclose(after.adc, before.adc, atol=1.0)
