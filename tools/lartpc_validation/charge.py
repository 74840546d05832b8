# ruff: noqa: INP001
"""Charge: recombination, drift, wires, pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lartpc_validation.beam import DENSITY_G_CM3, shoot
from lartpc_validation.picture import BLUE, GREEN, ORANGE, Check, Panels
from lartpc_validation.pixels import draw_pixels

from hepfm_lartpc import species as sp
from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import drift_of
from hepfm_lartpc.charge.electronics import pulse_adc
from hepfm_lartpc.charge.recombination import Recombination, yields
from hepfm_lartpc.charge.wires import WirePlanes
from hepfm_lartpc.detector import load_detector
from hepfm_lartpc.event import Deposits
from hepfm_lartpc.streams import stream

TITLES = [
    "Recombination at 0.5 kV/cm",
    "Charge and light of 1 MeV",
    "Charge that arrives on wires",
    "Width of a point's charge",
    "Noise of collection wires",
    "Pixels: charge of larnd-sim's events",
]
W_MEV = 23.6e-6


def draw(axes: Panels, larndsim: Path) -> Iterator[Check]:
    """Fills the six panels; the last stays empty where larnd-sim's files are missing."""
    yield from _recombination(axes[0], axes[1])
    yield from _drift(axes[2], axes[3])
    yield from _noise(axes[4])
    if larndsim.is_dir():
        yield from draw_pixels(axes[5], larndsim)


def _deposits(points: Any, energy_mev: Any, length_mm: Any) -> Deposits:
    count = len(points)
    return Deposits(
        start_mm=points,
        end_mm=points,
        energy_mev=np.broadcast_to(energy_mev, count).astype(float),
        length_mm=np.broadcast_to(length_mm, count).astype(float),
        time_ns=np.zeros(count),
        track=np.zeros(count, np.int32),
    )


def _recombination(panel: Any, shared: Any) -> Iterator[Check]:
    made = shoot(sp.PROTON, 200.0, 4).deposits
    found = yields(made, 0.5, Recombination(), stream(1, "recombination", 0))
    dedx = 10 * made.energy_mev / made.length_mm
    long = made.length_mm > 0.3
    panel.plot(
        dedx[long],
        (found.electrons * W_MEV / made.energy_mev)[long],
        ".",
        ms=3,
        color=BLUE,
        alpha=0.5,
        label="steps of protons, hepfm",
    )
    grid = np.geomspace(1.7, 60, 200)
    box = 0.212 / (DENSITY_G_CM3 * 0.5) * grid
    panel.semilogx(grid, np.log(0.93 + box) / box, color=ORANGE, label="modified box (ArgoNeuT)")
    panel.semilogx(
        grid, 0.8 / (1 + 0.0486 / (DENSITY_G_CM3 * 0.5) * grid), color=GREEN, label="Birks (ICARUS)"
    )
    panel.set(
        xlabel="dE/dx [MeV/cm]", ylabel="share of electrons that escape", xlim=(1.5, 70), ylim=(0.1, 0.85)
    )
    panel.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    order = np.geomspace(1.7, 60, 400)
    ones = _deposits(np.zeros((400, 3)), 1.0, 10 / order)
    both = yields(ones, 0.5, Recombination(), stream(2, "recombination", 0))
    shared.semilogx(order, 1e-3 * both.electrons, ".", ms=3, color=BLUE, label="electrons")
    shared.semilogx(order, 1e-3 * both.photons, ".", ms=3, color=ORANGE, label="photons")
    shared.semilogx(order, 1e-3 * (both.electrons + both.photons), color=GREEN, label="sum")
    shared.set(xlabel="dE/dx [MeV/cm]", ylabel="thousands", ylim=(0, 60))
    shared.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    equal = yields(
        _deposits(np.zeros((4000, 3)), 0.6, 3.0), 0.5, Recombination(), stream(3, "recombination", 0)
    )
    mip, birks = (
        yields(_deposits(np.zeros((1, 3)), 2.1, 10.0), 0.5, Recombination(model=model)).electrons[0]
        * W_MEV
        / 2.1
        for model in ("modified-box", "birks")
    )
    yield Check(
        what="electrons that escape at 2.1 MeV/cm, 0.5 kV/cm, modified box",
        hepfm=float(mip),
        reference=float(birks),
        within=0.02,
        source="Birks' law with ICARUS' constants, NIM A 523 (2004) 275",
    )
    yield Check(
        what="electrons and photons of 1 MeV, most",
        hepfm=float((both.electrons + both.photons).max()),
        reference=1.21 / W_MEV,
        within=1e-6 / W_MEV,
        source="(1 + 0.21) E / W, conservation",
    )
    yield Check(
        what="correlation of electrons and photons of equal deposits",
        hepfm=float(np.corrcoef(equal.electrons, equal.photons)[0, 1]),
        reference=-1.0,
        within=1e-6,
        source="conservation",
    )


def _wires(**changes: Any) -> tuple[WirePlanes, WireReadout]:
    """The planes of the detector ``wire``, with another drift or noise."""
    detector = load_detector("wire")
    assert isinstance(detector.charge, WireReadout)
    readout = detector.charge.model_copy(update={"noise": None} | changes.pop("readout", {}))
    values = {"field_kv_cm": 0.5, "temperature_k": 87.3, "lifetime_ms": 10.0} | changes
    return WirePlanes(readout, detector.tpcs, drift_of(readout.drift, **values)), readout


