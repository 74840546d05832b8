# ruff: noqa: INP001
"""Light: photoelectrons, their times, and how much of it the detectors see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lartpc_validation.picture import BLUE, GREY, ORANGE, Check, Panels
from scipy.optimize import minimize

from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Deposits
from hepfm_lartpc.light import LightSimulation
from hepfm_lartpc.light.config import LightReadout
from hepfm_lartpc.light.optics import Optics
from hepfm_lartpc.light.panels import PhotonDetectors, Volume
from hepfm_lartpc.light.visibility import SolidAngle

TITLES = [
    "Charge of single photoelectrons",
    "Photoelectrons of an electron's flash",
    "Light that a detector of 200 mm sees",
]
_HALF_MM = 384.0
_CORNER = (-_HALF_MM,) * 3, (_HALF_MM,) * 3


def draw(axes: Panels) -> Iterator[Check]:
    """Fills the three panels."""
    yield from _single(axes[0])
    yield from _times(axes[1])
    yield from _visibility(axes[2])


def _even(points_mm: Any) -> tuple[Any, Any]:
    """Stands for the geometry: 1 % is seen from everywhere, without delay."""
    return np.full((len(points_mm), 1), 0.01), np.zeros((len(points_mm), 1))


def _simulation(sipm: dict[str, Any], digitizer: dict[str, Any]) -> LightSimulation:
    panel = {
        "position_mm": (-_HALF_MM, 0, 0),
        "normal": (1, 0, 0),
        "width_mm": 200,
        "height_mm": 200,
        "efficiency": 0.5,
    }
    readout = LightReadout.model_validate({"detectors": [panel], "sipm": sipm, "digitizer": digitizer})
    return LightSimulation(readout, *_CORNER, _even)


def _flash() -> Deposits:
    at = np.zeros((1, 3))
    return Deposits(
        start_mm=at,
        end_mm=at,
        energy_mev=np.ones(1),
        length_mm=np.ones(1),
        time_ns=np.zeros(1),
        track=np.zeros(1, np.int32),
    )


def _single(panel: Any) -> Iterator[Check]:
    """Dim flashes, integrated over the waveform where its truth has one photoelectron."""
    crosstalk, width, rms = 0.15, 0.08, 0.3
    simulation = _simulation(
        {"pe_width": width, "crosstalk": crosstalk, "dark_rate_hz": 0.0},
        {"noise_rms_adc": rms, "pedestal_adc": 300},
    )
    area = simulation.readout.sipm.pulse.sampled(8.0, 0).sum() / 2
    found = []
    for event in range(4000):
        light = simulation(
            _flash(), np.array([sp.ELECTRON], np.int32), np.array([200.0]), seed=2, event=event
        )
        if light.photoelectrons.sum() == 1 and not light.photoelectrons[:, 700:].any():
            found.append(float((light.adc.astype(float) - 300).sum()) / area)
    charge = np.array(found)
    panel.hist(charge, np.linspace(0, 5, 101), color=BLUE, histtype="stepfilled", alpha=0.7, label="hepfm")
    # Borel's numbers of avalanches (Vinogradov 2012), each with its width
    grid = np.linspace(0, 5, 500)
    expected = np.zeros_like(grid)
    for n in range(1, 5):
        share = (n * crosstalk) ** (n - 1) * np.exp(-n * crosstalk) / np.prod(np.arange(1, n + 1))
        sigma = np.sqrt(n * width**2 + (rms * np.sqrt(1000) / area) ** 2 + 1000 / 12 / area**2)
        expected += share * np.exp(-0.5 * ((grid - n) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    panel.plot(grid, expected * len(charge) * 0.05, color=ORANGE, label="Borel, Gaussian widths")
    panel.set(yscale="log", ylim=(0.5, None), xlabel="charge [photoelectrons]", ylabel="flashes in 0.05")
    single = charge[charge < 1.5]
    yield Check(
        what="charge of a photoelectron without crosstalk [photoelectrons]",
        hepfm=float(single.mean()),
        reference=1.0,
        within=0.03,
        source="as configured",
    )
    yield Check(
        what="mean charge with a crosstalk of 0.15",
        hepfm=float(charge.mean()),
        reference=1 / (1 - crosstalk),
        within=0.07,
        source="Vinogradov, NIM A 695 (2012) 247",
    )
    yield Check(
        what="share with two avalanches or more",
        hepfm=float((charge > 1.5).mean()),
        reference=1 - np.exp(-crosstalk),
        within=0.04,
        source="Vinogradov 2012",
    )


def _times(panel: Any) -> Iterator[Check]:
    """The average of bright flashes, fitted with two decays."""
    step_ns, samples, flashes = 2.0, 5000, 60
    simulation = _simulation({}, {"sample_ns": step_ns, "steps": 1, "samples": samples, "pretrigger": 0})
    total = np.zeros(samples)
    for event in range(flashes):
        args = _flash(), np.array([sp.ELECTRON], np.int32), np.array([4e6])
        total += simulation(*args, seed=3, event=event).photoelectrons[0]
    edges = np.arange(samples + 1) * step_ns

    def mean(x: Any) -> Any:
        size, fraction, singlet, triplet = x
        return size * (
            -fraction * np.diff(np.exp(-edges / singlet)) - (1 - fraction) * np.diff(np.exp(-edges / triplet))
        )

    def unlikely(x: Any) -> float:
        expected = np.maximum(mean(x), 1e-9)
        return float((expected - total * np.log(expected)).sum())

    options = {"maxiter": 6000, "maxfev": 6000, "xatol": 1e-4, "fatol": 1e-3}
    fit = minimize(unlikely, [total.sum(), 0.5, 12.0, 1000.0], method="Nelder-Mead", options=options).x
    groups = np.unique(np.geomspace(1, samples, 70).astype(int))
    shown = np.add.reduceat(total, groups - 1) / np.diff(np.append(groups - 1, samples))
    panel.loglog((groups - 0.5) * step_ns, shown / flashes, "o", ms=4, color=BLUE, label="mean of 60 flashes")
    panel.loglog((edges[1:] + edges[:-1]) / 2, mean(fit) / flashes, color=ORANGE, label="fit of two decays")
    panel.set(xlabel="time [ns]", ylabel="photoelectrons in 2 ns")
    yield Check(
        what="singlet time fitted back [ns]",
        hepfm=float(fit[2]),
        reference=6.0,
        within=0.2,
        source="as configured",
    )
    yield Check(
        what="triplet time fitted back [ns]",
        hepfm=float(fit[3]),
        reference=1500.0,
        within=15.0,
        source="as configured",
    )
    yield Check(
        what="singlet share of electrons fitted back",
        hepfm=float(fit[1]),
        reference=0.27,
        within=0.005,
        source="as configured",
    )


def _visibility(panel: Any) -> Iterator[Check]:
    """Along the axis of a detector, and beside it; against photons followed one by one."""
    optics = Optics(rayleigh_mm=400.0, absorption_mm=2000.0)
    wall = PhotonDetectors(
        position_mm=(-_HALF_MM, 0, 0), normal=(1, 0, 0), width_mm=200, height_mm=200, efficiency=1.0
    )
    seen_from = SolidAngle([wall], [Volume(low_mm=_CORNER[0], high_mm=_CORNER[1])], optics)
    far = np.linspace(40, 740, 36)
    ratios = []
    for beside, colour in ((0.0, BLUE), (250.0, ORANGE)):
        points = np.stack([far - _HALF_MM, np.full_like(far, beside), np.zeros_like(far)], 1)
        panel.semilogy(
            far, seen_from(points)[0][:, 0], color=colour, label=f"hepfm, {beside:.0f} mm beside the axis"
        )
        for k in (3, 12, 21, 30):
            traced, error = _trace(points[k], optics, 150_000)
            panel.errorbar(far[k], traced, error, fmt="o", ms=4, color=colour)
            ratios.append(float(seen_from(points[k : k + 1])[0][0, 0]) / traced)
    straight = Optics(rayleigh_mm=1e9, absorption_mm=1e9)
    bare = SolidAngle([wall], [Volume(low_mm=_CORNER[0], high_mm=_CORNER[1])], straight)
    points = np.stack([far - _HALF_MM, 0 * far, 0 * far], 1)
    solid = np.arctan(100**2 / (far * np.sqrt(2 * 100**2 + far**2))) / np.pi
    panel.semilogy(far, solid, "--", color=GREY, label="solid angle alone")
    panel.plot([], [], "o", ms=4, color=GREY, label="photons followed one by one")
    panel.set(xlabel="distance from the wall [mm]", ylabel="share of photons")
    yield Check(
        what="seen light over that of photons followed one by one, mean of 8 points",
        hepfm=float(np.mean(ratios)),
        reference=1.0,
        within=0.03,
        source="own Monte Carlo, 400 mm Rayleigh, 2 m absorption",
    )
    yield Check(
        what="solid angle of a detector at 320 mm, straight light alone",
        hepfm=float(bare(points[14:15])[0][0, 0]),
        reference=float(solid[14]),
        within=1e-3 * float(solid[14]),
        source="formula of a rectangle on its axis",
    )


def _trace(point: Any, optics: Optics, count: int) -> tuple[float, float]:
    """Share of photons from a point that hit the detector, and its error; walls are black."""
    rng = np.random.default_rng(0)
    at, way = np.tile(point, (count, 1)), rng.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    hits = 0
    while len(at):
        to_wall = np.where(way > 0, (_HALF_MM - at) / way, (-_HALF_MM - at) / way).min(axis=1)
        free, lost = (
            rng.exponential(optics.rayleigh_mm, len(at)),
            rng.exponential(optics.absorption_mm, len(at)),
        )
        end = at + way * to_wall[:, None]
        out = (to_wall < free) & (to_wall < lost)
        hits += int((out & (end[:, 0] < 1e-6 - _HALF_MM) & (np.abs(end[:, 1:]).max(axis=1) < 100)).sum())
        goes_on = ~out & (free < lost)
        at, old = (at + way * free[:, None])[goes_on], way[goes_on]
        # A direction at random, kept with Rayleigh's 1 + cos^2.
        way = rng.normal(size=old.shape)
        again = np.arange(len(old))
        while len(again):
            way[again] = rng.normal(size=(len(again), 3))
            way[again] /= np.linalg.norm(way[again], axis=1, keepdims=True)
            cosine = (way[again] * old[again]).sum(axis=1)
            again = again[rng.uniform(0, 2, len(again)) > 1 + cosine**2]
    return hits / count, float(np.sqrt(hits)) / count
