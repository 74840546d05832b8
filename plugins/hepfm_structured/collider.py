"""The generator ``collider``: jets of proton collisions by Pythia, clustered by FastJet.

Pythia 8.3 (Bierlich et al., SciPost Phys. Codebases 8 (2022)) with hadronisation and underlying event, no
detector and no pileup; jets by anti-kt (Cacciari, Salam, Soyez, JHEP 04 (2008) 063).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import ClassName, PartSchema, Sample
from hepfm.errors import PluginError, RecipeError, did_you_mean
from hepfm.random import Permutation, key_of
from hepfm.readers.digest import json_digest
from hepfm_structured import fourvectors as fv
from hepfm_structured.collisions import Collisions, Jet
from hepfm_structured.schema import field, part_schema

Process = Literal["qcd", "top", "w", "z", "higgs"]
PROCESSES: tuple[Process, ...] = ("qcd", "top", "w", "z", "higgs")
PART = "structured"
_LABELS = tuple(
    ClassName(value=k, name=name)
    for k, name in enumerate(("QCD", "top", "W to quarks", "Z to quarks", "Higgs to bb"))
)
_PARTICLES = {
    "pt": field("float32", "positive", unit="GeV"),
    "eta": field("float32", "continuous", doc="pseudorapidity"),
    "phi": field("float32", "periodic", unit="rad", doc="azimuth"),
    "energy": field("float32", "positive", unit="GeV"),
    "deta": field("float32", "continuous", doc="pseudorapidity from the jet's"),
    "dphi": field("float32", "continuous", unit="rad", doc="azimuth from the jet's"),
    "charge": field("int8", "categorical", vocabulary="charge"),
    "species": field("int8", "categorical", vocabulary="species", doc="what a detector tells apart"),
    "pdg": field("int32", label=True, doc="PDG code"),
}
_JET = {
    "pt": field("float32", "positive", unit="GeV", doc="of the jet"),
    "eta": field("float32", "continuous", doc="of the jet"),
    "phi": field("float32", "periodic", unit="rad", doc="of the jet"),
    "mass": field("float32", "positive", unit="GeV", doc="of the jet"),
    "n_jets": field("int16", "continuous", doc="jets of the event above 30 GeV, within 4.5 of eta 0"),
    "process": field("int8", vocabulary="process", label=True, doc="what the jet began with"),
}
_PYTHIA_SEEDS = 900_000_000
"""Seeds from 1 to this number are streams of their own of Pythia's generator (RANMAR)."""
_MOST_SKIPPED = 1024


