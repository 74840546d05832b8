"""Wire frames: charge, width, place and shape of signals against what geometry and convolution give."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import CoherentNoise, WireElectronics, WireNoise, WirePlane, WireReadout
from hepfm_lartpc.charge.drift import Drift
from hepfm_lartpc.charge.wires import WirePlanes
from hepfm_lartpc.streams import stream
from hepfm_lartpc.tpc import Tpc

DRIFT = Drift(velocity_mm_us=1.6, lifetime_us=5000.0, longitudinal_mm2_us=4e-4, transverse_mm2_us=8.8e-4)
SHARP = Drift(velocity_mm_us=1.6, lifetime_us=1e12, longitudinal_mm2_us=0.0, transverse_mm2_us=0.0)
BOX = Tpc(low_mm=(-384, -384, -384), high_mm=(384, 384, 384), anode="x-")
PLANES = [
    WirePlane(name="U", kind="induction", angle_deg=35.7, pitch_mm=4.67, wires=256, height_mm=6.0),
    WirePlane(name="V", kind="induction", angle_deg=-35.7, pitch_mm=4.67, wires=256, height_mm=3.0),
    WirePlane(name="W", kind="collection", angle_deg=0.0, pitch_mm=3.0, wires=256),
]
TICKS = 1200
DEEP = WireElectronics(adc_per_mv=20.0, bits=15, induction_pedestal_adc=16384, collection_pedestal_adc=4000)


def chamber(drift=DRIFT, tpcs=(BOX,), **options):
    settings = {"ticks": TICKS, "trigger_offset_ticks": 100, "noise": None, **options}
    return WirePlanes(WireReadout(planes=PLANES, **settings), list(tpcs), drift)


def point(deposits, *xyz, time_ns=0.0):
    where = np.array([xyz], float)
    return deposits(where, where, 1.0, time=[time_ns])


def tracks(deposits, count=5000, seed=0):
    rng = np.random.default_rng(seed)
    start, direction = rng.uniform(-150, 150, (8, 3)), rng.normal(size=(8, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    steps = 1.2 * np.arange(count // 8)
    begin = (start[:, None] + steps[None, :, None] * 0.3 * direction[:, None]).reshape(-1, 3)
    return deposits(begin, begin + 0.36 * np.repeat(direction, count // 8, axis=0), 0.25)


def test_all_electrons_that_survive_the_drift_arrive_on_every_plane(deposits):
    made = tracks(deposits)
    frames = chamber().read(made, np.full(len(made), 7e3), seed=1, event=0)
    middle = 0.5 * (made.start_mm + made.end_mm)
    expected = (7e3 * np.exp(-(middle[:, 0] + 384) / 1.6 / 5000)).sum()
    for plane in range(3):
        assert frames.electrons[frames.plane == plane].sum(dtype=float) == pytest.approx(expected, rel=1e-4)


def test_the_collection_planes_integral_over_the_gain_is_the_charge(deposits):
    planes = chamber(electronics=DEEP)
    made = point(deposits, 0.0, 0.0, 1.0)
    frames = planes.read(made, np.array([3e5]), seed=1, event=0)
    excess = frames.adc - frames.pedestal_adc[:, None]
    counts = [excess[frames.plane == plane].sum() for plane in range(3)]
    # A charge's pulse has the area of the shaper's response at frequency 0, by its gain.
    per_electron = planes.kernels_adc[2].sum()
    arrived = 3e5 * math.exp(-384 / 1.6 / 5000)
    assert counts[2] / per_electron == pytest.approx(arrived, rel=2e-3)
    assert np.abs(counts[:2]).max() < 2e-3 * counts[2]


def test_deconvolution_of_a_frame_gives_the_electrons_back(deposits):
    planes = chamber(electronics=DEEP)
    made = tracks(deposits, 400)
    frames = planes.read(made, np.full(len(made), 2e4), seed=1, event=0)
    rows = frames.plane == 2
    signal = (frames.adc - frames.pedestal_adc[:, None])[rows].sum(0)
    kernel, first = planes.kernels_adc[2].sum(0), planes.first_ticks[2]
    n = 2400
    transfer = np.zeros(n)
    transfer[np.arange(first, first + len(kernel)) % n] = kernel
    response, mhz = np.fft.rfft(transfer), np.fft.rfftfreq(n, 0.5)
    smooth = np.exp(-0.5 * (mhz / 0.08) ** 2)
    found = np.fft.irfft(np.fft.rfft(signal, n) / response * smooth, n)[:TICKS]
    truth = np.fft.irfft(np.fft.rfft(frames.electrons[rows].sum(0), n) * smooth, n)[:TICKS]
    np.testing.assert_allclose(found, truth, atol=0.01 * truth.max())
    assert found.sum() == pytest.approx(frames.electrons[rows].sum(), rel=5e-3)


def test_frames_are_the_plain_convolution_of_electrons_and_kernels(deposits):
    planes = chamber(electronics=DEEP)
    made = tracks(deposits, 80)
    frames = planes.read(made, np.full(len(made), 2e4), seed=1, event=0, with_signal=True)
    for plane in range(3):
        rows = np.flatnonzero(frames.plane == plane)
        kernel, first = planes.kernels_adc[plane], planes.first_ticks[plane]
        reach = len(kernel) // 2
        expected = np.zeros((256, TICKS + 200))
        for wire in np.flatnonzero(frames.electrons[rows].any(1)):
            for d in range(-reach, reach + 1):
                if 0 <= wire + d < 256:
                    full = np.convolve(frames.electrons[rows[wire]], kernel[d + reach])
                    expected[wire + d, 100 + first : 100 + first + len(full)] += full[: TICKS + 100 - first]
        excess = frames.adc[rows] - frames.pedestal_adc[rows, None]
        np.testing.assert_allclose(excess, expected[:, 100 : TICKS + 100], atol=0.55)
        # The true signal is that, to float32's rounding in the transforms.
        off = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(frames.signal_adc[rows], expected[:, 100 : TICKS + 100], atol=off)


@pytest.mark.parametrize("drift_mm", [350.0, 500.0, 700.0])
def test_a_points_cloud_widens_with_the_square_root_of_the_drift_time(deposits, drift_mm):
    frames = chamber().read(point(deposits, -384 + drift_mm, 0.0, 1.5), np.array([1e6]), seed=1, event=0)
    image = frames.electrons[frames.plane == 2].astype(float)
    drift_us = drift_mm / 1.6

    def variance(profile):
        x = np.arange(len(profile))
        mean = (profile * x).sum() / profile.sum()
        return (profile * (x - mean) ** 2).sum() / profile.sum()

    # Bins of unit width add 1/12 to the variance.
    ticks = math.sqrt(2 * 4e-4 * drift_us) / 1.6 / 0.5
    wires = math.sqrt(2 * 8.8e-4 * drift_us) / 3.0
    assert variance(image.sum(0)) == pytest.approx(ticks**2 + 1 / 12, rel=0.04)
    if wires > 0.3:  # a narrower cloud does not fill a bin evenly
        assert variance(image.sum(1)) == pytest.approx(wires**2 + 1 / 12, rel=0.08)


@pytest.mark.parametrize("anode", ["x-", "x+", "y-", "y+", "z-", "z+"])
def test_a_point_shows_on_the_wires_next_to_it_when_it_arrives(deposits, anode):
    volume = Tpc(low_mm=(-384, -384, -384), high_mm=(384, 384, 384), anode=anode)
    where = np.array([40.0, -70.0, 110.0])
    planes = chamber(SHARP, [volume])
    frames = planes.read(point(deposits, *where, time_ns=3000.0), np.array([1e6]), seed=1, event=0)
    axis = "xyz".index(anode[0])
    face = volume.anode_mm
    up, along = {0: (1, 2), 1: (2, 0), 2: (1, 0)}[axis]
    for k, plane in enumerate(PLANES):
        image = frames.electrons[frames.plane == k]
        wire, tick = np.unravel_index(image.argmax(), image.shape)
        assert tick == math.floor((3.0 + abs(where[axis] - face) / 1.6) / 0.5 + 100 + 0.5)
        # Distance from the wire: across the direction (cos a up + sin a along).
        angle = math.radians(plane.angle_deg)
        across = math.cos(angle) * where[along] - math.sin(angle) * where[up]
        assert abs(across - (wire - 127.5) * plane.pitch_mm) <= plane.pitch_mm / 2 + 1e-6
        # The middle that is given for the wire lies on it, and on the plane.
        middle = frames.position_mm[frames.plane == k][wire]
        assert math.cos(angle) * middle[along] - math.sin(angle) * middle[up] == pytest.approx(
            (wire - 127.5) * plane.pitch_mm
        )
        assert abs(middle[axis] - face) == pytest.approx(plane.height_mm)
        assert abs(middle[up]) <= 384.001


def test_each_drift_volume_has_its_own_channels(deposits):
    left = Tpc(low_mm=(-384, -384, -384), high_mm=(0, 384, 384), anode="x-")
    right = Tpc(low_mm=(0, -384, -384), high_mm=(384, 384, 384), anode="x+")
    frames = chamber(tpcs=[left, right]).read(
        point(deposits, 50.0, 0.0, 0.0), np.array([1e5]), seed=1, event=0
    )
    assert frames.adc.shape == (2 * 768, TICKS)
    assert frames.electrons[frames.tpc == 0].sum() == 0
    assert frames.electrons[frames.tpc == 1].sum() > 2.5e5
    np.testing.assert_array_equal(frames.channel, np.arange(1536))


def test_charge_outside_of_the_frame_does_not_come_round_its_end(deposits):
    planes = chamber(electronics=DEEP)
    late = planes.read(point(deposits, 0.0, 0, 0, time_ns=1e6), np.array([1e6]), seed=1, event=0)
    early = planes.read(point(deposits, 0.0, 0, 0, time_ns=-1e6), np.array([1e6]), seed=1, event=0)
    for frames in (late, early):
        assert frames.electrons.sum() == 0
        assert (frames.adc == frames.pedestal_adc[:, None]).all()
    # Just before the first sample, the pulse's end is seen at the frame's beginning, and nowhere else.
    just = chamber(SHARP, electronics=DEEP).read(
        point(deposits, 0.0, 0, 0, time_ns=-240e3 - 51e3), np.array([1e6]), seed=1, event=0
    )
    excess = np.abs(just.adc - just.pedestal_adc[:, None]).max(0)
    assert just.electrons.sum() == 0
    assert excess[:5].max() > 50
    assert excess[40:].max() <= 1


def test_an_event_is_the_same_alone_and_among_others(deposits):
    planes = chamber(noise=WireNoise(coherent=CoherentNoise()))
    made = tracks(deposits, 800)

    def read(event):
        return planes.read(
            made, np.full(len(made), 7e3), seed=5, event=event, s=stream(5, "drift", event)
        ).adc

    third = read(3)
    read(1)
    np.testing.assert_array_equal(read(3), third)
    assert (read(2) != third).mean() > 0.5


def test_noise_has_the_configured_width_on_each_kind_of_plane_and_is_shared_in_groups(deposits):
    noise = WireNoise(
        induction_rms_adc=3.0, collection_rms_adc=2.0, coherent=CoherentNoise(group=32, rms_adc=2.5)
    )
    planes = chamber(noise=noise, ticks=2048)
    none = deposits(np.zeros((0, 3)), np.zeros((0, 3)), 1.0)
    frames = planes.read(none, np.zeros(0), seed=1, event=0)
    excess = frames.adc - frames.pedestal_adc[:, None]
    for plane, rms in enumerate((3.0, 3.0, 2.0)):
        # Rounding to whole counts adds 1/12.
        assert excess[frames.plane == plane].var() == pytest.approx(rms**2 + 2.5**2 + 1 / 12, rel=0.1)
    correlation = np.corrcoef(excess[512:])
    same = np.kron(np.eye(8), np.ones((32, 32))).astype(bool) & ~np.eye(256, dtype=bool)
    other = np.kron(1 - np.eye(8), np.ones((32, 32))).astype(bool)
    assert correlation[same].mean() == pytest.approx(2.5**2 / (2.5**2 + 4.0 + 1 / 12), abs=0.06)
    assert correlation[other].mean() == pytest.approx(0.0, abs=0.1)


def test_bad_channels_show_their_pedestal_alone(deposits):
    planes = chamber(noise=WireNoise(), bad_channels=[5, 600])
    frames = planes.read(tracks(deposits, 400), np.full(400, 7e3), seed=1, event=0)
    assert np.flatnonzero(~frames.good).tolist() == [5, 600]
    for channel in (5, 600):
        assert (frames.adc[channel] == frames.pedestal_adc[channel]).all()
    with pytest.raises(DataError, match="768 channels"):
        chamber(bad_channels=[768])


def test_large_signals_are_clipped_at_the_digitisers_ends(deposits):
    frames = chamber().read(point(deposits, 0, 0, 0), np.array([1e8]), seed=1, event=0)
    assert frames.adc.max() == 4095
    assert frames.adc.min() == 0


def test_garfields_response_gives_the_collection_plane_the_whole_charge(deposits, real_data):
    planes = [plane.model_copy(update={"pitch_mm": 4.71}) for plane in PLANES]
    path = real_data / "field_responses" / "dune-garfield-1d565.json.bz2"
    readout = WireReadout(
        planes=planes, ticks=TICKS, trigger_offset_ticks=100, noise=None, response=path, electronics=DEEP
    )
    frames = WirePlanes(readout, [BOX], SHARP).read(
        point(deposits, 0, 0, 0), np.array([3e5]), seed=1, event=0
    )
    per_electron = (
        WirePlanes(readout.model_copy(update={"response": None}), [BOX], SHARP).kernels_adc[2].sum()
    )
    excess = frames.adc - frames.pedestal_adc[:, None]
    near = slice(512 + 125, 512 + 131)
    assert excess[near].sum() / per_electron == pytest.approx(3e5, rel=0.06)
    middle = excess[512 + 127 : 512 + 129].sum(0)
    assert abs(middle.argmax() - (100 + 240 / 0.5 + 4)) <= 3


def test_an_event_of_5000_deposits_takes_tens_of_milliseconds(deposits):
    planes = WirePlanes(WireReadout(planes=PLANES, ticks=2048), [BOX], DRIFT)
    made = tracks(deposits)
    taken = []
    for event in range(6):
        begin = time.thread_time()
        planes.read(made, np.full(len(made), 7e3), seed=1, event=event)
        taken.append(time.thread_time() - begin)
    assert min(taken) < 0.06  # 0.02 on an idle core
