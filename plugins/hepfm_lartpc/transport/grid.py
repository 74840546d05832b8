"""The grid of kinetic energies on which all tables of the transport stand."""

from __future__ import annotations

import math

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats

LOWEST_MEV, HIGHEST_MEV = 1e-3, 1e5
"""Energies outside cannot be transported; 1 keV has a range of a tenth of a micrometre."""
_PER_DECADE = 40

_TOP_MEV = 10.0 * HIGHEST_MEV  # what decays at the highest energy brings its mass on top
_NODES = round(math.log10(_TOP_MEV / LOWEST_MEV)) * _PER_DECADE + 1
GRID_MEV: Floats = np.geomspace(LOWEST_MEV, _TOP_MEV, _NODES)
LOG_LOWEST = math.log(LOWEST_MEV)
PER_LOG = _PER_DECADE / math.log(10.0)
"""Nodes for each unit of the logarithm: node i lies at ``exp(LOG_LOWEST + i / PER_LOG)``."""


@compiled
def between(table: Floats, i: int, share: float, column: int) -> float:
    """The value of a column at a share of the way from node i to the next."""
    return float(table[i, column] + share * (table[i + 1, column] - table[i, column]))


def log_integral(values: Floats, points: Floats) -> Floats:
    """Integral of ``values (N, K)`` over ``points (N, K)``, evenly spaced in the logarithm along K (Simpson).

    K must be odd. Returns ``(N,)``; a row whose points coincide gives 0.
    """
    weights = np.full(points.shape[1], 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    step = np.log(points[:, -1] / points[:, 0]) / (points.shape[1] - 1)
    return np.asarray((values * points) @ weights * step / 3.0)


def log_points(low: Floats, high: Floats, count: int = 201) -> Floats:
    """``(N, count)`` points evenly spaced in the logarithm from ``low (N,)`` to ``high (N,)``."""
    low, high = np.broadcast_arrays(low, high)
    return np.asarray(low[:, None] * (high / low)[:, None] ** np.linspace(0.0, 1.0, count))
