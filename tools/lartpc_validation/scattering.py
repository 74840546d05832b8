# ruff: noqa: INP001
"""Multiple scattering, and slow electrons, which scatter most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lartpc_validation.beam import DENSITY_G_CM3, shoot
from lartpc_validation.picture import BLUE, GREEN, GREY, ORANGE, Check, Panels
from scipy.optimize import curve_fit

from hepfm_lartpc import argon
from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Simulated
from hepfm_lartpc.transport import range_mm

TITLES = ["Angle behind a slab over Highland's", "Range of slow electrons", "Electrons that turn back"]
_SLABS = ((1.0, 300.0), (3.0, 300.0), (10.0, 1000.0), (30.0, 2000.0), (100.0, 3000.0), (300.0, 5000.0))
_ELECTRONS_MEV = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


def draw(axes: Panels) -> Iterator[Check]:
    """Fills the three panels."""
    yield from _highland(axes[0])
    yield from _electrons(axes[1], axes[2])


def _highland(panel: Any) -> Iterator[Check]:
    for pieces, colour, marker in ((10, ORANGE, "s"), (40, BLUE, "o"), (120, GREEN, "^")):
        ratios = []
        for thick_mm, kinetic_mev in _SLABS:
            event = shoot(sp.MUON_MINUS, kinetic_mev, 3000, thick_mm=thick_mm, max_step_mm=thick_mm / pieces)
            momentum = np.sqrt(kinetic_mev * (kinetic_mev + 2 * sp.MUON_MASS))
            beta, x = momentum / (kinetic_mev + sp.MUON_MASS), thick_mm / 140.0
            highland = 13.6 / (beta * momentum) * np.sqrt(x) * (1 + 0.038 * np.log(x / beta**2))
            ratios.append(_central_width(_exit_angles(event, 3000)) / highland)
        thick = [thick_mm for thick_mm, _ in _SLABS]
        panel.semilogx(thick, ratios, marker, color=colour, label=f"{pieces} steps or more")
        yield Check(
            what=f"width of the angle over Highland's, mean of 1 to 300 mm, {pieces} steps",
            hepfm=float(np.mean(ratios)),
            reference=1.0,
            within=0.05,
            source="PDG equation 34.16 (good to 11 %)",
        )
    panel.axhspan(0.89, 1.11, color=GREY, alpha=0.15, label="accuracy of Highland's formula")
    panel.axhline(1.0, color=GREY, lw=1)
    panel.set(xlabel="thickness [mm]", ylabel="ratio", ylim=(0.8, 1.2))


def _exit_angles(event: Simulated, count: int) -> Any:
    """Projected angles of the last pieces of the primaries' tracks, two for each."""
    deposits = event.deposits
    own = np.flatnonzero(deposits.track < count)
    last = own[np.searchsorted(deposits.track[own], np.arange(count), side="right") - 1]
    way = deposits.end_mm[last] - deposits.start_mm[last]
    return np.arctan2(way[:, :2], way[:, 2:]).ravel()


def _central_width(values: Any) -> float:
    """Width of the Gaussian that fits the central 98 %, which is what the formula stands for."""
    counts, edges = np.histogram(values, bins=50, range=np.quantile(values, [0.01, 0.99]))
    middle = 0.5 * (edges[1:] + edges[:-1])
    (_, width), _ = curve_fit(
        lambda x, height, width: height * np.exp(-0.5 * (x / width) ** 2),
        middle,
        counts,
        p0=[counts.max(), values.std()],
    )
    return abs(float(width))


def _electrons(far: Any, back: Any) -> Iterator[Check]:
    """Number transmission and backscatter of electrons that enter argon head on."""
    count = 3000
    for label, settings, colour, marker in (
        ("default steps", {}, BLUE, "o"),
        ("steps of 0.1 mm", {"max_step_mm": 0.1, "stop_mev": 0.02}, GREEN, "^"),
    ):
        reach, turned = [], []
        for kinetic_mev in _ELECTRONS_MEV:
            event = shoot(sp.ELECTRON, kinetic_mev, count, thick_mm=100.0, **settings)
            own = event.deposits.track < count
            deepest = np.zeros(count)
            np.maximum.at(deepest, event.deposits.track[own], event.deposits.end_mm[own, 2])
            reach.append(_extrapolated(deepest))
            turned.append((event.tracks.end_mm[:count, 2] < 1e-6).mean())
        known_mm, known_back = (
            tabata_range_mm(np.array(_ELECTRONS_MEV)),
            tabata_backscatter(np.array(_ELECTRONS_MEV)),
        )
        far.loglog(_ELECTRONS_MEV, reach, marker, color=colour, label=f"extrapolated, {label}")
        back.semilogx(_ELECTRONS_MEV, turned, marker, color=colour, label=f"hepfm, {label}")
        for k in (0, 2, 4, 6):
            yield Check(
                what=f"extrapolated range of {_ELECTRONS_MEV[k]} MeV electrons, {label} [mm]",
                hepfm=reach[k],
                reference=known_mm[k],
                within=0.06 * known_mm[k],
                source="Tabata, Ito and Okabe 1972 (fit to data)",
            )
            yield Check(
                what=f"share of {_ELECTRONS_MEV[k]} MeV electrons that turn back, {label}",
                hepfm=float(turned[k]),
                reference=known_back[k],
                within=0.02,
                source="Tabata, Ito and Okabe 1971 (fit to data)",
            )
    grid = np.geomspace(0.4, 6.0, 60)
    far.loglog(grid, tabata_range_mm(grid), color=GREY, label="extrapolated, Tabata 1972")
    far.loglog(grid, range_mm(sp.ELECTRON, grid), color=ORANGE, label="along the path, hepfm")
    far.set(xlabel="kinetic energy [MeV]", ylabel="range [mm]")
    back.semilogx(grid, tabata_backscatter(grid), color=GREY, label="Tabata 1971")
    back.set(xlabel="kinetic energy [MeV]", ylabel="share of electrons", ylim=(0, 0.3))
    for panel in (far, back):
        panel.set_xticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])


def _extrapolated(deepest: Any) -> float:
    """Where the straight part of the falling transmission curve, from 0.6 to 0.2, meets zero."""
    depth = np.sort(deepest)
    passed = 1 - (np.arange(len(depth)) + 0.5) / len(depth)
    straight = (passed < 0.6) & (passed > 0.2)
    slope, height = np.polyfit(depth[straight], passed[straight], 1)
    return float(-height / slope)


def tabata_range_mm(kinetic_mev: Any) -> Any:
    """Extrapolated range in liquid argon: Tabata, Ito and Okabe, NIM 103 (1972) 85, 0.3 keV to 30 MeV."""
    tau, z = kinetic_mev / sp.ELECTRON_MASS, argon.Z
    a1, a2, a3 = 0.2335 * argon.A / z**1.209, 1.78e-4 * z, 0.9891 - 3.01e-4 * z
    a4, a5 = 1.468 - 1.180e-2 * z, 1.232 / z**0.109
    return 10 / DENSITY_G_CM3 * a1 * (np.log1p(a2 * tau) / a2 - a3 * tau / (1 + a4 * tau**a5))


def tabata_backscatter(kinetic_mev: Any) -> Any:
    """Share that a thick layer sends back: Tabata, Ito and Okabe, NIM 94 (1971) 509, to 22 MeV."""
    tau, z = kinetic_mev / sp.ELECTRON_MASS, argon.Z
    a1, a2, a3 = 1.15 * np.exp(-8.35 * z**-0.525), 0.0185 + 15.7 * z**-1.59, 1.56 - 4.42 / z
    return a1 / (1 + a2 * tau**a3)
