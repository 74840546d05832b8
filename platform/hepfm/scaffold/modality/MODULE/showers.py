"""Electromagnetic showers in the calorimeter: a stand-in for events of the real one.

A shower's energy comes down in spots. Their depths follow the gamma distribution of the longitudinal profile,
with its maximum at ln(E/Ec) - 0.5 radiation lengths for electrons (PDG, "Passage of particles through
matter"); their distances from the axis a profile that falls with the fourth power (Grindhammer and Peters,
hep-ex/0001020).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import PartSchema, Sample
from hepfm.readers.digest import json_digest
from MODULE.schema import CELLS, SCHEMA

CRITICAL_MEV = 10.0
"""Critical energy of the absorber, about that of tungsten and lead."""
FALL = 0.5
"""How fast the profile falls, per radiation length; a layer of the calorimeter is one."""
RADIUS_CELLS = 0.6
"""Half of the spots are within this distance of the axis, in cells."""


class Showers:
    """Events of one or several electrons (`hepfm.api.Generator`)."""

    class Config(BaseModel):
        """Options of ``hepfm simulate NAME`` and of recipes."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        showers: int = Field(default=2, ge=1)
        """Largest number of showers of an event; each number is as likely."""
        min_energy_mev: float = Field(default=500.0, gt=CRITICAL_MEV)
        """Least energy of a shower."""
        max_energy_mev: float = Field(default=10_000.0, gt=CRITICAL_MEV)
        """Largest energy of a shower; all are as likely on a logarithmic scale."""
        spot_mev: float = Field(default=5.0, gt=0)
        """Energy of a spot: how coarsely the calorimeter samples."""

    def __init__(self, config: Config, *, seed: int, parts: Collection[str] | None = None) -> None:
        self.config, self.seed = config, seed
        self.parts: dict[str, PartSchema] = {"NAME": SCHEMA}  # the only one

    def digest(self) -> str:
        """Of all options."""
        return json_digest(self.config.model_dump(mode="json"))

    def event(self, index: int) -> Sample:
        """Event ``index``, of random numbers that are its own."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        config = self.config
        n_showers = int(rng.integers(1, config.showers + 1))
        low, high = np.log(config.min_energy_mev), np.log(config.max_energy_mev)
        energy = np.exp(rng.uniform(low, high, n_showers))
        axis = rng.uniform(0.25, 0.75, (n_showers, 2)) * CELLS[1:]
        spots = rng.poisson(energy / config.spot_mev)
        shower = np.repeat(np.arange(n_showers), spots)
        maximum = np.log(energy / CRITICAL_MEV) - 0.5
        depth = rng.gamma(1 + FALL * maximum[shower], 1 / FALL)
        u, angle = rng.uniform(size=len(shower)), rng.uniform(0, 2 * np.pi, len(shower))
        radius = RADIUS_CELLS * np.sqrt(u / (1 - u))
        place = axis[shower] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        cell = np.floor(np.column_stack([depth, place])).astype(np.int64)
        inside = ((cell >= 0) & (cell < CELLS)).all(1)
        number, hit = np.unique(np.ravel_multi_index(cell[inside].T, CELLS), return_inverse=True)
        each = np.zeros((n_showers, len(number)))
        np.add.at(each, (shower[inside], hit), config.spot_mev)
        hits = {
            "cell": np.stack(np.unravel_index(number, CELLS), 1).astype(np.uint16),
            "energy_mev": each.sum(0).astype(np.float32),
        }
        labels = {"shower": each.argmax(0).astype(np.int32)}
        return Sample(parts={"NAME": {"hits": hits}}, labels={"NAME": {"hits": labels}})

    def close(self) -> None:
        """There is nothing to free."""
