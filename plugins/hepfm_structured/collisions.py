"""Proton collisions of one process by Pythia, and the jet that they are made for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepfm.errors import RecipeError

_QUARKS = "1 2 3 4 5"
_PROCESSES = {
    "qcd": ("HardQCD:all = on",),
    "top": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off", f"24:onIfAny = {_QUARKS}"),
    "w": (
        "WeakBosonAndParton:qqbar2Wg = on",
        "WeakBosonAndParton:qg2Wq = on",
        "24:onMode = off",
        f"24:onIfAny = {_QUARKS}",
    ),
    "z": (
        "WeakBosonAndParton:qqbar2gmZg = on",
        "WeakBosonAndParton:qg2gmZq = on",
        "WeakZ0:gmZmode = 2",
        "23:onMode = off",
        f"23:onIfAny = {_QUARKS}",
    ),
    "higgs": (
        "HiggsSM:gg2Hg(l:t) = on",
        "HiggsSM:qg2Hq(l:t) = on",
        "HiggsSM:qqbar2Hg(l:t) = on",
        "25:onMode = off",
        "25:onIfMatch = 5 -5",
    ),
}
_RESONANCE = {"top": 6, "w": 24, "z": 23, "higgs": 25}
_PT_SLACK = (0.8, 1.25)
"""Range of the hard process, as shares of the jet's least and greatest pt: radiation moves jets within it."""
_COUNTED_GEV, _COUNTED_ETA = 30.0, 4.5
_MOST_TRIES = 1000


@dataclass(frozen=True)
class Jet:
    """Constituents of a jet: momenta ``(N, 4)`` as px, py, pz, E in GeV; PDG codes and charges ``(N,)``.

    Attributes:
        n_jets: Jets of the event above 30 GeV within 4.5 of pseudorapidity 0.
    """

    momenta: np.ndarray[Any, Any]
    pdg: np.ndarray[Any, Any]
    charge: np.ndarray[Any, Any]
    n_jets: int


class Collisions:
    """Pythia for one process.

    Raises:
        RecipeError: Pythia refuses the configuration.
    """

    def __init__(
        self,
        process: str,
        *,
        cm_energy_gev: float,
        pt_gev: tuple[float, float],
        eta_max: float,
        radius: float,
    ) -> None:
        import pythia8mc

        self._process, self._pt, self._eta_max, self._radius = process, pt_gev, eta_max, radius
        self._pythia = pythia8mc.Pythia("", False)  # no banner
        for line in (
            "Print:quiet = on",
            f"Beams:eCM = {cm_energy_gev}",
            f"PhaseSpace:pTHatMin = {_PT_SLACK[0] * pt_gev[0]}",
            f"PhaseSpace:pTHatMax = {_PT_SLACK[1] * pt_gev[1]}",
            "ParticleDecays:limitTau0 = on",
            "ParticleDecays:tau0Max = 10",
            "Random:setSeed = on",
            "Random:seed = 1",
            *_PROCESSES[process],
        ):
            assert self._pythia.readString(line), line
        if not self._pythia.init():
            what = f"Pythia cannot make {process} jets of {pt_gev[0]:g} to {pt_gev[1]:g} GeV"
            raise RecipeError(what, where="collider", fix="change pt_gev or cm_energy_gev")

    def jet(self, seed: int, skip: int) -> Jet:
        """The first jet that is asked for, of collisions from a state of the random numbers on.

        Args:
            seed: 1 to 900,000,000.
            skip: Draws that are not used.

        Raises:
            RecipeError: None of a thousand collisions has one.
        """
        rndm = self._pythia.rndm
        rndm.init(seed)
        for _ in range(skip):
            rndm.flat()
        for _ in range(_MOST_TRIES):
            if self._pythia.next() and (jet := self._selected()) is not None:
                return jet
        what = f"none of {_MOST_TRIES} collisions has a {self._process} jet as asked for"
        raise RecipeError(what, where="collider", fix="widen pt_gev, eta_max or radius")

    def _selected(self) -> Jet | None:
        import fastjet

        event = self._pythia.event
        visible = [p for p in event if p.isFinal() and p.isVisible()]
        objects = []
        for k, p in enumerate(visible):
            one = fastjet.PseudoJet(p.px(), p.py(), p.pz(), p.e())
            one.set_user_index(k)
            objects.append(one)
        with _banner_on_stderr():
            clusters = fastjet.ClusterSequence(
                objects, fastjet.JetDefinition(fastjet.antikt_algorithm, self._radius)
            )
        jets = fastjet.sorted_by_pt(clusters.inclusive_jets(_COUNTED_GEV))
        decays = self._decays(event)
        for jet in jets if decays is not None else jets[:1]:
            if not (self._pt[0] <= jet.pt() <= self._pt[1] and abs(jet.eta()) <= self._eta_max):
                continue
            if decays is None or any(self._holds(jet, quarks) for quarks in decays):
                kept = [visible[c.user_index()] for c in jet.constituents()]
                return Jet(
                    momenta=np.array([(p.px(), p.py(), p.pz(), p.e()) for p in kept]),
                    pdg=np.array([p.id() for p in kept], np.int32),
                    charge=np.array([round(p.charge()) for p in kept], np.int8),
                    n_jets=sum(abs(j.eta()) <= _COUNTED_ETA for j in jets),
                )
        return None

    def _decays(self, event: Any) -> list[list[Any]] | None:
        """The quarks that each resonance decays to; None for a process without one."""
        if self._process not in _RESONANCE:
            return None
        wanted = _RESONANCE[self._process]
        last = [k for k in range(event.size()) if abs(event[k].id()) == wanted and event[k].iBotCopyId() == k]
        return [_quarks(event, k) for k in last]

    def _holds(self, jet: Any, quarks: list[Any]) -> bool:
        """Whether all quarks are within the radius of the jet's axis."""
        for quark in quarks:
            dphi = abs(np.remainder(quark.phi() - jet.phi() + np.pi, 2 * np.pi) - np.pi)
            if np.hypot(quark.eta() - jet.eta(), dphi) >= self._radius:
                return False
        return True


def _quarks(event: Any, k: int) -> list[Any]:
    """The quarks at the end of a chain of decays of resonances."""
    found: list[Any] = []
    for daughter in event[event[k].iBotCopyId()].daughterList():
        if abs(event[daughter].id()) in {6, 23, 24, 25}:
            found += _quarks(event, daughter)
        elif abs(event[daughter].id()) <= 5:
            found.append(event[daughter])
    return found


_SHOWN = False


@contextmanager
def _banner_on_stderr() -> Iterator[None]:
    """FastJet prints whom to cite at its first clustering; not into what a command prints."""
    global _SHOWN  # noqa: PLW0603  FastJet's own state, once a process
    if _SHOWN:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        _SHOWN = True
