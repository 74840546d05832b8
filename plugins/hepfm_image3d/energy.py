"""The map from a voxel's energy to a number of order one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class EnergyMap:
    """Logarithm of the energy, scaled so that 0 MeV maps to -1 and ``max_mev`` to 1.

    ``2 log((E + floor) / floor) / log((max + floor) / floor) - 1``: the map of Panda (floor 0.01 MeV) and of
    PoLAr-MAE (floor 0.13 MeV), both with a maximum of 20 MeV. Linear below the floor, logarithmic above it.
    Larger energies map above 1.
    """

    floor_mev: float
    max_mev: float

    @property
    def _scale(self) -> float:
        return 2.0 / math.log1p(self.max_mev / self.floor_mev)

    def __call__(self, energy_mev: torch.Tensor) -> torch.Tensor:
        """Energies (MeV, not negative) to map values, of the same shape."""
        return torch.log1p(energy_mev / self.floor_mev) * self._scale - 1.0

    def centred(self, energy_mev: torch.Tensor) -> torch.Tensor:
        """Map values scaled to order one: on the map, a track's spread by some 0.2 about that of 0.5 MeV."""
        return 5.0 * (self(energy_mev) - float(self(torch.tensor(0.5))))

    def inverse(self, value: torch.Tensor) -> torch.Tensor:
        """Map values to energies in MeV, not below zero."""
        return (torch.expm1((value + 1.0) / self._scale) * self.floor_mev).clamp_min(0.0)
