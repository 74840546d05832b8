"""Curves thinned and drawn: spikes and gaps stay, and what is drawn is where the values are."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hepfm.display.curves import draw, thin

VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf)), max_size=300)


@given(values=VALUES, buckets=st.integers(1, 40), stride=st.integers(1, 7))
def test_thinning_keeps_what_stands_out(values, buckets, stride):
    steps = [10 + stride * i for i in range(len(values))]
    kept_steps, kept = thin((steps, values), buckets)
    assert len(kept) <= 3 * buckets
    assert kept_steps == sorted(set(kept_steps))
    at = dict(zip(steps, values, strict=True))
    for step, value in zip(kept_steps, kept, strict=True):
        assert value == at[step] or (math.isnan(value) and not math.isfinite(at[step]))
    finite = [value for value in values if math.isfinite(value)]
    finite_kept = [value for value in kept if math.isfinite(value)]
    assert bool(finite) == bool(finite_kept)
    if finite:
        assert (min(finite), max(finite)) == (min(finite_kept), max(finite_kept))
    assert (len(finite) < len(values)) == any(math.isnan(value) for value in kept)


def test_spikes_stay_where_they_are():
    values = [math.sin(i / 9000) for i in range(100_000)]
    spikes = {54_321: 40.0, 77_777: -30.0, 90_000: 20.0}
    for step, value in spikes.items():
        values[step] = value
    thinned = dict(zip(*thin((range(100_000), values), 800), strict=True))
    assert len(thinned) <= 1600
    assert spikes.items() <= thinned.items()


def dots(picture: str) -> set[tuple[int, int]]:
    """Where a picture's frame has dots: (column, row), two and four to a character."""
    found = set()
    for row, line in enumerate(line.split("│", 1)[1] for line in picture.splitlines() if "│" in line):
        for column, character in enumerate(line):
            bits = ord(character) - 0x2800
            if 0 < bits < 256:
                places = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))  # as Unicode counts
                found |= {
                    (2 * column + x, 4 * row + y) for bit, (x, y) in enumerate(places) if bits >> bit & 1
                }
    return found


def test_a_straight_line_is_drawn_straight():
    picture = draw("loss", [([0, 50, 100], [3.0, 2.0, 1.0])], ["red"], width=40, height=8).plain
    found = dots(picture)
    columns = max(x for x, _ in found)
    assert {x for x, _ in found} == set(range(columns + 1))
    assert max(abs(y - 31 * x / columns) for x, y in found) < 1.5  # a dot
    head, first, *_ = picture.splitlines()
    assert head == "loss"
    assert first.startswith("3 │")
    assert picture.splitlines()[8].startswith("1 │")
    assert picture.splitlines()[8].rstrip().endswith("A")
    assert picture.splitlines()[-1].split() == ["step", "0", "100"]


def test_a_gap_stays_open_and_a_shorter_curve_ends_earlier():
    gap = [1.0] * 40 + [math.nan] * 20 + [1.0] * 40
    columns = {x for x, _ in dots(draw("", [(range(100), gap)], ["red"], width=60).plain)}
    assert columns
    assert not columns & set(range(int(0.42 * max(columns)), int(0.58 * max(columns))))
    two = draw("", [([0, 100], [1.0, 2.0]), ([0, 50], [1.0, 1.0])], ["red", "blue"], width=60)
    last = two.plain.splitlines()[9]
    assert 0.4 * 60 < last.index("B") < 0.7 * 60
    assert {span.style for span in two.spans} >= {"red", "blue"}


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    values = [10.0 ** (-i / 25) for i in range(101)]
    picture = draw("loss", [(range(101), values)], ["red"], width=40, height=8).plain
    assert picture.startswith("loss  (logarithmic)")
    found = dots(picture)
    assert max(abs(y - 31 * x / max(x for x, _ in found)) for x, y in found) < 1.5  # a dot


def test_nothing_finite_is_not_drawn():
    assert draw("loss", [([], []), ([1, 2], [math.nan, math.inf])], ["red", "blue"]) is None
    assert "A" in draw("loss", [([7], [2.0])], ["red"]).plain
