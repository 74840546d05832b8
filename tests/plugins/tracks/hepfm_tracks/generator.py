"""Straight minimum-ionising muons through a cube of liquid argon, as voxels and as a list of muons."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Column, PartSchema, Sample
from hepfm.errors import RecipeError
from hepfm.readers.digest import json_digest

MOST_PROBABLE_MEV_MM = 0.17
"""Most probable energy loss of a minimum-ionising particle over some mm of liquid argon (PDG)."""


class Noise(BaseModel):
    """Voxels that no muon made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    voxels: float = Field(default=3.0, ge=0)
    """Mean number of them."""
    energy_mev: float = Field(default=0.3, gt=0)
    """Mean energy of each."""


class Config(BaseModel):
    """What is simulated."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    muons: int = Field(default=2, ge=1)
    """Muons of an event."""
    voxel_mm: float = Field(default=3.0, gt=0)
    """Edge of a voxel."""
    grid: int = Field(default=96, ge=8, le=1024)
    """Voxels along an edge of the cube."""
    straggling: Literal["moyal", "none"] = "moyal"
    """How the energy loss fluctuates."""
    forward: bool = False
    """Whether all muons go downwards."""
    calibration: Path | None = None
    """A file with one number, which all energies are multiplied by."""
    noise: Noise = Noise()
    """Voxels that no muon made."""
    fail_at: int | None = None
    """Index of an event at which the generator has a mistake."""


class Tracks:
    Config = Config

    def __init__(self, config, *, seed, parts=None):
        self.config, self.seed = config, seed
        self.factor, self.covered = 1.0, 0
        if config.calibration is not None:
            path = config.calibration
            if not path.is_file():
                raise RecipeError("There is no such calibration.", where=str(path), fix="check calibration")
            self.factor = float(path.read_text())
        schemas = {"image3d": self._image_schema(), "muons": MUONS}
        self.parts = {name: schema for name, schema in schemas.items() if parts is None or name in parts}

    def digest(self):
        options = self.config.model_dump(mode="json")
        return json_digest({**options, "calibration": self.factor})

    def event(self, index):
        config = self.config
        if index == config.fail_at:
            raise ZeroDivisionError("a mistake")
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        size_mm = config.grid * config.voxel_mm
        start = rng.uniform(0, size_mm, (config.muons, 3))
        direction = rng.normal(size=(config.muons, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        if config.forward:
            direction[:, 1] = -np.abs(direction[:, 1])
        parts = {}
        if "muons" in self.parts:
            parts["muons"] = {"muons": {"start_mm": start.astype("f4"), "direction": direction.astype("f4")}}
        labels = {}
        if "image3d" in self.parts:
            voxel, energy, semantic = self._image(rng, start, direction)
            parts["image3d"] = {"voxels": {"voxel": voxel, "energy_mev": energy}}
            labels["image3d"] = {"voxels": {"semantic": semantic}}
        return Sample(parts=parts, labels=labels)

    def _image(self, rng, start, direction):
        config = self.config
        step_mm = 0.5
        along = np.arange(0, config.grid * config.voxel_mm * np.sqrt(3), step_mm)
        points = start[:, None] + along[:, None] * direction[:, None]
        voxel = np.floor(points.reshape(-1, 3) / config.voxel_mm).astype(np.int64)
        voxel = voxel[((voxel >= 0) & (voxel < config.grid)).all(1)]
        loss = np.full(len(voxel), MOST_PROBABLE_MEV_MM * step_mm)
        if config.straggling == "moyal":  # -2 log |z| of a normal z (Moyal, Phil. Mag. 46, 263 (1955))
            loss *= 1 + 0.1 * -2 * np.log(np.abs(rng.normal(size=len(voxel))))
        cell, row = np.unique(voxel @ [config.grid**2, config.grid, 1], return_inverse=True)
        energy = np.bincount(row, loss, len(cell)).clip(0.01)
        drawn = np.unique(rng.integers(0, config.grid**3, rng.poisson(config.noise.voxels)))
        noise = np.setdiff1d(drawn, cell)
        self.covered += len(drawn) - len(noise)
        energy = np.concatenate([energy, rng.exponential(config.noise.energy_mev, len(noise))])
        semantic = np.concatenate([np.ones(len(cell)), np.full(len(noise), 4)]).astype(np.int8)
        cell = np.concatenate([cell, noise])
        voxel = np.stack(np.unravel_index(cell, (config.grid,) * 3), 1).astype(np.uint16)
        return voxel, (self.factor * energy).astype(np.float32), semantic

    def _image_schema(self):
        return PartSchema(
            kind="image3d",
            primary="voxels",
            tables={
                "voxels": {
                    "voxel": Column(dtype="uint16", shape=(3,), unit="voxel"),
                    "energy_mev": Column(dtype="float32", unit="MeV"),
                    "semantic": Column(dtype="int8", label=True),
                }
            },
            attributes={
                "voxel_mm": self.config.voxel_mm,
                "grid": [self.config.grid] * 3,
                "origin_mm": [0.0, 0.0, 0.0],
                "hilbert_column": "voxel",
            },
        )

    def counts(self):
        return {"noise where a muon is": self.covered} if self.covered else {}

    def close(self):
        pass


MUONS = PartSchema(
    kind="muons",
    primary="muons",
    tables={
        "muons": {
            "start_mm": Column(dtype="float32", shape=(3,), unit="mm"),
            "direction": Column(dtype="float32", shape=(3,)),
        }
    },
)