def _drift(left: Any, wide: Any) -> Iterator[Check]:
    planes, readout = _wires(lifetime_ms=0.5)
    velocity = planes.drift.velocity_mm_us
    area = planes.kernels_adc[2].sum()
    far = np.linspace(80, 740, 12)
    arrived, ticks = [], []
    for event, drift_mm in enumerate(far):
        point = np.array([[-384 + drift_mm, 0.0, 1.5]])
        frames = planes.read(
            _deposits(point, 1.0, 1.0), np.array([1e6]), seed=1, event=event, s=stream(1, "drift", event)
        )
        rows = frames.plane == 2
        arrived.append(float((frames.adc[rows] - frames.pedestal_adc[rows, None]).sum()) / area)
        profile = frames.electrons[rows].sum(0).astype(float)
        x = np.arange(len(profile))
        mean = (profile * x).sum() / profile.sum()
        ticks.append((profile * (x - mean) ** 2).sum() / profile.sum() - 1 / 12)
    time_us = far / velocity
    slope, _ = np.polyfit(time_us, np.log(arrived), 1)
    left.plot(time_us, 1e-6 * np.array(arrived), "o", color=BLUE, label="ADC sums over the gain")
    left.plot(time_us, np.exp(-time_us / 500), color=ORANGE, label="lifetime of 0.5 ms")
    left.set(xlabel="drift time [us]", ylabel="share of 10$^6$ electrons", ylim=(0.3, 1.02))
    tick_mm = velocity * readout.tick_ns * 1e-3
    square_mm2 = np.array(ticks) * tick_mm**2
    broad = time_us > 120  # a narrower cloud does not fill a tick evenly
    wide.plot(time_us[broad], square_mm2[broad], "o", color=BLUE, label="along the drift, hepfm")
    wide.plot(time_us, 2 * 4e-4 * time_us, color=ORANGE, label="2 D t, D = 4.0 cm$^2$/s")
    wide.set(xlabel="drift time [us]", ylabel="squared width [mm$^2$]")
    per_us = (square_mm2[broad] / time_us[broad]).mean()
    yield Check(
        what="lifetime fitted to sums of collection wires [us]",
        hepfm=float(-1 / slope),
        reference=500.0,
        within=10.0,
        source="as configured",
    )
    yield Check(
        what="longitudinal diffusion fitted to widths [cm2/s]",
        hepfm=float(per_us / 2 * 1e4),
        reference=4.0,
        within=0.1,
        source="as configured",
    )
    yield Check(
        what="drift velocity at 0.5 kV/cm, 87.3 K [mm/us]",
        hepfm=velocity,
        reference=_li_mm_us(0.5, 87.3),
        within=0.05,
        source="Li et al., NIM A 816 (2016) 160",
    )


def _li_mm_us(field_kv_cm: float, temperature_k: float) -> float:
    e = field_kv_cm
    above = 551.6 + 7158.3 * e + 4440.43 * e**1.5 + 4.29 * e**2.5
    below = 1 + 7158.3 / 551.6 * e + 43.63 * e**2 + 0.2053 * e**3
    return 0.01 * above / below * e * (temperature_k / 89) ** -1.5


def _noise(panel: Any) -> Iterator[Check]:
    full = load_detector("wire").charge
    assert isinstance(full, WireReadout)
    noise = full.noise
    assert noise is not None
    assert noise.coherent is not None
    planes, readout = _wires(readout={"noise": noise})
    none = _deposits(np.zeros((0, 3)), 1.0, 1.0)
    power, samples = 0.0, []
    for event in range(6):
        frames = planes.read(none, np.zeros(0), seed=1, event=event)
        excess = (frames.adc - frames.pedestal_adc[:, None])[frames.plane == 2]
        samples.append(excess)
        power = power + (np.abs(np.fft.rfft(excess, axis=1)) ** 2).mean(0) / 6
    n, tick_us = readout.ticks, readout.tick_ns * 1e-3
    khz = np.fft.rfftfreq(n, 1e-3 * tick_us)[1:-1]
    found = 2 * np.asarray(power)[1:-1] / n**2
    # The shaper's response from the transform of its pulse, sampled at 10 ns.
    shaper = np.abs(np.fft.rfft(pulse_adc(0.01 * np.arange(1 << 14), readout.electronics))) ** 2
    shaped = np.interp(khz, np.fft.rfftfreq(1 << 14, 1e-5), shaper) * (
        1 + (noise.knee_khz / khz) ** noise.slope
    )
    own = noise.collection_rms_adc**2 * ((1 - noise.white) * shaped / shaped.sum() + noise.white / len(khz))
    together = 1 / (1 + (khz / noise.coherent.corner_khz) ** 2)
    expected = own + noise.coherent.rms_adc**2 * together / together.sum() + 1 / 12 / len(khz)
    first = np.unique(np.geomspace(1, len(khz), 60).astype(int)) - 1
    groups = np.split(np.arange(len(khz)), first[1:])
    middle = np.array([khz[g].mean() for g in groups if len(g)])
    panel.loglog(
        middle, [found[g].mean() for g in groups if len(g)], "o", ms=4, color=BLUE, label="frames, hepfm"
    )
    panel.loglog(khz, expected, color=ORANGE, label="as configured, and rounding")
    panel.set(xlabel="frequency [kHz]", ylabel="power for each frequency [ADC$^2$]")
    rms = float(np.concatenate(samples).std())
    ratio = [float(found[g].mean() / expected[g].mean()) for g in groups if len(g)]
    yield Check(
        what="noise of collection wires [ADC]",
        hepfm=rms,
        within=0.06,
        reference=float(np.sqrt(noise.collection_rms_adc**2 + noise.coherent.rms_adc**2 + 1 / 12)),
        source="as configured",
    )
    yield Check(
        what="power over the configured spectrum, mean of all bands",
        hepfm=float(np.mean(ratio)),
        reference=1.0,
        within=0.03,
        source="as configured",
    )
