"""Straight tracks of minimum-ionising particles in a box of liquid argon, as 3D images."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Column, PartSchema, Sample
from hepfm.readers.digest import json_digest

MEV_MM = 0.21
"""Mean energy loss of a minimum-ionising particle in liquid argon (PDG)."""
STEP_MM = 0.5

VOXELS = {
    "voxel": Column(dtype="uint16", shape=(3,), unit="voxel"),
    "energy_mev": Column(dtype="float32", unit="MeV"),
    "track": Column(dtype="int32", label=True, doc="number of the track that left most of the energy"),
}


class CLASS:
    """Event i depends on configuration, seed and i alone (`hepfm.api.Generator`)."""

    class Config(BaseModel):
        """Options of ``hepfm simulate NAME`` and of recipes."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        tracks: int = Field(default=3, ge=1)
        """Tracks of an event."""
        length_mm: float = Field(default=300.0, gt=0)
        """Mean length of a track, before it leaves the box; lengths fall exponentially."""
        spread: float = Field(default=0.2, gt=0)
        """Relative spread of the energy in a voxel."""
        voxel_mm: float = Field(default=3.0, gt=0)
        """Edge of a voxel."""
        side: int = Field(default=192, ge=2, le=1024)
        """Voxels along an edge of the box."""

    def __init__(self, config: Config, *, seed: int, parts: Collection[str] | None = None) -> None:
        self.config, self.seed = config, seed
        image = PartSchema(
            kind="image3d",
            primary="voxels",
            tables={"voxels": VOXELS},
            attributes={
                "voxel_mm": config.voxel_mm,
                "grid": [config.side] * 3,
                "origin_mm": [0.0, 0.0, 0.0],
                "hilbert_column": "voxel",
            },
        )
        self.parts: dict[str, PartSchema] = {"image3d": image}  # one: there is nothing to leave out

    def digest(self) -> str:
        """Of all options."""
        return json_digest(self.config.model_dump(mode="json"))

    def event(self, index: int) -> Sample:
        """Event ``index``, of random numbers that are its own."""
        rng, config = np.random.Generator(np.random.Philox(key=[self.seed, index])), self.config
        start = rng.uniform(0, config.side * config.voxel_mm, (config.tracks, 3))
        direction = rng.normal(size=(config.tracks, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        steps = np.ceil(rng.exponential(config.length_mm / STEP_MM, config.tracks)).astype(np.int64)
        track = np.repeat(np.arange(config.tracks), steps)
        step = np.arange(len(track)) - np.repeat(np.cumsum(steps) - steps, steps)
        at = start[track] + STEP_MM * (step[:, None] + 0.5) * direction[track]
        voxel = np.floor(at / config.voxel_mm).astype(np.int64)
        inside = ((voxel >= 0) & (voxel < config.side)).all(1)
        grid = (config.side,) * 3
        number, row = np.unique(np.ravel_multi_index(voxel[inside].T, grid), return_inverse=True)
        each = np.zeros((config.tracks, len(number)))
        np.add.at(each, (track[inside], row), MEV_MM * STEP_MM)
        shape = config.spread**-2
        energy = each.sum(0) * rng.gamma(shape, 1 / shape, len(number))
        inputs = {
            "voxel": np.stack(np.unravel_index(number, grid), 1).astype(np.uint16),
            "energy_mev": energy.astype(np.float32),
        }
        labels = {"track": each.argmax(0).astype(np.int32)}
        return Sample(parts={"image3d": {"voxels": inputs}}, labels={"image3d": {"voxels": labels}})

    def close(self) -> None:
        """There is nothing to free."""
