"""What events begin with: particle bombs, cosmic muons, given particles, and records of event generators."""

from hepfm_lartpc.vertices.composer import Composer
from hepfm_lartpc.vertices.config import (
    PRESETS,
    Bombs,
    CompositionConfig,
    Cosmics,
    Particle,
    Particles,
    RecordFile,
    preset,
)

__all__ = [
    "PRESETS",
    "Bombs",
    "Composer",
    "CompositionConfig",
    "Cosmics",
    "Particle",
    "Particles",
    "RecordFile",
    "preset",
]
