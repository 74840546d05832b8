"""Units are a channel's windows, equal to a brute-force twin, whatever traces the samples came in."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

TRACE = st.fixed_dictionaries(
    {
        "channel": st.integers(-2, 4),
        "plane": st.integers(0, 2),
        "start_tick": st.integers(-40, 60),
        "adc": st.lists(st.one_of(st.integers(150, 400).map(float), st.just(np.nan)), max_size=30),
    }
)
EVENTS = st.lists(st.lists(TRACE, max_size=6), min_size=1, max_size=3)


def units_of(make_modality, make_event, packed, events, **options):
    modality = make_modality(**options)
    return modality, modality.units(packed([make_event(traces) for traces in events]))


def added(counts):
    """Heights add up; the pedestal is there once."""
    return 200.0 + np.sum(np.array(counts) - 200.0)


def expected(events, patch=16):
    """(event, plane, channel, window) -> place -> counts of all traces there."""
    wanted = {}
    for event, traces in enumerate(events):
        for trace in traces:
            known = [value for value in trace["adc"] if np.isfinite(value)]
            if len(trace["adc"]) >= 16 and len(set(known)) < 2:
                continue
            for i, adc in enumerate(trace["adc"]):
                tick = trace["start_tick"] + i
                if np.isfinite(adc):
                    unit = (event, trace["plane"], trace["channel"], tick // patch)
                    wanted.setdefault(unit, {}).setdefault(tick % patch, []).append(adc)
    return wanted


@given(EVENTS)
def test_windows_equal_brute_force(make_modality, make_event, packed, events):
    _, units = units_of(make_modality, make_event, packed, events)
    windows, wanted = units.payload, expected(events)
    columns = torch.stack((windows.event, windows.plane, windows.channel, windows.window), 1)
    assert [tuple(row) for row in columns.tolist()] == sorted(wanted)
    known, adc, value = (
        np.zeros((len(wanted), 16), bool),
        np.zeros((len(wanted), 16)),
        np.zeros((len(wanted), 16)),
    )
    for k, unit in enumerate(sorted(wanted)):
        for place, counts in wanted[unit].items():
            known[k, place], adc[k, place] = True, added(counts)
            value[k, place] = np.arcsinh(np.sum(np.array(counts) - 200.0) / 2.0)
    np.testing.assert_array_equal(windows.known.numpy(), known)
    np.testing.assert_allclose(windows.adc.numpy(), adc, rtol=1e-6)
    np.testing.assert_allclose(windows.value.numpy(), value, atol=1e-5)
    np.testing.assert_array_equal(units.positions.numpy(), columns[:, [3, 2, 1]].numpy())
    per_event = [sum(unit[0] == event for unit in wanted) for event in range(len(events))]
    assert units.offsets.diff().tolist() == per_event


@given(EVENTS)
def test_each_row_knows_its_place(make_modality, make_event, packed, events):
    _, units = units_of(make_modality, make_event, packed, events)
    windows, wanted = units.payload, expected(events)
    order, row = sorted(wanted), 0
    for event, traces in enumerate(events):
        for trace in traces:
            for i in range(len(trace["adc"])):
                slot, tick = int(windows.slot[row]), trace["start_tick"] + i
                unit = (event, trace["plane"], trace["channel"], tick // 16)
                if slot < 0:
                    adc = trace["adc"]
                    dead = len(adc) >= 16 and len({v for v in adc if np.isfinite(v)}) < 2
                    assert dead or not np.isfinite(adc[i])
                else:
                    assert (order[slot // 16], slot % 16) == (unit, tick % 16)
                row += 1


@given(EVENTS, st.randoms(use_true_random=False))
def test_kept_windows_are_those_of_events_without_the_others(
    make_modality, make_event, packed, events, random
):
    modality, units = units_of(make_modality, make_event, packed, events)
    mask = torch.tensor([random.random() < 0.5 for _ in range(len(units.positions))], dtype=torch.bool)
    kept, again = units.payload.keep(mask), modality.units(modality.visible_tables(units, mask)).payload
    for name in ("known", "event", "plane", "channel", "window", "offsets", "adc"):
        assert torch.equal(getattr(kept, name), getattr(again, name)), name
    row = units.payload.slot
    there = (row >= 0) & torch.nn.functional.pad(mask, (0, 1))[row.clamp_min(0) // 16]
    assert torch.equal(kept.slot >= 0, there)
    number = mask.cumsum(0) - 1
    assert torch.equal(kept.slot[there], number[row[there] // 16] * 16 + row[there] % 16)


@given(EVENTS)
def test_neighbours_equal_brute_force(make_modality, make_event, packed, events):
    _, units = units_of(make_modality, make_event, packed, events)
    windows, order = units.payload, sorted(expected(events))
    at = {unit: k for k, unit in enumerate(order)}
    wanted = [
        [
            at.get((*unit[:2], unit[2] + dc, unit[3] + dw), len(order))
            for dc, dw in ((0, -1), (0, 1), (-1, 0), (1, 0))
        ]
        for unit in order
    ]
    assert windows.around.tolist() == wanted


@given(EVENTS)
def test_tables_of_all_units_hold_each_known_sample_at_its_time(make_modality, make_event, packed, events):
    modality, units = units_of(make_modality, make_event, packed, events)
    tables = modality.visible_tables(units, torch.ones(len(units.positions), dtype=torch.bool))
    wanted = {
        (*unit[:3], unit[3] * 16 + place): added(counts)
        for unit, places in expected(events).items()
        for place, counts in places.items()
    }
    found = {}
    for event in range(len(events)):
        adc, row = tables["samples"]["adc"][event], 0
        traces = {
            name: column[event]
            for name, column in ((n, tables["traces"][n]) for n in tables["traces"].columns)
        }
        for k in range(len(traces["channel"])):
            start, n = int(traces["start_tick"][k]), int(traces["n_samples"][k])
            assert float(traces["time_ns"][k]) == start * 500.0 - 1000.0
            for i in range(n):
                channel = (event, int(traces["plane"][k]), int(traces["channel"][k]), start + i)
                assert channel not in found
                found[channel] = float(adc[row])
                row += 1
        assert row == len(adc)
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[k] for k in wanted], list(wanted.values()), rtol=1e-6)


def test_a_window_of_noise_makes_no_unit_where_zeros_are_suppressed(make_modality, make_event, packed):
    adc = 200.0 + np.random.default_rng(0).normal(0, 2.0, 160).clip(-5, 5)
    adc[70:75] -= 50.0
    tables = packed([make_event([{"channel": 4, "adc": adc}])])
    units = make_modality(suppress_noise=5.0).units(tables)
    assert units.positions.tolist() == [[4.0, 4.0, 0.0]]
    assert units.offsets.tolist() == [0, 1]
    values = torch.ones(16, 2)
    modality = make_modality(suppress_noise=5.0)
    rows = modality.tokenizer(8).rows(units, values).values
    assert rows.sum(1).nonzero()[:, 0].tolist() == list(range(64, 80))


def test_positions_of_detectors_are_in_pitches(make_modality, make_event, packed):
    tables = packed([make_event([{"channel": 6, "start_tick": 33, "adc": [260.0]}])])
    units = make_modality(geometry="position", pitch_mm=2.0).units(tables)
    assert units.positions.tolist() == [[2.0, 3.0, 1.5, 1.5]]


def test_groups_are_channels_and_planes(make_modality, pulses, packed):
    units = make_modality().units(packed([pulses(0), pulses(1)]))
    channel, plane = units.groups["channel"], units.groups["plane"]
    # In these events channel c is of plane c % 3.
    assert torch.equal(plane, units.positions[:, 1].long() % 3)
    assert len(channel.unique()) == 12
    for one in channel.unique():
        assert len(units.positions[channel == one, 1].unique()) == 1
