"""What an event begins with, as a recipe says it: one or more sources, added up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hepfm.errors import RecipeError, did_you_mean
from hepfm_lartpc.vertices.named import CountRange, Energy, EnergyRange, Finite, Name, Vector, unit

_MODEL = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

Fraction = Annotated[float, Field(ge=0, le=1)]


class Bombs(BaseModel):
    """Interactions at random points, each with a few random particles in random directions."""

    model_config = _MODEL

    kind: Literal["bombs"] = "bombs"
    interactions: CountRange = (1, 2)
    """Least and largest number of interactions; drawn evenly."""
    particles: CountRange = (1, 4)
    """Least and largest number of particles of an interaction; drawn evenly."""
    weights: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {
        "e-": 1.0, "photon": 1.0, "mu-": 1.0, "mu+": 1.0, "pi-": 1.0, "pi+": 1.0, "proton": 1.0,
    }  # fmt: skip
    """How often each particle is drawn, relative to the others."""
    kinetic_mev: dict[Name, EnergyRange] = {
        "e-": (50.0, 700.0), "photon": (50.0, 700.0), "mu-": (50.0, 900.0), "mu+": (50.0, 900.0),
        "pi-": (50.0, 300.0), "pi+": (50.0, 300.0), "proton": (50.0, 400.0),
    }  # fmt: skip
    """Kinetic energies of each particle, drawn evenly between the two."""
    region: float = Field(default=0.75, gt=0, le=1)
    """Share of each side of the volume, around its centre, in which interactions lie."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not sum(self.weights.values()) > 0:
            raise ValueError("at least one particle needs a weight above 0")
        missing = [name for name, weight in self.weights.items() if weight and name not in self.kinetic_mev]
        if missing:
            raise ValueError(f"kinetic_mev lacks the energies of {', '.join(missing)}")
        return self


class Cosmics(BaseModel):
    """Cosmic muons through the top face (the upper end of y)."""

    model_config = _MODEL

    kind: Literal["cosmics"] = "cosmics"
    mean: float = Field(default=0.7, ge=0, le=1000)
    """Mean number in an event; their number follows Poisson."""
    kinetic_mev: EnergyRange = (300.0, 5000.0)
    """Kinetic energies, drawn evenly between the two."""
    least_cos2: float = Field(default=0.05, gt=0, lt=1)
    """cos(zenith) is the root of a number drawn evenly between this and 1: an even intensity
    over the sky, down to a zenith angle of 77 degrees."""
    plus_share: float = Field(default=0.5, ge=0, le=1)
    """Share of mu+; 0.56 at sea level (PDG)."""
    window_ns: tuple[Finite, Finite] = (0.0, 0.0)
    """They come evenly between these times."""

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.window_ns[0] > self.window_ns[1]:
            raise ValueError(f"window_ns {self.window_ns} begins above its end")
        return self


class Particle(BaseModel):
    """One given particle."""

    model_config = _MODEL

    name: Name
    """Name or PDG number."""
    kinetic_mev: Energy
    """Kinetic energy."""
    direction: Annotated[Vector, AfterValidator(unit)] = (0.0, 0.0, 1.0)
    """Brought to length 1."""
    position_mm: Vector = (0.0, 0.0, 0.0)
    """From the detector's centre."""
    time_ns: Finite = 0.0
    """From the event's trigger."""
    interaction: int = Field(default=0, ge=0, le=1_000_000)
    """Particles of one number share an interaction."""


class Particles(BaseModel):
    """The same particles in each event, for tests and studies."""

    model_config = _MODEL

    kind: Literal["particles"] = "particles"
    particles: Annotated[list[Particle], Field(min_length=1)]
    """What each event begins with."""


class RecordFile(BaseModel):
    """Interactions from the file of an event generator."""

    model_config = _MODEL

    kind: Literal["file"] = "file"
    path: Path
    """GiBUU's ``RootTuple`` (ROOT, read by uproot) or HepMC3 (any form that pyhepmc reads)."""
    format: Literal["auto", "gibuu", "hepmc3"] = "auto"
    """``auto`` tells by the name: ``.root`` is GiBUU's, the rest HepMC3."""
    share: tuple[Fraction, Fraction] = (0.0, 1.0)
    """The part of the records that events take, from the first number on up to the second: of N records
    those from ``floor(N a)`` to below ``floor(N b)``. ``[0, 0.9]`` and ``[0.9, 1]`` have none in common."""
    pick: Literal["random", "weighted", "in-order"] = "random"
    """Event i takes any record of the share, evenly or by its weight, with the draws of (seed, i); or record
    i modulo their number, whatever the seed: then two seeds begin with the same particles."""
    unknown: Literal["error", "skip"] = "error"
    """What happens at a particle that can neither be followed nor decayed; skipped ones are counted."""
    region: float = Field(default=0.75, gt=0, le=1)
    """Share of each side of the volume, around its centre, in which interactions lie."""
    position_mm: Vector | None = None
    """All interactions at this point instead."""

    @model_validator(mode="after")
    def _holds_some(self) -> Self:
        if self.share[0] >= self.share[1]:
            raise ValueError(f"share {list(self.share)} must begin below its end")
        return self


Source = Annotated[Bombs | Cosmics | Particles | RecordFile, Field(discriminator="kind")]


class CompositionConfig(BaseModel):
    """What the events begin with."""

    model_config = _MODEL

    sources: Annotated[list[Source], Field(min_length=1)]
    """Added up in each event, in this order."""
    nuclear: bool = True
    """Whether hadrons interact with nuclei on their way."""
    muon_capture: bool = True
    """Whether nuclei capture stopped mu-."""


PRESETS = {
    "bombs": CompositionConfig(sources=[Bombs(), Cosmics()]),
    "geant4-sample": CompositionConfig(sources=[Bombs(), Cosmics()], nuclear=False, muon_capture=False),
    "cosmics": CompositionConfig(sources=[Cosmics(mean=4.0, plus_share=0.56)]),
}
"""``geant4-sample`` repeats what the project's Geant4 events were made of (README of the reference data)."""


def preset(name: str) -> CompositionConfig:
    """A named composition.

    Raises:
        RecipeError: There is none of this name.
    """
    if name not in PRESETS:
        raise RecipeError(
            f"There is no composition '{name}'.", where="composition", fix=did_you_mean(name, PRESETS)
        )
    return PRESETS[name]
