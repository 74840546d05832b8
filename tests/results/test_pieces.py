"""What the demonstrations on real data are made of, on made-up data with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.api import PartSchema
from hepfm.readers.store import StoreReader


def test_a_window_holds_the_frames_samples_from_its_own_tick_0(tmp_path):
    from results.windows import Frame, write

    from hepfm_waveform.schema import waveform_schema

    rng = np.random.default_rng(1)
    adc = np.where(rng.random((6, 300)) < 0.05, rng.normal(0, 100, (6, 300)), 0).astype(np.float32)
    frame = Frame(name="frame", adc=adc, channel=np.arange(10, 16), columns={"plane": np.repeat([0, 1], 3)})
    schema = waveform_schema(sample_ns=500.0, dtype="float32", known=("plane",), planes=("U", "V"))
    windows = [frame.cut(first, first + 100, rows=[1, 4]) for first in (0, 100, 200)]
    samples = [window.sample("charge", zero_pad=3) for window in windows]
    reader = StoreReader(write(tmp_path / "store.h5", samples, "charge", schema))
    assert len(set(reader.event_ids().tolist())) == 3
    for event, first in enumerate((0, 100, 200)):
        tables = reader.read([event]).parts["charge"]
        traces, found = tables["traces"].columns, np.zeros((2, 100), np.float32)
        ends = np.cumsum(traces["n_samples"])
        for k, stop in enumerate(ends):
            n, start = traces["n_samples"][k], traces["start_tick"][k]
            row = {11: 0, 14: 1}[int(traces["channel"][k])]
            assert traces["plane"][k] == row
            found[row, start : start + n] = tables["samples"].columns["adc"][stop - n : stop]
        np.testing.assert_array_equal(found, adc[[1, 4], first : first + 100])
        assert ends[-1] < 200  # zeros far from signals are left out


def test_hidden_channels_lie_on_the_line_between_those_seen():
    from results.interpolation import between_channels

    rng = np.random.default_rng(2)
    channel = np.array([0, 1, 2, 4, 5, 6, 9, 20, 21, 22, 23])
    plane = np.array([0] * 7 + [1] * 4)
    slope, offset = rng.normal(size=(2, 1, 5))
    values = slope * channel[:, None] + offset
    hidden = np.isin(channel, [1, 4, 5, 22])
    filled, apart = between_channels(np.where(hidden[:, None], np.nan, values), hidden, plane, channel)
    np.testing.assert_allclose(filled, values)
    assert apart.tolist() == [0, 2, 0, 4, 4, 0, 0, 0, 0, 2, 0]


def test_at_the_end_of_a_plane_the_nearest_channel_stands_in():
    from results.interpolation import between_channels

    values = np.array([[1.0], [2.0], [3.0], [10.0]])
    plane, channel = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3])
    filled, _ = between_channels(values, np.array([True, False, True, False]), plane, channel)
    assert filled[:, 0].tolist() == [2.0, 2.0, 2.0, 10.0]


def test_where_wires_cross_is_told_by_the_data_and_tells_of_a_hidden_plane():
    from results.crossing import crossed, equations, meetings

    rng = np.random.default_rng(5)
    plane, channel = np.repeat([0, 1, 2], 60), np.concatenate([np.arange(60) + k for k in (0, 100, 500)])
    y, z = rng.uniform(10, 50, (2, 300))  # a point of charge a tick, and now and then a second one
    x, v = np.rint(z), np.rint(0.5 * z + 0.5 * y)
    w = x - 2 * v + 80  # of the same point: between 0 and 80
    inside = (w >= 0) & (w < 60)
    points = np.stack([x, v, w]).astype(int)[:, inside]
    values = np.zeros((180, points.shape[1]))
    for k in range(3):
        values[60 * k + points[k], np.arange(points.shape[1])] = 2.0 + k
    met = meetings(values, plane, channel)
    np.testing.assert_array_equal(met, (points + np.array([[0], [100], [500]])).T)
    lines = equations(
        np.concatenate([met, met[:20] + np.array([0, 0, 30])])
    )  # some that are not of one point
    np.testing.assert_allclose(lines[2], [1, -2, 80 + 500 + 200], atol=1e-6)
    assert equations(met[:99]) is None
    for hidden, height in ((2, 2.0), (0, 3.0)):  # the smaller one of the two that cross
        seen = np.where((plane == hidden)[:, None], np.nan, values)
        filled = crossed(seen, hidden, plane, channel, lines[hidden])
        at = 60 * hidden + points[hidden], np.arange(points.shape[1])
        np.testing.assert_allclose(filled[at], height, rtol=1e-4)
        off = np.abs(np.arange(180)[:, None] - at[0])
        assert not filled[off > 1].any()


def test_an_interval_is_as_wide_as_the_mean_of_groups_is_uncertain():
    from results.statistics import interval, ratio_interval

    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(100), 10)
    values = np.repeat(rng.normal(5, 1, 100), 10)  # rows of a group are one measurement
    mean, low, high = interval(groups, lambda at: values[at].mean())
    assert mean == pytest.approx(values.mean(), abs=1e-4)
    assert (high - low) / 2 == pytest.approx(values.std() / 10, rel=0.15)
    assert ratio_interval(groups, 3 * values, values)[0] == 3.0
    ratio, low, high = ratio_interval(groups, values, np.ones(1000))
    assert (high - low) / 2 == pytest.approx(values.std() / 10, rel=0.15)
    assert ratio == pytest.approx(mean, abs=1e-4)


def test_a_matched_filter_finds_pulses_of_known_height():
    from results.pulses import AFTER, BEFORE, average_pulse, matched

    rng = np.random.default_rng(4)
    tick = np.arange(-BEFORE, AFTER)
    shape = np.where(tick < 0, 0.0, np.exp(-tick / 30))
    traces = rng.normal(0, 1, (60, 1000))
    for trace in traces:
        trace[300:][: len(shape)] += 40 * shape
    pulse = average_pulse(traces)
    assert np.abs(pulse - shape).max() < 0.1
    trace = rng.normal(0, 1, 1000)
    clean = np.zeros(1000)
    for start, height in ((100, 20.0), (170, 12.0), (700, 30.0)):
        clean[start : start + len(shape)] += height * shape
    found, total = matched(trace + clean, pulse)
    assert total == pytest.approx(62, rel=0.1)
    assert np.square(found - clean).mean() < 0.15  # of the noise's 1
    assert matched(trace, pulse)[1] == 0.0


def test_rows_of_one_event_stay_on_one_side(tmp_path):
    from results.records import HELD_OUT, split

    from hepfm.api import Column, Sample
    from hepfm.readers.pack import pack

    schema = {
        "p": PartSchema(kind="structured", primary="t", tables={"t": {"x": Column(dtype="int64")}}),
    }

    class Rows:
        path, parts = tmp_path / "rows", schema

        def __len__(self):
            return 2000

        def read(self, indices):
            rows = [Sample(event_id=i, parts={"p": {"t": {"x": np.array([i // 4])}}}) for i in indices]
            return pack(rows, schema)

    found = split(Rows(), np.arange(2000)[:, None] // 4, tmp_path)
    sides = [set(batch.parts["p"]["t"].columns["x"].tolist()) for batch in found.values()]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 500
    assert len(sides[1]) / 500 == pytest.approx(HELD_OUT, abs=0.06)
    assert len(StoreReader(tmp_path / "held_out.h5")) == len(found["held_out"])
