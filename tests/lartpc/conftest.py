"""Tracks and deposits by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc.event import Deposits, Tracks


def make_tracks(rows):
    """Tracks of ``(species, parent, process, kinetic, deposited)``."""
    n = len(rows)
    kind, parent, process, kinetic, deposited = (np.array(c) for c in zip(*rows, strict=True))
    zero = np.zeros((n, 3))
    return Tracks(
        species=kind.astype(np.int32),
        parent=parent.astype(np.int32),
        process=process.astype(np.int32),
        interaction=np.zeros(n, np.int32),
        kinetic_mev=kinetic.astype(float),
        direction=np.tile([0.0, 0.0, 1.0], (n, 1)),
        start_mm=zero + np.arange(n)[:, None],
        end_mm=zero,
        start_ns=np.zeros(n),
        end_ns=np.ones(n),
        deposited_mev=deposited.astype(float),
        length_mm=np.ones(n),
    )


def make_deposits(start, end, energy, track=None, time=None):
    start, end = np.asarray(start, float).reshape(-1, 3), np.asarray(end, float).reshape(-1, 3)
    n = len(start)
    return Deposits(
        start_mm=start,
        end_mm=end,
        energy_mev=np.broadcast_to(np.asarray(energy, float), n).copy(),
        length_mm=np.linalg.norm(end - start, axis=1),
        time_ns=np.zeros(n) if time is None else np.asarray(time, float),
        track=np.zeros(n, np.int32) if track is None else np.asarray(track, np.int32),
    )


@pytest.fixture
def tracks():
    return make_tracks


@pytest.fixture
def deposits():
    return make_deposits
