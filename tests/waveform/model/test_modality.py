"""What waveforms need is said when it is missing; what is bad in an event has its defined end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm.api import Column, RaggedTable
from hepfm.errors import DataError
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.modality import Waveform


def numpy_tables(tables):
    return {
        n: RaggedTable({c: v.numpy() for c, v in t.columns.items()}, t.offsets.numpy())
        for n, t in tables.items()
    }


@pytest.mark.parametrize("column", ["channel", "start_tick", "n_samples"])
def test_a_needed_column_that_is_missing_is_named(make_schema, make_modality, column):
    with pytest.raises(DataError, match=f"'{column}' of whole numbers .* it is missing"):
        make_modality(make_schema(without=(column,)))


def test_columns_beyond_these_may_be_missing(make_schema, make_modality, pulses, packed):
    gone = ("plane", "time_ns", "pedestal_adc", "position_mm")
    modality = make_modality(make_schema(without=gone), pedestal="stored")
    event = pulses(0)
    event["traces"] = {name: v for name, v in event["traces"].items() if name not in gone}
    tables = modality.augment(packed([event]), _draws(1))
    units = modality.units(tables)
    assert (units.positions[:, 2] == 0).all()
    assert set(units.groups) == {"channel"}  # hiding the only plane would hide nothing, in silence
    shown = modality.visible_tables(units, torch.ones(len(units.positions), dtype=torch.bool))
    assert set(shown["traces"].columns) == {"channel", "start_tick", "n_samples"}


def _draws(n):
    from hepfm.random import Draws

    return Draws(seed=1, epoch=0, event_ids=torch.arange(n))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adc": Column(dtype="bool")}, "'adc' of numbers .* found bool"),
        ({"adc": Column(dtype="int16", shape=(4,))}, r"'adc' of numbers .* found int16 \[4\]"),
    ],
)
def test_samples_of_another_type_are_refused(make_schema, change, message):
    schema = make_schema()
    schema = replace(schema, tables={**schema.tables, "samples": {**schema.tables["samples"], **change}})
    with pytest.raises(DataError, match=message):
        Waveform(WaveformConfig(), schema)


def test_positions_that_are_asked_for_must_be_there(make_schema, make_modality):
    with pytest.raises(DataError, match="'position_mm'") as refused:
        make_modality(make_schema(without=("position_mm",)), geometry="position")
    assert "geometry: channel" in refused.value.fix


@pytest.mark.parametrize("period", [None, 0, -1.0, "2", float("inf"), True])
def test_one_sampling_period_is_needed(make_schema, make_modality, period):
    with pytest.raises(DataError, match="one sampling period in ns"):
        make_modality(make_schema(sample_ns=period))


@pytest.mark.parametrize(
    "attribute",
    [{"noise_adc": n} for n in (0, -1.0, float("nan"), "2")]
    + [{"adc_range": ends} for ends in (5, [4095, 0], ["0", "9"], [0, 9, 10], [0, float("nan")])],
)
def test_attributes_that_make_no_sense_are_refused(make_schema, make_modality, attribute):
    with pytest.raises(DataError, match=f"attribute '{next(iter(attribute))}'"):
        make_modality(make_schema(**attribute))


def test_lengths_must_say_what_they_count(make_schema, make_modality):
    schema = make_schema()
    traces = {**schema.tables["traces"], "n_samples": Column(dtype="int32")}
    with pytest.raises(DataError, match="does not say that it counts"):
        make_modality(replace(schema, tables={**schema.tables, "traces": traces}))


def test_uneven_sampling_is_refused_with_the_channels(make_modality, pulses, packed):
    modality, events = make_modality(), [pulses(0), pulses(1)]
    assert modality.select(numpy_tables(packed(events))) == {}
    events[1]["traces"]["time_ns"][7] += 3 * 500.0
    channel = events[1]["traces"]["channel"][7]
    with pytest.raises(DataError, match=rf"channels 0 and {channel} are 3\.0 ticks apart") as refused:
        modality.select(numpy_tables(packed(events)))
    assert "event 1" in refused.value.where
    # Another period shows by the distance of regions.
    events[1] = pulses(1)
    events[1]["traces"]["time_ns"] *= 1.25
    with pytest.raises(DataError, match="Uneven sampling"):
        modality.select(numpy_tables(packed(events)))


def test_a_start_between_two_ticks_is_even(make_modality, pulses, packed):
    event = pulses(0)
    event["traces"]["time_ns"] += np.random.default_rng(0).uniform(0, 499, len(event["traces"]["time_ns"]))
    assert make_modality().select(numpy_tables(packed([event]))) == {}


def test_lengths_that_do_not_add_up_are_refused(make_modality, pulses, packed):
    events = [pulses(0), pulses(1)]
    events[1]["traces"]["n_samples"][3] += 1
    with pytest.raises(DataError, match="do not add up") as refused:
        make_modality().select(numpy_tables(packed(events)))
    assert "event 1" in refused.value.where


@pytest.mark.parametrize("start", [0, 5])
def test_dead_lost_and_nan_rows_have_features_of_zero_and_take_no_part(
    make_modality, make_event, packed, start
):
    """Also where the first window begins before the trace, so that its first place is no sample."""
    adc = 200.0 + np.random.default_rng(0).normal(0, 2.0, (4, 48))
    adc[1], adc[2] = 0.0, np.nan
    adc[3, 5:9] = np.nan
    modality = make_modality()
    traces = [{"channel": k, "adc": t, "start_tick": start} for k, t in enumerate(adc)]
    units = modality.units(packed([make_event(traces)]))
    assert sorted(set(units.payload.channel.tolist())) == [0, 3]
    tokenizer = modality.tokenizer(8)
    tokens, points = tokenizer(units, torch.ones(len(units.positions), dtype=torch.bool))
    rows = tokenizer.rows(units, tokenizer.features(points, tokens)).values.view(4, 48, -1)
    known = rows.any(-1)
    assert known[0].all()
    assert not known[1:3].any()
    assert (~known[3]).nonzero()[:, 0].tolist() == [5, 6, 7, 8]
    assert all(torch.isfinite(x).all() for x in (tokens, rows))


def test_an_event_without_the_part_and_one_of_dead_channels_make_no_units(
    make_modality, make_event, pulses, packed
):
    dead = make_event([{"channel": k, "adc": np.zeros(40)} for k in range(3)])
    nothing = make_event([])
    modality = make_modality()
    units = modality.units(packed([nothing, pulses(0), dead, nothing]))
    alone = modality.units(packed([pulses(0)]))
    assert units.offsets.tolist() == [0, 0, len(alone.positions), len(alone.positions), len(alone.positions)]
    assert torch.equal(units.positions, alone.positions)
    for events in ([dead], [nothing], [dead, nothing]):
        units = modality.units(packed(events))
        assert len(units.positions) == 0
        assert len(units.offsets) == len(events) + 1
        tokenizer = modality.tokenizer(8)
        tokens, points = tokenizer(units, torch.ones(0, dtype=torch.bool))
        rows = tokenizer.rows(units, tokenizer.features(points, tokens))
        assert rows.values.shape == (len(packed(events)["samples"].columns["adc"]), 6)
        assert not rows.values.any()


@pytest.mark.parametrize("where", ["config", "schema"])
def test_saturated_samples_are_seen_and_not_asked_for(make_schema, make_modality, make_event, packed, where):
    adc = 200.0 + np.random.default_rng(0).normal(0, 2.0, 32)
    adc[4:9] = 4095.0
    tables = packed([make_event([{"channel": 0, "adc": adc}])])
    hidden = torch.ones(2, dtype=torch.bool)
    plain, ranged = make_modality(), make_modality(adc_range=(0, 4095))
    if where == "schema":
        ranged = make_modality(make_schema(adc_range=[0, 4095]))
    assert plain.target(plain.units(tables), hidden).counts == {"activity": 32, "amplitude": 5}
    assert ranged.target(ranged.units(tables), hidden).counts == {"activity": 27, "amplitude": 0}
    torch.manual_seed(0)
    tokenizer = plain.tokenizer(8)
    seen = [tokenizer(m.units(tables), hidden)[0] for m in (plain, ranged)]
    assert not torch.allclose(seen[0][0], seen[1][0])
    torch.testing.assert_close(seen[0][1], seen[1][1])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_samples_of_every_type_are_the_same(make_modality, pulses, packed, dtype):
    units = make_modality().units(packed([pulses(0, dtype=dtype)]))
    wanted = make_modality().units(packed([pulses(0, dtype="int32")]))
    if dtype == "float32":
        wanted = make_modality().units(packed([pulses(0, dtype="float64")]))
    torch.testing.assert_close(units.payload.value, wanted.payload.value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["channel", "plane"])
def test_whole_channels_and_planes_are_predicted_from_the_others(make_modality, pulses, packed, name):
    """Masks of whole groups: nothing of a hidden plane is seen, in tokens or in hints."""
    modality = make_modality()
    events = [pulses(0), pulses(1)]
    units = modality.units(packed(events))
    hidden = units.groups[name] == units.groups[name].unique()[1]
    changed = [_scaled(event, hidden, units, k) for k, event in enumerate(events)]
    other = modality.units(packed(changed))
    torch.manual_seed(0)
    tokenizer, decoder = modality.tokenizer(8), modality.decoder(8)
    seen, hints = [], []
    for each in (units, other):
        tokens, points = tokenizer(each, ~hidden)
        seen.append(tokens)
        hints.append(decoder.hints(each, ~hidden, tokenizer.features(points, tokens)))
    assert torch.equal(*seen)
    assert torch.equal(*hints)
    assert not torch.equal(units.payload.value, other.payload.value)
    # In these events a channel's neighbours are of other planes: nothing lies next to a whole channel.
    assert not hints[0].any()
    counts = modality.target(units, hidden).counts
    assert counts["activity"] == int(units.payload.known[hidden].sum())


def _scaled(event, hidden, units, number):
    gone = {
        (int(p), int(c))
        for e, p, c in zip(
            units.payload.event[hidden],
            units.payload.plane[hidden],
            units.payload.channel[hidden],
            strict=True,
        )
        if e == number
    }
    traces = event["traces"]
    of_trace = np.array(
        [(int(p), int(c)) in gone for p, c in zip(traces["plane"], traces["channel"], strict=True)]
    )
    adc = np.where(
        np.repeat(of_trace, traces["n_samples"]), event["samples"]["adc"] * 1.5, event["samples"]["adc"]
    )
    return {**event, "samples": {"adc": adc.astype(np.float32)}}
