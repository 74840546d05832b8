"""A small box of argon with photon detectors, and photons that are traced one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hepfm_lartpc.event import Deposits
from hepfm_lartpc.light.panels import PhotonDetectors

LOW = np.array([-500.0, -400.0, -600.0])
HIGH = np.array([500.0, 400.0, 600.0])


@pytest.fixture(scope="session")
def box() -> tuple[np.ndarray, np.ndarray]:
    return LOW, HIGH


@pytest.fixture(scope="session")
def panels() -> list[PhotonDetectors]:
    """Six detectors in the walls: a grid of 2 x 2 at x = -500 mm, one above and one behind."""
    grid = PhotonDetectors(
        position_mm=(-500, 0, 0), normal=(1, 0, 0), width_mm=200, height_mm=150, efficiency=1.0,
        columns=2, rows=2, spacing_mm=(400, 300),
    )  # fmt: skip
    above = PhotonDetectors(
        position_mm=(100, 400, -50), normal=(0, -2, 0), width_mm=250, height_mm=180, efficiency=1.0
    )
    behind = PhotonDetectors(
        position_mm=(-60, 80, 600), normal=(0, 0, -1), width_mm=160, height_mm=220, efficiency=1.0
    )
    return [*grid.one_by_one(), above, behind]


@pytest.fixture(scope="session")
def trace() -> Callable[..., tuple[np.ndarray, np.ndarray, float]]:
    return _trace


@pytest.fixture(scope="session")
def flash() -> Callable[..., tuple[Deposits, np.ndarray, np.ndarray]]:
    return _flash


def _flash(
    point_mm: Any = (0.0, 0.0, 0.0), photons: Any = 1e6, time_ns: Any = 0.0, species: int = 3
) -> tuple[Deposits, np.ndarray, np.ndarray]:
    """Deposits at points, with their species and photons."""
    points = np.atleast_2d(np.array(point_mm, float))
    count = len(points)
    deposits = Deposits(
        start_mm=points, end_mm=points, energy_mev=np.ones(count), length_mm=np.ones(count),
        time_ns=np.broadcast_to(np.array(time_ns, float), count).copy(), track=np.zeros(count, np.int32),
    )  # fmt: skip
    return deposits, np.full(count, species, np.int32), np.broadcast_to(photons, count).astype(float)


def _trace(
    point: np.ndarray,
    panels: list[PhotonDetectors],
    rayleigh: float,
    absorption: float,
    count: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Photons from a point, through single scatterings with Rayleigh's phase function, to black walls.

    Returns the part that hits each detector, the mean length of the way of those, and the part that hits walls.
    """
    rng = np.random.default_rng(seed)
    position, way = np.tile(point, (count, 1)).astype(float), np.zeros(count)
    cosine, angle = rng.uniform(-1, 1, count), rng.uniform(0, 2 * np.pi, count)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], 1)
    hits, ways, walls = np.zeros(len(panels)), np.zeros(len(panels)), 0
    while len(position):
        step = rng.exponential(rayleigh, len(position))
        absorbed = rng.exponential(absorption, len(position))
        to_walls = np.where(direction > 0, (HIGH - position) / direction, (LOW - position) / direction).min(1)
        at_wall = (to_walls < step) & (to_walls < absorbed)
        end = position[at_wall] + to_walls[at_wall, None] * direction[at_wall]
        total = way[at_wall] + to_walls[at_wall]
        walls += len(end)
        for k, panel in enumerate(panels):
            across, along, normal = panel.axes()
            offset = end - np.array(panel.position_mm)
            hit = (
                (abs(offset @ across) < panel.width_mm / 2)
                & (abs(offset @ along) < panel.height_mm / 2)
                & (abs(offset @ normal) < 1e-6)
            )
            hits[k] += hit.sum()
            ways[k] += total[hit].sum()
        on = ~at_wall & (step < absorbed)
        position, direction = position[on] + step[on, None] * direction[on], direction[on]
        way = way[on] + step[on]
        # 1 + cos^2 by rejection: about half of the proposals serve, so some are made in reserve.
        proposals = rng.uniform(-1, 1, 2 * len(position) + 1000)
        cosine = proposals[rng.uniform(0, 2, len(proposals)) < 1 + proposals**2][: len(position)]
        helper = np.where(abs(direction[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
        u = np.cross(direction, helper)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        v = np.cross(direction, u)
        angle = rng.uniform(0, 2 * np.pi, len(position))[:, None]
        sine = np.sqrt(1 - cosine**2)[:, None]
        direction = cosine[:, None] * direction + sine * (np.cos(angle) * u + np.sin(angle) * v)
    return hits / count, ways / np.maximum(hits, 1), walls / count
