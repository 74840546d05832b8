# ruff: noqa: INP001
"""Electromagnetic showers, the photons in them, and the conservation of energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lartpc_validation.beam import DENSITY_G_CM3, shoot
from lartpc_validation.picture import BLUE, GREY, ORANGE, Check, Panels
from scipy.optimize import curve_fit
from scipy.special import gamma as gamma_function

from hepfm_lartpc import species as sp
from hepfm_lartpc.streams import stream
from hepfm_lartpc.transport import Transport
from hepfm_lartpc.vertices import Composer, preset

X0_MM, MOLIERE_MM = 140.0, 90.4
TITLES = [
    "Showers of electrons along their axis",
    "Energy within a distance of the axis",
    "Attenuation of photons",
]
# Hubbell and Seltzer, NISTIR 5632, argon: MeV and cm2/g with coherent scattering
NIST = np.array([
    (0.03, 2.697), (0.05, 0.7012), (0.1, 0.2043), (0.2, 0.1205), (0.4, 0.08776), (0.6, 0.07335), (1, 0.05762),
    (2, 0.04074), (4, 0.03019), (8, 0.02517), (20, 0.02453),
])  # fmt: skip


def draw(axes: Panels) -> Iterator[Check]:
    """Fills the three panels."""
    yield from _profiles(axes[0], axes[1])
    yield from _attenuation(axes[2])
    yield _conservation()


def _profiles(along: Any, across: Any) -> Iterator[Check]:
    # Grindhammer and Peters, hep-ex/0001020, equations 4, 6 and 7
    critical_mev = 2.66 * (19.55 * 18 / 39.948) ** 1.1
    for kinetic_mev, count, colour in ((1000.0, 200, BLUE), (4000.0, 60, ORANGE)):
        event = shoot(sp.ELECTRON, kinetic_mev, count)
        middle = 0.5 * (event.deposits.start_mm + event.deposits.end_mm)
        energy = event.deposits.energy_mev
        sums, edges = np.histogram(middle[:, 2] / X0_MM, np.arange(0, 25, 0.25), weights=energy)
        t, share = 0.5 * (edges[1:] + edges[:-1]), sums / energy.sum() / 0.25
        (a, b), _ = curve_fit(_gamma, t, share, p0=[3.0, 0.5], bounds=(0.1, 50))
        log = np.log(kinetic_mev / critical_mev)
        deepest, shape = log - 0.858, 0.21 + (0.492 + 2.38 / 18) * log
        label = f"{kinetic_mev / 1000:g} GeV"
        along.plot(t, share, ".", color=colour, label=f"{label}, hepfm")
        along.plot(
            t, _gamma(t, shape, (shape - 1) / deepest), color=colour, label=f"{label}, Grindhammer-Peters"
        )
        yield Check(
            what=f"depth of the maximum, {label} [X0]",
            hepfm=(a - 1) / b,
            reference=deepest,
            within=0.2,
            source="Grindhammer and Peters, hep-ex/0001020",
        )
        yield Check(
            what=f"centre of energy, {label} [X0]",
            hepfm=a / b,
            reference=shape * deepest / (shape - 1),
            within=0.4,
            source="Grindhammer and Peters, hep-ex/0001020",
        )
        radius = np.hypot(*middle[:, :2].T)
        order = np.argsort(radius)
        inside = np.cumsum(energy[order]) / energy.sum()
        across.plot(radius[order][::200] / MOLIERE_MM, inside[::200], color=colour, label=label)
        yield Check(
            what=f"energy within one Moliere radius (90.4 mm), {label}",
            hepfm=float(energy[radius < MOLIERE_MM].sum() / energy.sum()),
            reference=0.90,
            within=None,
            source="rule of thumb (PDG, section 34.5)",
        )
    along.set(xlabel="depth [radiation lengths]", ylabel="share of energy for each", xlim=(0, 16))
    across.plot([1, 3.5], [0.90, 0.99], "k+", ms=10, label="rule of thumb (PDG)")
    across.set(xlabel="distance [Moliere radii]", ylabel="share of energy", xlim=(0, 4), ylim=(0, 1.02))


def _gamma(t: Any, a: float, b: float) -> Any:
    return b * (b * t) ** (a - 1) * np.exp(-b * t) / gamma_function(a)


def _attenuation(panel: Any) -> Iterator[Check]:
    count, found = 10_000, []
    for energy_mev, known in NIST:
        thick_mm = 10 / (known * DENSITY_G_CM3)
        tracks = shoot(sp.PHOTON, energy_mev, count, thick_mm=thick_mm).tracks
        end = tracks.end_mm[:count]
        untouched = (end[:, 2] >= thick_mm * (1 - 1e-12)) & (np.abs(end[:, :2]).max(axis=1) < 1e-9)
        parents = tracks.parent[(tracks.parent >= 0) & (tracks.parent < count)]
        untouched[parents] = False
        found.append(-np.log(untouched.mean()) * known)
    panel.loglog(NIST[:, 0], found, "o", color=BLUE, label="hepfm, narrow beam")
    panel.loglog(NIST[:, 0], NIST[:, 1], color=GREY, label="NIST")
    panel.set(xlabel="photon energy [MeV]", ylabel="mass attenuation [cm$^2$/g]")
    twin = panel.inset_axes((0.5, 0.42, 0.46, 0.25))
    ratio = np.array(found) / NIST[:, 1]
    twin.semilogx(NIST[:, 0], ratio, "o", color=BLUE, ms=3)
    twin.axhline(1, color=GREY, lw=1)
    twin.set_ylim(0.93, 1.07)
    twin.set_title("ratio", fontsize=8)
    twin.tick_params(labelsize=7)
    worst = int(np.argmax(np.abs(ratio - 1)))
    yield Check(
        what="photon attenuation over NIST's, mean of 0.03 to 20 MeV",
        hepfm=float(ratio.mean()),
        reference=1.0,
        within=0.015,
        source="Hubbell and Seltzer, NISTIR 5632",
    )
    yield Check(
        what=f"the same at its worst ({NIST[worst, 0]:g} MeV)",
        hepfm=float(ratio[worst]),
        reference=1.0,
        within=0.05,
        source="Hubbell and Seltzer (statistics 1.3 %)",
    )


def _conservation() -> Check:
    box = (-1152.0,) * 3, (1152.0,) * 3
    composer, transport, worst = Composer(preset("bombs"), *box), Transport(*box), 0.0
    for event in range(200):
        balance = transport(composer(1, event), stream(1, "transport", event)).balance
        spent = balance.deposited + balance.escaped + balance.neutrinos + balance.bound
        worst = max(worst, abs(spent - balance.brought) / max(balance.brought, 1.0))
    return Check(
        what="energy that is missing, largest share in 200 events with nuclei",
        hepfm=worst,
        reference=0.0,
        within=1e-6,
        source="conservation",
    )
