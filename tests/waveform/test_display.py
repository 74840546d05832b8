"""Planes of many channels are pictures over time, few channels are curves."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.api import ClassName, Column, PartSchema
from hepfm.display.panels import Heatmap, Lines
from hepfm.errors import DataError
from hepfm_waveform.display import panels

SCHEMA = PartSchema(
    kind="waveform",
    primary="samples",
    tables={
        "samples": {"adc": Column(dtype="int16")},
        "traces": {name: Column(dtype="int32") for name in ("channel", "n_samples", "start_tick")},
    },
    vocabularies={"plane": (ClassName(value=0, name="U"), ClassName(value=1, name="V"))},
    attributes={"sample_ns": 500.0},
)


def tables(channel, start, sizes, plane=None):
    n = int(np.sum(sizes))
    traces = {
        "channel": np.array(channel),
        "start_tick": np.array(start),
        "n_samples": np.array(sizes),
        "pedestal_adc": np.full(len(channel), 100.0, np.float32),
    }
    if plane is not None:
        traces["plane"] = np.array(plane)
    return {"samples": {"adc": (100 + np.arange(n)).astype(np.int16)}, "traces": traces}


def test_each_plane_of_many_channels_is_a_picture_with_gaps_where_nothing_was_kept():
    channels = np.arange(60)
    found = panels(
        tables(channels, channels % 7, np.full(60, 5), plane=channels // 30), SCHEMA, title="charge"
    )
    assert [panel.title for panel in found] == ["charge, U", "charge, V"]
    second = found[1]
    assert isinstance(second, Heatmap)
    assert second.values.shape == (30, 11)
    assert second.y_edges == (29.5, 59.5)
    row, start = 40 - 30, 40 % 7
    np.testing.assert_array_equal(second.values[row, start : start + 5], 40 * 5 + np.arange(5))
    assert np.isnan(second.values[row, :start]).all()
    assert np.isnan(second.values[row, start + 5 :]).all()


def test_channels_whose_numbers_are_of_boards_stand_side_by_side():
    channels = np.concatenate([1000 * board + np.arange(10) for board in range(1, 5)])
    (panel,) = panels(tables(channels, np.zeros(40, int), np.full(40, 200)), SCHEMA)
    assert panel.values.shape == (40, 200)
    assert panel.y.label == "channels in order of number"
    np.testing.assert_array_equal(panel.values.reshape(-1), np.arange(40 * 200))
    (hits,) = panels(tables(channels, np.zeros(40, int), np.full(40, 1)), SCHEMA)
    assert hits.y.label == "channel"  # numbers of pixels say where they are
    assert hits.y_edges[0] == 999.5
    assert hits.y_edges[1] >= 4009.5
    assert max(hits.values.shape) <= 300, "a hit of a pixel is too small to be seen"
    assert np.isfinite(hits.values).any(1).sum() >= 4  # one of each board at least


def test_without_pedestals_samples_stand_above_the_median():
    flat = tables([3], [0], [5])
    del flat["traces"]["pedestal_adc"]
    flat["samples"]["adc"] = np.array([7, 7, 9, 7, 2])
    (panel,) = panels(flat, SCHEMA)
    np.testing.assert_array_equal(panel.lines[0].y[:5], [0, 0, 2, 0, -5])
    assert panel.y.label == "above median"
    pieces = tables([3, 5, 3], [0, 0, 9], [2, 1, 3])  # of a channel: over all its pieces
    del pieces["traces"]["pedestal_adc"]
    pieces["samples"]["adc"] = np.array([1, 8, 50, 2, 4, 9])
    (panel,) = panels(pieces, SCHEMA)
    np.testing.assert_array_equal(panel.lines[0].y, [-3, 4, np.nan, -2, 0, 5, np.nan])


def test_few_channels_are_curves_that_break_between_regions():
    found = panels(tables([3, 3, 8], [0, 10, 2], [4, 2, 3]), SCHEMA)
    (panel,) = found
    assert isinstance(panel, Lines)
    assert [line.name for line in panel.lines] == ["channel 3", "channel 8"]
    np.testing.assert_allclose(panel.lines[0].x, [0, 0.5, 1, 1.5, 2, 5, 5.5, 6])
    np.testing.assert_array_equal(panel.lines[0].y, [0, 1, 2, 3, np.nan, 4, 5, np.nan])


def test_times_count_from_the_events_time_0_where_it_is_known():
    several = tables([3, 4], [100, 110], [5, 5])
    several["traces"]["time_ns"] = np.array([-2000.0, 3000.0])
    (panel,) = panels(several, SCHEMA)
    assert [line.x[0] for line in panel.lines] == [-2.0, 3.0]


def test_a_trace_without_a_time_takes_that_of_others():
    several = tables([3, 4, 5], [90, 100, 110], [5, 5, 5])
    several["traces"]["time_ns"] = np.array([np.nan, -2000.0, 3000.0])
    (panel,) = panels(several, SCHEMA)
    assert [line.x[0] for line in panel.lines] == [-7.0, -2.0, 3.0]
    several["traces"]["time_ns"][:] = np.nan
    (panel,) = panels(several, SCHEMA)
    assert [line.x[0] for line in panel.lines] == [45.0, 50.0, 55.0], "from tick 0"


def test_a_part_without_the_length_of_its_samples_is_refused_in_words():
    schema = PartSchema(**{**SCHEMA.__dict__, "attributes": {}})
    with pytest.raises(DataError, match="does not say how long its samples are") as refused:
        panels(tables([3], [0], [4]), schema, title="charge")
    assert refused.value.where == "charge, attribute sample_ns"


def test_an_event_without_samples_says_so():
    (panel,) = panels(
        tables([], [], []), PartSchema(**{**SCHEMA.__dict__, "vocabularies": {}}), title="light"
    )
    assert panel.title == "light"


def test_a_picture_of_sparse_channels_stays_small_and_keeps_what_is_farthest_from_zero():
    random = np.random.default_rng(1)
    channels = np.append(0, random.choice(np.arange(1, 2_000_000), 60, replace=False))
    made = tables(channels, np.full(61, 7), np.full(61, 3))
    adc = made["samples"]["adc"] = random.integers(0, 200, 183).astype(np.int16)
    (panel,) = panels(made, SCHEMA)
    assert isinstance(panel, Heatmap)
    assert panel.values.size < 20_000
    tall = (panel.y_edges[1] - panel.y_edges[0]) / len(panel.values)
    assert panel.y_edges[1] >= channels.max() + 0.5
    wanted = np.full(panel.values.shape, np.nan)
    for value, channel, tick in zip(adc - 100.0, np.repeat(channels, 3), np.tile([0, 1, 2], 61), strict=True):
        row = int((channel + 0.5) // tall)
        if not abs(wanted[row, tick]) > abs(value):
            wanted[row, tick] = value
    np.testing.assert_array_equal(np.abs(panel.values), np.abs(wanted))
