# ruff: noqa: INP001
"""Muons at rest, and hadrons that meet nuclei."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lartpc_validation.beam import shoot
from lartpc_validation.picture import BLUE, GREEN, GREY, ORANGE, PURPLE, Check, Panels
from scipy import stats

from hepfm_lartpc import argon
from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Array, Tracks
from hepfm_lartpc.nuclear import hadron_length_mm

TITLES = [
    "Electrons of muons that stopped",
    "Time from stop to electron",
    "Inelastic cross sections on argon",
]
ENDPOINT_MEV = 52.828
_COUNT = 8000


def draw(axes: Panels) -> Iterator[Check]:
    """Fills the three panels."""
    plus, minus = (
        shoot(species, 4.0, _COUNT, nuclear=True, muon_capture=True).tracks
        for species in (sp.MUON_PLUS, sp.MUON_MINUS)
    )
    yield from _michel(axes[0], plus)
    yield from _lives(axes[1], plus, minus)
    yield from _hadrons(axes[2])


def _electrons(tracks: Tracks) -> Array:
    """Rows of the electrons and positrons that the stopped muons became."""
    light = np.isin(tracks.species, (sp.ELECTRON, sp.POSITRON)) & (tracks.process == sp.DECAY)
    return np.flatnonzero(light & (tracks.parent >= 0) & (tracks.parent < _COUNT))


def _michel(panel: Any, tracks: Tracks) -> Iterator[Check]:
    energy = tracks.kinetic_mev[_electrons(tracks)] + sp.ELECTRON_MASS
    counts, edges = np.histogram(energy, np.linspace(0, 55, 56))
    middle = 0.5 * (edges[1:] + edges[:-1])
    panel.errorbar(
        middle, counts / len(energy), np.sqrt(counts) / len(energy), fmt=".", color=BLUE, label="hepfm"
    )
    x = np.linspace(0, 1, 400)
    panel.plot(x * ENDPOINT_MEV, 2 * x**2 * (3 - 2 * x) / ENDPOINT_MEV, color=ORANGE, label="Michel, no mass")
    panel.axvline(ENDPOINT_MEV, color=GREY, lw=1, ls="--", label="endpoint 52.83 MeV")
    panel.set(xlabel="total energy [MeV]", ylabel="share for each MeV")
    x = energy / ENDPOINT_MEV
    distance = stats.kstest(x, lambda v: np.clip(2 * v**3 - v**4, 0, 1)).statistic
    yield Check(
        what="mean energy of Michel electrons [MeV]",
        hepfm=float(energy.mean()),
        reference=0.35 * sp.MUON_MASS,
        within=0.5,
        source="7/20 of the muon's mass (Michel 1950)",
    )
    yield Check(
        what="largest energy of 8,000 [MeV]",
        hepfm=float(energy.max()),
        reference=ENDPOINT_MEV,
        within=0.3,
        source="kinematics",
    )
    yield Check(
        what="distance of the spectrum from Michel's (Kolmogorov)",
        hepfm=float(distance),
        reference=0.0,
        within=0.02,
        source="Michel 1950, rho = 3/4",
    )


def _lives(panel: Any, plus: Tracks, minus: Tracks) -> Iterator[Check]:
    for tracks, name, colour, life_ns, within, source in (
        (plus, "mu+", BLUE, 2196.98, 80.0, "PDG"),
        (
            minus,
            "mu-",
            ORANGE,
            570.0,
            45.0,
            "capture rates of 1.20 to 1.41 /us: 539 to 608 ns (Measday 2001)",
        ),
    ):
        rows = _electrons(tracks)
        wait_ns = tracks.start_ns[rows] - tracks.end_ns[tracks.parent[rows]]
        edges = np.linspace(0, 6000, 31)
        counts, _ = np.histogram(wait_ns, edges)
        seen = counts > 0
        panel.errorbar(
            1e-3 * (edges[:-1] + 100)[seen],
            counts[seen],
            np.sqrt(counts[seen]),
            fmt=".",
            color=colour,
            label=name,
        )
        panel.plot(1e-3 * edges, len(rows) * 200 / life_ns * np.exp(-edges / life_ns), color=colour, lw=1)
        yield Check(
            what=f"mean life of {name} at rest [ns]",
            hepfm=float(wait_ns.mean()),
            reference=life_ns,
            within=within,
            source=source,
        )
    yield Check(
        what="share of mu- that is captured",
        hepfm=1 - len(_electrons(minus)) / _COUNT,
        reference=0.745,
        within=0.02,
        source="rate of 1.30 /us over all (Measday 2001)",
    )
    panel.set(yscale="log", ylim=(0.7, None), xlabel="time [us]", ylabel="electrons in 0.2 us")


def _hadrons(panel: Any) -> Iterator[Check]:
    energy = np.geomspace(20, 1e5, 200)
    for species, name, colour in (
        (sp.PION_PLUS, "pi+", BLUE),
        (sp.PION_MINUS, "pi-", ORANGE),
        (sp.PROTON, "proton", GREEN),
        (sp.NEUTRON, "neutron, with elastic", PURPLE),
    ):
        length = np.array([hadron_length_mm(species, float(kinetic)) for kinetic in energy])
        panel.semilogx(energy, 1e25 / (length * argon.ATOMS_MM3) * 1e-3, color=colour, label=name)
    # PDG, properties of argon: nuclear interaction lengths in g/cm2, for 200 GeV/c
    for species, name, interaction_g_cm2, colour in (
        (sp.PROTON, "protons", 119.7, GREEN),
        (sp.PION_PLUS, "pions", 149.0, BLUE),
    ):
        known = argon.A / (0.602214076 * interaction_g_cm2)
        panel.plot(9e4, known, "o", color=colour, mfc="none")
        ours = 1e22 / (hadron_length_mm(species, 9e4) * argon.ATOMS_MM3)
        yield Check(
            what=f"inelastic cross section of {name} at high energy [b]",
            hepfm=float(ours),
            reference=known,
            within=0.12 * known,
            source="interaction length, PDG (200 GeV/c)",
        )
    panel.plot([], [], "o", color=GREY, mfc="none", label="PDG, protons and pions")
    kinetic_mev, thick_mm, count = 300.0, 50.0, 6000
    tracks = shoot(sp.PION_PLUS, kinetic_mev, count, thick_mm=thick_mm, nuclear=True).tracks
    met = len(np.unique(tracks.parent[(tracks.process == sp.NUCLEAR) & (tracks.parent < count)])) / count
    measured = -np.log(1 - met) / (thick_mm * argon.ATOMS_MM3) * 1e22
    panel.plot(kinetic_mev, measured, "*", color=BLUE, ms=11, label="pi+ simulated, 50 mm")
    yield Check(
        what="inelastic cross section of pi+ that 300 MeV tracks over 50 mm have [b]",
        hepfm=float(measured),
        reference=0.65,
        within=0.07,
        source="Barashenkov 1990, calcium",
    )
    panel.set(xlabel="kinetic energy [MeV]", ylabel="cross section [b]", ylim=(0, 2.2))
