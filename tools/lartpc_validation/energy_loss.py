# ruff: noqa: INP001
"""Ranges, energy loss along a track, and its fluctuations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lartpc_validation.beam import DENSITY_G_CM3, losses_mev, shoot
from lartpc_validation.picture import BLUE, GREEN, ORANGE, Check, Panels
from scipy import stats

from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Simulated
from hepfm_lartpc.transport import range_mm

# MeV, MeV cm2/g, g/cm2
MUON = np.array([
    (10, 5.687, 0.9833), (20, 3.502, 3.321), (40, 2.340, 10.58), (80, 1.771, 30.84), (100, 1.669, 42.50),
    (140, 1.570, 67.32), (200, 1.518, 106.3), (300, 1.510, 172.5), (400, 1.526, 238.5), (800, 1.610, 493.4),
    (1000, 1.645, 616.3),
])  # fmt: skip
TABLE = "Groom, Mokhov and Striganov 2001 (PDG), liquid argon"
TITLES = ["Energy loss along stopping tracks", "Range", "Loss of 1 GeV muons (lines: Landau)"]
_KINDS = {sp.MUON_PLUS: ("muon", BLUE, 1.0), sp.PROTON: ("proton", ORANGE, sp.PROTON_MASS / sp.MUON_MASS)}


def draw(axes: Panels) -> Iterator[Check]:
    """Fills the three panels."""
    yield from _along(axes[0])
    yield from _ranges(axes[1])
    yield from _landau(axes[2])


def _along(panel: Any) -> Iterator[Check]:
    edges_cm = np.geomspace(1.0, 60.0, 13)
    middle = np.sqrt(edges_cm[1:] * edges_cm[:-1])
    for species, kinetic_mev in ((sp.MUON_PLUS, 250.0), (sp.PROTON, 380.0)):
        name, colour, scale = _KINDS[species]
        dedx = _loss_at_residual_range(shoot(species, kinetic_mev, 200), 200, edges_cm)
        # A heavier particle of unit charge and the same speed loses as much, and goes further by its mass.
        known_cm = MUON[:, 2] * scale / DENSITY_G_CM3
        known = np.exp(np.interp(np.log(middle), np.log(known_cm), np.log(MUON[:, 1]))) * DENSITY_G_CM3
        panel.loglog(middle, dedx, "o", color=colour, label=f"{name}, hepfm")
        shown = (known_cm > 0.7) & (known_cm < 90)
        panel.loglog(known_cm[shown], MUON[shown, 1] * DENSITY_G_CM3, color=colour, label=f"{name}, tables")
        inside = middle > known_cm[0]
        worst = np.argmax(np.abs(dedx / known - 1)[inside])
        yield Check(
            what=f"{name} dE/dx, {middle[inside][0]:.0f} to 55 cm from the end, at its worst [MeV/cm]",
            hepfm=dedx[inside][worst],
            reference=known[inside][worst],
            within=0.06 * known[inside][worst],
            source=TABLE,
        )
    panel.set(xlabel="residual range [cm]", ylabel="dE/dx [MeV/cm]")
    panel.set_yticks([2, 5, 10, 20], ["2", "5", "10", "20"])


def _loss_at_residual_range(event: Simulated, count: int, edges_cm: Any) -> Any:
    """Mean loss for each cm, electrons that were knocked on counted where they were: ``(bins,)``."""
    deposits, tracks = event.deposits, event.tracks
    place, energy = [], []
    knocked = np.flatnonzero((tracks.process == sp.DELTA) & (tracks.parent < count))
    for i in range(count):
        own = np.flatnonzero(deposits.track == i)
        path = np.cumsum(deposits.length_mm[own])
        mine = knocked[tracks.parent[knocked] == i]
        there = np.interp(tracks.start_ns[mine], deposits.time_ns[own], path - deposits.length_mm[own])
        place += [path[-1] - path + deposits.length_mm[own] / 2, path[-1] - there]
        energy += [deposits.energy_mev[own], tracks.kinetic_mev[mine]]
    sums, _ = np.histogram(0.1 * np.concatenate(place), edges_cm, weights=np.concatenate(energy))
    return sums / count / np.diff(edges_cm)


def _ranges(panel: Any) -> Iterator[Check]:
    grid = np.geomspace(8.0, 1200.0, 100)
    for species, (name, colour, scale) in _KINDS.items():
        energy = grid * scale**0.5
        panel.loglog(energy, 0.1 * range_mm(species, energy), color=colour, label=f"{name}, hepfm")
        points = MUON[:, 0] * scale < 1500
        panel.loglog(
            MUON[points, 0] * scale,
            MUON[points, 2] * scale / DENSITY_G_CM3,
            "o",
            color=colour,
            mfc="none",
            label=f"{name}, tables",
        )
    panel.set(xlabel="kinetic energy [MeV]", ylabel="range [cm]")
    worst = np.argmax(np.abs(range_mm(sp.MUON_PLUS, MUON[1:, 0]) * 0.1 * DENSITY_G_CM3 / MUON[1:, 2] - 1)) + 1
    yield Check(
        what=f"muon range, 20 to 1000 MeV, at its worst ({MUON[worst, 0]:.0f} MeV) [g/cm2]",
        hepfm=float(range_mm(sp.MUON_PLUS, MUON[worst : worst + 1, 0])[0]) * 0.1 * DENSITY_G_CM3,
        reference=MUON[worst, 2],
        within=0.005 * MUON[worst, 2],
        source=TABLE,
    )
    for species, name, kinetic_mev, known_cm, source in (
        (sp.MUON_MINUS, "muons", 250.0, 100.0, TABLE),
        (sp.PROTON, "protons", 200.0, 26.1, "PSTAR (NIST)"),
    ):
        length = shoot(species, kinetic_mev, 300).tracks.length_mm[:300]
        length = length[length > 8.0 * known_cm]  # a muon that decayed on its way has no range
        panel.plot(kinetic_mev, 0.1 * length.mean(), "*", color=GREEN, ms=12, zorder=4)
        yield Check(
            what=f"mean path of {name} of {kinetic_mev:.0f} MeV [cm]",
            hepfm=0.1 * length.mean(),
            reference=known_cm,
            within=0.02 * known_cm,
            source=source,
        )
    panel.plot([], [], "*", color=GREEN, ms=10, label="simulated tracks")


def _landau(panel: Any) -> Iterator[Check]:
    count, kinetic_mev = 10_000, 1000.0
    gamma = 1 + kinetic_mev / sp.MUON_MASS
    beta2, x = 1 - gamma**-2, 0.5 * np.log10(gamma**2 - 1)
    delta = 2 * np.log(10) * x - 5.2146 + 0.19559 * (3.0 - x) ** 3
    for thick_mm, colour in ((3.0, BLUE), (10.0, ORANGE), (50.0, GREEN)):
        xi = 0.00965776 * thick_mm / beta2
        log = np.log(2 * sp.ELECTRON_MASS * (gamma**2 - 1) / 188e-6) + np.log(xi / 188e-6)
        mode = xi * (log + 0.200 - beta2 - delta)
        lost = losses_mev(shoot(sp.MUON_MINUS, kinetic_mev, count, thick_mm=thick_mm), count)
        lam = (lost - mode) / xi - 0.22278
        edges = np.linspace(-3.5, 12, 63)
        counts, _ = np.histogram(lam, edges)
        middle = 0.5 * (edges[1:] + edges[:-1])
        panel.errorbar(
            thick_mm**-1 * (mode + xi * (middle + 0.22278)) * 10,
            counts / count * thick_mm / (xi * 2.5),
            np.sqrt(counts) / count * thick_mm / (xi * 2.5),
            fmt=".",
            ms=4,
            color=colour,
            label=f"{thick_mm:.0f} mm",
        )
        # scipy's is the stable distribution with another scale
        ideal = stats.landau.pdf((middle - np.log(np.pi / 2)) * 2 / np.pi) * 2 / np.pi
        panel.plot(
            10 / thick_mm * (mode + xi * (middle + 0.22278)), ideal * thick_mm / xi / 10, color=colour, lw=1
        )
        top = np.abs(middle + 0.22278) < 1.2
        a, b, _ = np.polyfit(middle[top], np.log(np.maximum(counts[top], 1)), 2)
        yield Check(
            what=f"most probable loss of 1 GeV muons over {thick_mm:.0f} mm [MeV/cm]",
            hepfm=10 / thick_mm * (mode + xi * (-b / (2 * a) + 0.22278)),
            reference=10 / thick_mm * mode,
            within=0.02 * 10 / thick_mm * mode,
            source="Landau, Bichsel (PDG equation 34.12)",
        )
        within = lam < 12
        top_share = stats.landau.cdf((12 - np.log(np.pi / 2)) * 2 / np.pi)
        distance = stats.kstest(
            lam[within], lambda v, t=top_share: stats.landau.cdf((v - np.log(np.pi / 2)) * 2 / np.pi) / t
        ).statistic
        yield Check(
            what=f"distance of the distribution from Landau's (Kolmogorov), {thick_mm:.0f} mm",
            hepfm=distance,
            reference=0.0,
            within=0.025,
            source="Landau 1944",
        )
    mean = losses_mev(shoot(sp.MUON_MINUS, 300.0, 4000, thick_mm=40.0), 4000).mean() / 4
    yield Check(
        what="mean loss of 300 MeV muons [MeV/cm]",
        hepfm=mean,
        reference=1.510 * DENSITY_G_CM3,
        within=0.02,
        source=TABLE,
    )
    panel.set(xlabel="loss [MeV/cm]", ylabel="muons for each MeV/cm", xlim=(1.2, 3.4))
