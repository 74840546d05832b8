"""When waveforms are taken."""

from __future__ import annotations

import numpy as np

from hepfm_lartpc.light.config import BeamTrigger, Digitizer, SelfTrigger
from hepfm_lartpc.light.trigger import spans, triggers

DIGITIZER = Digitizer(sample_ns=10.0, samples=100, pretrigger=20, steps=2, pedestal_adc=100)
LEAD = 50
SELF = SelfTrigger(threshold_pe=10, coincidence_ns=30)


def spikes(samples, at):
    """Charge of two detectors, ``(2, steps)``: ``{sample: (charge of each)}``."""
    charge = np.zeros((2, samples * 2))
    for sample, amounts in at.items():
        charge[:, 2 * sample + 1] += amounts
    return charge


def test_the_beam_triggers_once_at_its_time_whatever_there_is():
    beam = BeamTrigger(time_ns=500.0)
    for light in (np.zeros(0), np.array([1e6, 2e6])):
        assert spans(beam, DIGITIZER, LEAD, light, 1500.0) == [(500.0 - 700.0, 150)]
    assert triggers(beam, DIGITIZER, LEAD, spikes(150, {})) == [70]


def test_a_self_trigger_needs_the_threshold_within_its_window_over_all_detectors():
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {100: (5, 4.9)})) == []
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {100: (5, 5.1)})) == [100]
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {100: (5, 0), 102: (0, 5)})) == [102]
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {100: (5, 0), 103: (0, 5)})) == []


def test_waveforms_of_a_self_trigger_do_not_overlap():
    # The second begins as soon as it may: the charge of sample 179 is still within the window.
    light = dict.fromkeys((80, 120, 179, 181, 290), (20, 20))
    assert triggers(SELF, DIGITIZER, LEAD, spikes(600, light)) == [80, 180, 290]


def test_a_self_trigger_leaves_room_for_the_whole_waveform():
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {69: (0, 0), 30: (20, 20), 330: (20, 20)})) == []
    assert triggers(SELF, DIGITIZER, LEAD, spikes(400, {70: (20, 20), 320: (20, 20)})) == [70, 320]


def test_spans_hold_all_light_apart_from_one_another():
    times = np.array([90_000.0, 3.0, 400.0, 91_500.0, -40_000.0])
    found = spans(SELF, DIGITIZER, LEAD, times, 1500.0)
    assert [begin for begin, _ in found] == [-40_700.0, -700.0, 89_300.0]
    ends = [begin + samples * 10.0 for begin, samples in found]
    # Until five lives after the last deposit, and a waveform more.
    assert ends == [-40_000.0 + 1000 + 7500, 400.0 + 1000 + 7500, 91_500.0 + 1000 + 7500]
    assert all(end <= begin for end, (begin, _) in zip(ends, found[1:], strict=False))


def test_light_whose_spans_would_touch_shares_one():
    # 850 samples after the first deposit, and 70 before the second.
    assert len(spans(SELF, DIGITIZER, LEAD, np.array([0.0, 9_200.0]), 1500.0)) == 1
    assert len(spans(SELF, DIGITIZER, LEAD, np.array([0.0, 9_210.0]), 1500.0)) == 2


def test_without_light_there_is_no_span():
    assert spans(SELF, DIGITIZER, LEAD, np.zeros(0), 1500.0) == []
