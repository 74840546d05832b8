"""What is assumed of liquid argon as a scintillator and a medium for its own light."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hepfm_lartpc import species


class SingletFraction(BaseModel):
    """Part of the light that comes from the singlet state, by what excited the argon.

    It grows with the density of ionisation: Hitachi et al., Phys. Rev. B 27 (1983) 5279 found singlet over
    triplet 0.3 for electrons and 1.3 for alpha particles. The values below, but for recoils, are those of
    LArSoft's simulations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    electron: float = Field(default=0.27, ge=0, le=1)
    """Electrons, positrons and what photons set free."""
    muon: float = Field(default=0.23, ge=0, le=1)
    """Muons."""
    pion: float = Field(default=0.23, ge=0, le=1)
    """Pions."""
    kaon: float = Field(default=0.23, ge=0, le=1)
    """Kaons."""
    proton: float = Field(default=0.29, ge=0, le=1)
    """Protons and deuterons."""
    alpha: float = Field(default=0.56, ge=0, le=1)
    """Alpha particles."""
    recoil: float = Field(default=0.7, ge=0, le=1)
    """Nuclei that neutrons hit (Lippincott et al., Phys. Rev. C 78 (2008) 035801)."""

    def by_species(self) -> NDArray[np.float64]:
        """``(species,)`` in the order of `hepfm_lartpc.species`."""
        of = {
            "mu-": self.muon, "mu+": self.muon, "pi-": self.pion, "pi+": self.pion, "K+": self.kaon,
            "K-": self.kaon, "proton": self.proton, "deuteron": self.proton, "alpha": self.alpha,
            "triton": self.proton, "He3": self.alpha, "neutron": self.recoil, "nucleus": self.recoil,
        }  # fmt: skip
        return np.array([of.get(name, self.electron) for name in species.NAMES])


class Scintillation(BaseModel):
    """Decay of the two excited states of the argon dimer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    singlet_ns: float = Field(default=6.0, gt=0)
    """Mean life of the singlet (7.0 +- 1.0 ns: Hitachi 1983)."""
    triplet_ns: float = Field(default=1500.0, gt=0)
    """Mean life of the triplet in argon as pure as that of experiments (1,600 +- 100 ns: Hitachi 1983)."""
    singlet_fraction: SingletFraction = SingletFraction()
    """By particle."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.singlet_ns >= self.triplet_ns:
            raise ValueError(f"singlet_ns {self.singlet_ns} must lie below triplet_ns {self.triplet_ns}")
        return self


class Optics(BaseModel):
    """The way of 128 nm photons through the argon. Walls absorb them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rayleigh_mm: float = Field(default=991.0, gt=0)
    """Mean free path between scatterings (991 +- 23 mm: Babicz et al., JINST 15 (2020) P09009; Grace et al.,
    NIM A 867 (2017) 204 calculate 550 +- 50 mm)."""
    absorption_mm: float = Field(default=20_000.0, gt=0)
    """Mean free path before impurities absorb it (30 +- 3 m with 2 ppm of nitrogen: Jones et al., JINST 8
    (2013) P07011; so 20 m with 3 ppm)."""
    speed_mm_ns: float = Field(default=134.0, gt=0, lt=299.8)
    """Group velocity (7.46 +- 0.08 ns/m: Babicz et al.)."""
    library: Path | None = None
    """A photon library (`hepfm_lartpc.light.library`) in place of the calculation: npz or HDF5."""
