"""Pedestals, noise and shared noise are found where there are signals; what is bad is told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.prepare import prepare

TICKS = 4000


def prepared(packed, events, attributes=None, **options):
    return prepare(packed(events), WaveformConfig(**options), attributes or {})


def frame(make_event, adc, plane=0):
    return make_event([{"channel": k, "plane": plane, "adc": trace} for k, trace in enumerate(adc)])


def noise(channels, sigma=3.0, seed=0, ticks=TICKS):
    return 500.0 + np.random.default_rng(seed).normal(0, sigma, (channels, ticks))


def test_pedestal_and_noise_of_a_trace_do_not_mind_its_signals(packed, make_event):
    adc = noise(6)
    adc[:, 1000:1300] += 800.0
    found = prepared(packed, [frame(make_event, adc)], pedestal="median")
    # 7.5 % of the samples are signal: both medians move by about 0.1 sigma, mean and deviation by twenty.
    np.testing.assert_allclose(found.pedestal_adc, 500.0, atol=0.5)
    np.testing.assert_allclose(found.noise_adc, 3.0, rtol=0.06)
    height = (torch.from_numpy(adc.ravel()).float() - 500.0) / 3.0
    far = height > 100
    torch.testing.assert_close(found.height[far], height[far], rtol=0.06, atol=0)


def test_a_stored_pedestal_is_taken_and_a_missing_one_found(packed, make_event):
    event = frame(make_event, noise(3))
    stored = prepared(packed, [event])
    assert stored.pedestal_adc.tolist() == [200.0] * 3
    del event["traces"]["pedestal_adc"]
    found = prepared(packed, [event])
    np.testing.assert_allclose(
        found.pedestal_adc, np.median(event["samples"]["adc"].reshape(3, -1), 1), atol=0.01
    )


@pytest.mark.parametrize(
    ("options", "attributes", "wanted"),
    [
        ({}, {}, [3.0, 1.0]),
        ({}, {"noise_adc": 5.0}, [3.0, 5.0]),
        ({"noise_adc": 4.0}, {"noise_adc": 5.0}, [3.0, 4.0]),
        ({"noise_adc": 4.0, "noise_samples": None}, {}, [4.0, 4.0]),
        ({"noise_floor_adc": 10.0}, {}, [10.0, 1.0]),
    ],
)
def test_short_traces_have_the_noise_that_is_told(packed, make_event, options, attributes, wanted):
    traces = [{"channel": 0, "adc": noise(1)[0]}, {"channel": 1, "adc": noise(1, sigma=30.0)[0, :100]}]
    found = prepared(packed, [make_event(traces)], attributes, pedestal="median", **options)
    np.testing.assert_allclose(found.noise_adc, wanted, rtol=0.1)


def test_dead_traces_and_all_zero_ones_are_not_known(packed, make_event):
    adc = noise(5, ticks=600)
    adc[1], adc[3] = 0.0, 511.0
    adc[4, :] = np.nan
    found = prepared(packed, [frame(make_event, adc)], pedestal="median")
    assert found.known.view(5, -1).all(1).tolist() == [True, False, True, False, False]
    assert not found.known.view(5, -1)[[1, 3, 4]].any()
    assert not found.height.view(5, -1)[[1, 3, 4]].any()
    assert torch.isfinite(found.pedestal_adc).all()
    assert torch.isfinite(found.noise_adc).all()


def test_a_region_of_few_equal_samples_is_a_signal(packed, make_event):
    found = prepared(
        packed, [make_event([{"channel": 0, "adc": [260.0]}, {"channel": 1, "adc": [210.0] * 4}])]
    )
    assert found.known.all()
    torch.testing.assert_close(found.height, torch.tensor([60.0, 10, 10, 10, 10]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_samples_are_not_known_and_touch_no_other(packed, make_event, bad):
    adc = noise(2, ticks=700)
    whole = prepared(packed, [frame(make_event, adc)], pedestal="median")
    adc[0, 100:103] = bad
    found = prepared(packed, [frame(make_event, adc)], pedestal="median")
    assert (~found.known).nonzero()[:, 0].tolist() == [100, 101, 102]
    assert torch.isfinite(found.height).all()
    torch.testing.assert_close(found.height[103:], whole.height[103:], atol=0.05, rtol=0)


def shared(ticks=TICKS):
    return 8.0 * np.sin(np.arange(ticks) / 40.0)


def test_shared_noise_is_taken_away_and_each_channels_own_stays(packed, make_event):
    own = noise(32)
    event = frame(make_event, own + shared())
    options = {"pedestal": "median", "coherent_channels": 16}
    found = prepared(packed, [event], **options)
    # The median over n channels takes (2 - pi / 2) / n of a channel's variance away, and cuts it at 3 sigma.
    np.testing.assert_allclose(found.noise_adc, 3.0 * np.sqrt(0.973 * (1 - 0.43 / 16)), rtol=0.05)
    residual = found.height.view(32, -1) * found.noise_adc[:, None]
    assert float((residual - torch.from_numpy(own - 500.0)).square().mean().sqrt()) < 1.2
    # Without it, the sine of amplitude 8 is noise.
    assert (prepared(packed, [event], pedestal="median").noise_adc > 5.0).all()


def test_a_track_seen_by_all_channels_at_once_is_no_noise(packed, make_event):
    adc = noise(32)
    adc[:, 2000:2020] += 200.0
    found = prepared(packed, [frame(make_event, adc)], pedestal="median", coherent_channels=16)
    height = found.height.view(32, -1) * found.noise_adc[:, None]
    np.testing.assert_allclose(height[:, 2000:2020].mean(), 200.0, atol=1.0)


def test_groups_are_of_one_plane_one_span_and_enough_channels(packed, make_event):
    adc = noise(8, ticks=600) + shared(600)
    apart = [
        # Three of another plane, one that starts later, and one that is shorter: too few of each.
        {
            "channel": k,
            "plane": int(k < 3),
            "start_tick": 7 * (k == 3),
            "adc": trace[: 590 if k == 4 else None],
        }
        for k, trace in enumerate(adc)
    ]
    options = {"pedestal": "median", "noise_floor_adc": 1.0}
    plain = prepared(packed, [make_event(apart)], **options)
    found = prepared(packed, [make_event(apart)], coherent_channels=16, **options)
    torch.testing.assert_close(found.height, plain.height)
    four = prepared(packed, [frame(make_event, adc[4:])], coherent_channels=16, **options)
    assert (four.noise_adc < 4.0).all()


def test_events_do_not_share_noise(packed, make_event):
    events = [frame(make_event, noise(8, seed=k) + s * shared()) for k, s in enumerate((1, -1))]
    options = {"pedestal": "median", "coherent_channels": 8}
    together = prepared(packed, events, **options)
    alone = [prepared(packed, [event], **options).height for event in events]
    assert torch.equal(together.height, torch.cat(alone))


@pytest.mark.parametrize(("condition", "left"), [("chirping", 0.5), ("misconfig", 0.7), ("rcrc", 0.7)])
def test_shared_noise_of_microboone(packed, make_event, real_data, condition, left):
    """Run 3493: the channels of a board share most of their noise."""
    adc = np.load(real_data / "microboone_adc" / "microboone_run3493_raw32.npz")[condition]
    event = make_event([{"channel": k, "adc": trace} for k, trace in enumerate(adc)], "int16")
    plain, found = (
        prepared(packed, [event], pedestal="median", coherent_channels=c).noise_adc for c in (None, 32)
    )
    assert float(found.median()) < left * float(plain.median())


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.4, 2.0, 7.0])
def test_noise_of_whole_counts(packed, make_event, sigma):
    adc = noise(8, sigma=sigma)
    adc[:, 500:600] += 15.0 * sigma
    adc = np.rint(adc)
    found = prepared(packed, [frame(make_event, adc)], pedestal="median")
    # Rounding adds a twelfth to the variance; 2.5 % of signals move median and cut a little.
    np.testing.assert_allclose(found.noise_adc, np.sqrt(sigma**2 + 1 / 12), rtol=0.06)
