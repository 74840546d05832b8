"""What of the transport can be set."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TransportConfig(BaseModel):
    """Cuts and switches of the particle transport."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    delta_cut_mev: float = Field(default=0.3, ge=0.05, le=10.0)
    """Knock-on electrons above it are particles of their own; below, loss of their parent's step."""
    photon_cut_mev: float = Field(default=0.03, ge=0.01, le=1.0)
    """Bremsstrahlung photons above it are particles of their own; below, loss of their parent's step."""
    stop_mev: float = Field(default=0.15, ge=0.01, le=1.0)
    """An electron below it is left at its place, with the range that it still had as its length."""
    max_step_mm: float = Field(default=1.5, ge=0.005, le=50.0)
    """Longest step of a charged particle, and so longest deposit. Time and memory go as its inverse."""
    nuclear: bool = True
    """Whether hadrons interact with argon nuclei, in flight and at rest; else they decay or range out."""
    muon_capture: bool = True
    """Whether negative muons at rest may be captured; else all of them decay."""
