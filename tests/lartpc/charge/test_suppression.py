"""Zero suppression against a slow twin."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hepfm_lartpc.charge.config import ZeroSuppression
from hepfm_lartpc.charge.suppression import suppress
from hepfm_lartpc.charge.wires import Frames


def frames_of(adc, pedestal):
    n = len(adc)
    zero = np.zeros(n, np.int32)
    return Frames(
        adc=adc,
        electrons=np.arange(adc.size, dtype=np.float32).reshape(adc.shape),
        channel=np.arange(n, dtype=np.int32),
        tpc=zero,
        plane=zero,
        pedestal_adc=np.full(n, float(pedestal)),
        position_mm=np.zeros((n, 3)),
        good=np.ones(n, bool),
    )


def marked(adc, pedestal, threshold, pad):
    """Which samples are kept, one by one."""
    keep = np.zeros(adc.shape, bool)
    for k, i in zip(*np.nonzero(np.abs(adc - float(pedestal)) >= threshold), strict=True):
        keep[k, max(0, i - pad) : i + pad + 1] = True
    return keep


@given(seed=st.integers(0, 2**32 - 1), pad=st.integers(0, 7), share=st.sampled_from([0.0, 0.01, 0.1, 0.6]))
def test_regions_are_the_samples_that_stand_out_with_their_neighbours(seed, pad, share):
    rng = np.random.default_rng(seed)
    adc = (100 + rng.choice([-20, 20], (4, 60)) * (rng.random((4, 60)) < share)).astype(np.int16)
    frames = frames_of(adc, 100)
    regions = suppress(frames, ZeroSuppression(threshold_adc=15, pad_ticks=pad))
    keep = marked(adc, 100, 15, pad)
    np.testing.assert_array_equal(regions.adc, adc[keep])
    np.testing.assert_array_equal(regions.electrons, frames.electrons[keep])
    again = np.zeros(adc.shape, bool)
    for channel, start, samples in zip(regions.channel, regions.start_tick, regions.samples, strict=True):
        assert not again[channel, max(0, start - 1) : start + samples + 1].any()  # apart from each other
        again[channel, start : start + samples] = True
    np.testing.assert_array_equal(again, keep)
