# ruff: noqa: INP001
"""Beams: many equal particles followed at once, each an interaction of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepfm_lartpc.event import Primaries, Simulated
from hepfm_lartpc.streams import stream
from hepfm_lartpc.transport import Transport, TransportConfig

WIDE_MM = 20_000.0
DENSITY_G_CM3 = 1.396


def shoot(
    species: int,
    kinetic_mev: float,
    count: int,
    *,
    thick_mm: float | None = None,
    seed: int = 1,
    **settings: Any,
) -> Simulated:
    """Particles along z from the origin, in all directions argon; or from z = 0 on, to a thickness."""
    low, high = (-WIDE_MM, WIDE_MM) if thick_mm is None else (0.0, thick_mm)
    config = TransportConfig(**({"nuclear": False, "muon_capture": False} | settings))
    transport = Transport((-WIDE_MM, -WIDE_MM, low), (WIDE_MM, WIDE_MM, high), config)
    primaries = Primaries(
        species=np.full(count, species, np.int32),
        kinetic_mev=np.full(count, float(kinetic_mev)),
        direction=np.tile([0.0, 0.0, 1.0], (count, 1)),
        position_mm=np.zeros((count, 3)),
        time_ns=np.zeros(count),
        interaction=np.arange(count, dtype=np.int32),
    )
    return transport(primaries, stream(seed, "transport", 0))


def losses_mev(event: Simulated, count: int) -> Any:
    """What each primary lost, with the energy of the electrons that it knocked on: ``(count,)``."""
    tracks = event.tracks
    lost = tracks.deposited_mev[:count].copy()
    own = (tracks.parent >= 0) & (tracks.parent < count)
    np.add.at(lost, tracks.parent[own], tracks.kinetic_mev[own])
    return lost