class ColliderGenerator:
    """One jet an event. Pythia starts in about half a second for each process, at its first event.

    Event i begins with a state of Pythia's random numbers that is of seed and i alone: a seed of Pythia's
    that no other of the run's first 899,999,999 events has, and a number of skipped draws that is the run's.

    Raises:
        PluginError: pythia8mc or fastjet is not installed.
        RecipeError: There is no such part, or the momenta make no sense.
    """

    class Config(BaseModel):
        """What is simulated."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        processes: tuple[Process, ...] = PROCESSES
        """What jets begin with: qcd, top, w, z, higgs; each event draws one, evenly."""
        cm_energy_gev: float = Field(default=13_000.0, gt=100)
        """Energy of the proton collisions in their rest frame."""
        pt_gev: tuple[float, float] = (500.0, 1000.0)
        """Least and greatest transverse momentum of the jet."""
        eta_max: float = Field(default=2.0, gt=0)
        """Greatest pseudorapidity of the jet, either side."""
        radius: float = Field(default=0.8, gt=0, le=2)
        """Of anti-kt. All quarks that a top, W, Z or Higgs decays to are within it of the jet's axis."""

    parts: Mapping[str, PartSchema]

    def __init__(self, config: Config, *, seed: int, parts: Collection[str] | None = None) -> None:
        if missing := [name for name in ("pythia8mc", "fastjet") if find_spec(name) is None]:
            what = f"the generator collider needs {' and '.join(missing)}, not installed here"
            raise PluginError(what, fix="pip install --only-binary pythia8mc 'hepfm[collider]'")
        low, high = config.pt_gev
        if not 0 < low < high < config.cm_energy_gev / 2:
            what = f"jets from {low:g} to {high:g} GeV cannot be made at {config.cm_energy_gev:g} GeV"
            raise RecipeError(what, where="pt_gev", fix="give the least, then the greatest, in GeV")
        if not config.processes:
            fix = f"known: {', '.join(PROCESSES)}"
            raise RecipeError("there is no process to draw from", where="processes", fix=fix)
        for part in parts or ():
            if part != PART:
                what = f"The generator collider has no part '{part}'."
                raise RecipeError(what, where="parts", fix=did_you_mean(part, [PART]))
        schema = part_schema(_PARTICLES, _JET, vocabularies={"process": _LABELS}, order="pt")
        self.parts = {PART: schema} if parts is None or PART in parts else {}
        self.config, self._seed = config, seed
        self._collisions: dict[Process, Collisions] = {}

    def digest(self) -> str:
        """Of the configuration and the versions of Pythia and FastJet."""
        versions = [metadata.version(name) for name in ("pythia8mc", "fastjet")]
        return json_digest([self.config.model_dump(mode="json"), versions])

    def event(self, index: int) -> Sample:
        """Jet ``index``.

        Raises:
            RecipeError: Of a thousand collisions none has such a jet.
        """
        if not self.parts:
            return Sample(parts={})
        process = self.config.processes[
            key_of("collider", "process", self._seed, index)[0] % len(self.config.processes)
        ]
        if process not in self._collisions:
            c = self.config
            self._collisions[process] = Collisions(
                process, cm_energy_gev=c.cm_energy_gev, pt_gev=c.pt_gev, eta_max=c.eta_max, radius=c.radius
            )
        jet = self._collisions[process].jet(*self._stream(index))
        inputs, labels = _columns(jet)
        labels["event"] = {"process": np.array([PROCESSES.index(process)], np.int8)}
        return Sample(parts={PART: inputs}, labels={PART: labels})

    def _stream(self, index: int) -> tuple[int, int]:
        """Pythia's seed, and draws to skip, of one event."""
        turn, rest = divmod(index, _PYTHIA_SEEDS - 1)
        seed = int(Permutation(_PYTHIA_SEEDS - 1, "collider", self._seed, turn)[rest : rest + 1][0]) + 1
        return seed, key_of("collider", "skip", self._seed, turn)[0] % _MOST_SKIPPED

    def close(self) -> None:
        """Lets go of Pythia."""
        self._collisions.clear()


def _columns(jet: Jet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tables of inputs and of labels; constituents in descending order of pt."""
    order = np.argsort(-fv.pt_of(*jet.momenta[:, :2].T), kind="stable")
    p, pdg, charge = jet.momenta[order], jet.pdg[order], jet.charge[order]
    axis = jet.momenta.sum(0)
    jet_eta, jet_phi = (float(of(*axis[:n])) for of, n in ((fv.eta_of, 3), (fv.phi_of, 2)))
    eta, phi = fv.eta_of(*p[:, :3].T), fv.phi_of(*p[:, :2].T)
    columns = {
        "pt": fv.pt_of(*p[:, :2].T),
        "eta": eta,
        "phi": phi,
        "energy": p[:, 3],
        "deta": eta - jet_eta,
        "dphi": np.remainder(phi - jet_phi + np.pi, 2 * np.pi) - np.pi,
        "charge": charge,
        "species": species_of(pdg, charge),
    }
    event = {
        "pt": fv.pt_of(*axis[:2]),
        "eta": jet_eta,
        "phi": jet_phi,
        "mass": fv.mass_of(*axis),
        "n_jets": jet.n_jets,
    }
    return {
        "particles": {n: v.astype(_PARTICLES[n].column.dtype) for n, v in columns.items()},
        "event": {n: np.array([v], _JET[n].column.dtype) for n, v in event.items()},
    }, {"particles": {"pdg": pdg}}


def species_of(pdg: np.ndarray[Any, Any], charge: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Classes of the vocabulary ``species``."""
    code = np.abs(pdg)
    species = np.where(charge != 0, 0, 1)
    for value, of in ((2, 22), (3, 11), (4, 13)):
        species[code == of] = value
    return species
