"""Medians of runs are numpy's, of runs of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hepfm_waveform.medians import segment_median

VALUES = st.one_of(st.integers(-40, 40).map(float), st.just(np.nan), st.just(np.inf))


def lower_median(values):
    finite = np.sort(values[np.isfinite(values)])
    return finite[(len(finite) - 1) // 2] if len(finite) else np.nan


@given(st.lists(st.integers(0, 9).flatmap(lambda n: hnp.arrays(np.float32, n, elements=VALUES)), max_size=6))
def test_runs_of_any_length(runs):
    offsets = torch.tensor([0, *np.cumsum([len(run) for run in runs])], dtype=torch.int64)
    values = torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *runs]))
    wanted = np.array([lower_median(run) for run in runs], np.float32)
    np.testing.assert_array_equal(segment_median(values, offsets).numpy(), wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_runs_of_one_length_go_the_short_way_to_the_same(bad):
    frame = np.random.default_rng(0).normal(size=(5, 33)).astype(np.float32)
    frame[1, ::2], frame[3] = bad, bad
    found = segment_median(torch.from_numpy(frame.ravel()), torch.arange(6) * 33).numpy()
    np.testing.assert_array_equal(found, np.array([lower_median(run) for run in frame], np.float32))
