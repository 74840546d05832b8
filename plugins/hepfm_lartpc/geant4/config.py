"""What of Geant4 can be set."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Geant4Config(BaseModel):
    """Geant4's physics, and where its data files are."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    physics_list: str = "FTFP_BERT"
    """A reference physics list, with an electromagnetic one (``FTFP_BERT_EMZ``) where wanted. Without nuclear
    interactions (``transport.nuclear=false``) standard electromagnetic physics and decays are taken."""
    production_cut_mm: float = Field(default=0.5, gt=0, le=100)
    """Range in argon below which photons and electrons are not made particles of their own."""
    data: Path | None = None
    """A folder that holds Geant4's data sets (G4EMLOW8.8, ...); by default the environment says where they
    are, as Geant4's installation sets it (G4LEDATA, ..., or GEANT4_DATA_DIR). Nothing is ever downloaded."""
