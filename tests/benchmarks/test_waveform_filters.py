"""References without learning: each plane has its own noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.waveform_filters import threshold


def test_a_threshold_is_that_of_the_planes_own_noise():
    height = np.array([1.0, -5.0, 9.0, 20.0])
    traces = [(0, height, np.array([0.0, 0, 0, 40])), (1, height, np.array([0.0, 0, 0, 60]))]
    events = SimpleNamespace(traces=lambda: iter(traces))
    noise = {0: 1.0, 1: 3.0}
    kept = {0: [0, -5, 9, 20], 1: [0, 0, 0, 20]}
    for counts, factor in ((True, {0: 1, 1: 1}), (False, {0: 40 / 24, 1: 3})):
        answer = threshold(events, noise, counts=counts)
        for plane in (0, 1):
            assert answer(plane, height).tolist() == pytest.approx(factor[plane] * np.array(kept[plane]))
