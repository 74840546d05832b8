"""Shooting many equal particles at once: one event of independent primaries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from hepfm_lartpc.event import Primaries
from hepfm_lartpc.streams import stream
from hepfm_lartpc.transport import Transport, TransportConfig


def beam(species, kinetic_mev, count=1, *, at_mm=(0.0, 0.0, 0.0), towards=(0.0, 0.0, 1.0)):
    """`count` equal particles from one point, each an interaction of its own."""
    return Primaries(
        species=np.full(count, species, np.int32),
        kinetic_mev=np.full(count, float(kinetic_mev)),
        direction=np.tile(np.array(towards, float), (count, 1)),
        position_mm=np.tile(np.array(at_mm, float), (count, 1)),
        time_ns=np.zeros(count),
        interaction=np.arange(count, dtype=np.int32),
    )


@lru_cache(maxsize=64)
def transport(low_mm, high_mm, settings):
    """Tables are built once for all tests."""
    return Transport(low_mm, high_mm, TransportConfig(**dict(settings)))


@pytest.fixture
def make_beam():
    return beam


@pytest.fixture
def make_transport():
    def make(low_mm=(-5e3, -5e3, -5e3), high_mm=(5e3, 5e3, 5e3), **settings):
        return transport(tuple(low_mm), tuple(high_mm), tuple(sorted(settings.items())))

    return make


@pytest.fixture
def shoot(make_transport):
    """Simulated event of a beam in a large box, or in a slab from z = 0 to `thick_mm`."""

    def run(species, kinetic_mev, count, *, thick_mm=None, seed=1, **settings):
        settings = {"nuclear": False, "muon_capture": False} | settings
        box = {} if thick_mm is None else {"low_mm": (-5e3, -5e3, 0.0), "high_mm": (5e3, 5e3, thick_mm)}
        return make_transport(**box, **settings)(
            beam(species, kinetic_mev, count), stream(seed, "transport", 0)
        )

    return run
