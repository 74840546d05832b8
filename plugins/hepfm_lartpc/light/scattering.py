"""Light that Rayleigh scattering turns aside before it reaches a detector, in a box with black walls.

A photon from ``r`` scatters first in the volume dV at distance s with probability
``exp(-s / free) / (4 pi s^2 rayleigh) dV``, where ``1 / free = 1 / rayleigh + 1 / absorption``, and goes on
from there as if it were emitted. With that kernel K, light that scattered is the solution of
``V = K straight + K V``. The first term, scattered once, has the sharp features of light near a detector: it
is integrated along rays. The rest is smooth, and an integral equation on a coarse grid of cells. Photons are
conserved: rows of K add up to the probability to scatter before the walls. Light that scatters once is turned
aside as ``1 + cos^2``; where it scatters again, all directions are taken as equal, which has the same mean.
Mean arrival times follow in the same way, with the length of the way as weight.

Against photons that are traced one by one (tests/lartpc/light/test_visibility.py), visibilities are right to
3 % beyond 15 cm from a detector and to 4 % at 5 cm, for the default lengths.

Compare Garcia-Gamez, Green and Szelc, Eur. Phys. J. C 81 (2021) 349, who correct the solid angle by functions
that were fitted to Geant4 for each detector; here nothing is fitted.

Legend: N cells, P points, K detectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.light.library import trilinear
from hepfm_lartpc.light.optics import Optics
from hepfm_lartpc.light.panels import Volume
from hepfm_lartpc.light.solid_angle import straight_to

Floats = NDArray[np.float64]

CELLS = 1000
"""Of the coarse grid, about. Its nodes are those of the result."""
FINER = 4
"""Parts of a coarse step in the map of straight light that the rays cross."""
DIRECTIONS = 400
"""Of the rays from a node; from a cell, for the smooth rest, a quarter of them."""
STOPS = 6
"""Points of Gaussian quadrature along a ray."""
SETTLED, MOST_SWEEPS = 1e-6, 500
"""Relative change by the last sweep of the solution; a box of 20 scattering lengths needs some hundred."""
_OFF_WALLS_MM = 1e-3


@dataclass(frozen=True)
class ScatteredLight:
    """Scattered light at the nodes of a grid that spans a box.

    Attributes:
        values: ``(X, Y, Z, 2 K)`` probability to reach each detector after scattering, then the same times
            the mean time of arrival in ns.
        low_mm: ``(3,)`` the first node, the box's lower corner.
        step_mm: ``(3,)`` between nodes.
    """

    values: Floats
    low_mm: Floats
    step_mm: Floats


def scattered_light(volume: Volume, frame: Floats, optics: Optics) -> ScatteredLight:
    """The solution for a box and the detectors that look into it, `hepfm_lartpc.light.panels.frames`."""
    low, high = np.array(volume.low_mm, np.float64), np.array(volume.high_mm, np.float64)
    size = float(np.prod(high - low) / CELLS) ** (1 / 3)
    cells = np.maximum(4, np.rint((high - low) / size)).astype(int)
    step, shape = (high - low) / cells, tuple(cells + 1)
    centres, nodes = _lattice(low + step / 2, step, cells), _lattice(low, step, cells + 1)
    free, detectors = 1 / (1 / optics.rayleigh_mm + 1 / optics.absorption_mm), len(frame)

    fine = step / FINER
    points = _lattice(low, fine, FINER * cells + 1)
    # Not on the walls themselves, where a detector in the wall is seen edge on.
    points = np.clip(points, low + _OFF_WALLS_MM, high - _OFF_WALLS_MM)
    direct = _straight_map(points, frame, free).reshape(*(FINER * cells + 1), 2 * detectors)
    stops, weights = np.polynomial.legendre.leggauss(STOPS)
    along = np.round((stops + 1) / 2, 12), np.round(weights / 2, 12)
    grid, lengths = (direct, fine, frame), (free, optics.rayleigh_mm)
    once_cells, scatters_cells = _scattered_once(
        centres, low, high, *grid, *lengths, _directions(DIRECTIONS // 4), *along
    )
    once, scatters = _scattered_once(nodes, low, high, *grid, *lengths, _directions(DIRECTIONS), *along)

    kernel, kernel_mm = _kernel(centres, centres, step, free, scatters_cells)
    seen = _settled(kernel, once_cells[:, :detectors].copy())
    seen_mm = _settled(kernel, once_cells[:, detectors:] + _gathered(kernel_mm, seen))
    kernel, kernel_mm = _kernel(nodes, centres, step, free, scatters)
    once[:, :detectors] += _gathered(kernel, seen)
    once[:, detectors:] += _gathered(kernel_mm, seen) + _gathered(kernel, seen_mm)
    once[:, detectors:] /= optics.speed_mm_ns
    return ScatteredLight(once.reshape(*shape, -1), low, step)


def _lattice(first: Floats, step: Floats, counts: NDArray[np.int64]) -> Floats:
    """``(N, 3)`` points of a regular grid, the last axis fastest."""
    axes = [a + d * np.arange(n) for a, d, n in zip(first, step, counts, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _directions(count: int) -> Floats:
    """``(count, 3)`` unit vectors, evenly over the sphere along a golden spiral."""
    rank = np.arange(count) + 0.5
    cosine, angle = 1 - 2 * rank / count, math.pi * (1 + math.sqrt(5)) * rank
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], axis=1)


@compiled
def _straight_map(points: Floats, frame: Floats, free_mm: float) -> Floats:
    """`straight_to` from points to detectors: probabilities, then those times the way, ``(P, 2 K)``."""
    detectors = len(frame)
    out = np.empty((len(points), 2 * detectors))
    for p in range(len(points)):
        for k in range(detectors):
            seen, way = straight_to(points[p, 0], points[p, 1], points[p, 2], frame, k, free_mm)
            out[p, k], out[p, detectors + k] = seen, way
    return out


@compiled
def _scattered_once(
    points: Floats,
    low: Floats,
    high: Floats,
    direct: Floats,
    fine: Floats,
    frame: Floats,
    free_mm: float,
    rayleigh_mm: float,
    rays: Floats,
    stops: Floats,
    weights: Floats,
) -> tuple[Floats, Floats]:
    """Light that scatters once before it is seen, and how much scatters at all before the walls.

    Args:
        points: ``(P, 3)``.
        low: ``(3,)`` of the box.
        high: ``(3,)`` of the box.
        direct: ``(..., 2 K)`` `_straight_map` on a grid from ``low``.
        fine: ``(3,)`` its step.
        frame: ``(K, 14)`` detectors.
        free_mm: Mean free path.
        rayleigh_mm: Of that, between scatterings.
        rays: ``(R, 3)`` directions.
        stops: ``(Q,)`` of quadrature along a ray, from 0 to 1.
        weights: ``(Q,)`` of quadrature.

    Returns:
        ``(P, 2 K)`` probabilities, then those times the way in mm; and ``(P,)``.
    """
    detectors = direct.shape[3] // 2
    once, scatters = np.zeros((len(points), 2 * detectors)), np.zeros(len(points))
    stop, there = np.empty(3), np.empty(2 * detectors)
    for p in range(len(points)):
        for r in range(len(rays)):
            length = math.inf
            for axis in range(3):
                slope = rays[r, axis]
                wall = high[axis] if slope > 0.0 else low[axis]
                length = min(length, (wall - points[p, axis]) / slope)
            scatters[p] += free_mm / rayleigh_mm * (1.0 - math.exp(-length / free_mm)) / len(rays)
            for q in range(len(stops)):
                way = stops[q] * length
                for axis in range(3):
                    stop[axis] = points[p, axis] + way * rays[r, axis]
                trilinear(direct, low, fine, stop, there)
                part = weights[q] * length / rayleigh_mm * math.exp(-way / free_mm) / len(rays)
                for k in range(detectors):
                    turned = part * _rayleigh(stop, rays[r], frame, k, there[k])
                    once[p, k] += turned * there[k]
                    once[p, detectors + k] += turned * (there[detectors + k] + way * there[k])
    return once, scatters


@compiled
def _rayleigh(point: Floats, ray: Floats, frame: Floats, k: int, seen: float) -> float:
    """Mean of ``3/4 (1 + cos^2)`` between a ray and the directions from a point to a detector.

    These are taken as those of a cone around the detector's centre with the solid angle ``4 pi seen``.
    """
    dx, dy, dz = frame[k, 0] - point[0], frame[k, 1] - point[1], frame[k, 2] - point[2]
    along = dx * ray[0] + dy * ray[1] + dz * ray[2]
    square = along * along / (dx * dx + dy * dy + dz * dz + _OFF_WALLS_MM**2)
    edge = max(0.0, 1.0 - 2.0 * seen)
    forward = (1.0 + edge + edge * edge) / 3.0
    mean: float = 0.75 * (1.0 + forward * square + (1.0 - forward) / 2.0 * (1.0 - square))
    return mean


@compiled
def _gathered(kernel: Floats, values: Floats) -> Floats:
    """The product of matrices ``(P, N)`` and ``(N, C)``.

    Not by BLAS, whose last bits depend on the number of threads: events must not.
    """
    out = np.zeros((len(kernel), values.shape[1]))
    for p in range(len(kernel)):
        for n in range(len(values)):
            for c in range(values.shape[1]):
                out[p, c] += kernel[p, n] * values[n, c]
    return out


@compiled
def _settled(kernel: Floats, source: Floats) -> Floats:
    """The solution ``(N, C)`` of ``x = source + kernel x``, by Gauss and Seidel's sweeps."""
    out = source.copy()
    row = np.empty(source.shape[1])
    for _ in range(MOST_SWEEPS):
        change = 0.0
        for n in range(len(source)):
            row[:] = source[n]
            for m in range(len(source)):
                if m != n:
                    for c in range(len(row)):
                        row[c] += kernel[n, m] * out[m, c]
            for c in range(len(row)):
                value = row[c] / (1.0 - kernel[n, n])
                change = max(change, abs(value - out[n, c]) / (value + 1e-300))
                out[n, c] = value
        if change < SETTLED:
            break
    return out


@compiled
def _kernel(
    points: Floats, cells: Floats, step: Floats, free_mm: float, scatters: Floats
) -> tuple[Floats, Floats]:
    """Probability to scatter first in a cell, and that times the way there, ``(P, N)`` each.

    Rows are scaled to ``scatters (P,)``. The cell around a point counts as the ball of the same volume; cells
    near a point are taken in 27 parts.
    """
    probability, times_way = np.empty((len(points), len(cells))), np.empty((len(points), len(cells)))
    volume = step[0] * step[1] * step[2]
    ball = (3.0 * volume / (4.0 * math.pi)) ** (1.0 / 3.0)
    inside = 4.0 * math.pi * free_mm * (1.0 - math.exp(-ball / free_mm))
    inside_way = 4.0 * math.pi * free_mm * (free_mm - (free_mm + ball) * math.exp(-ball / free_mm))
    near = 4.0 * (step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    for p in range(len(points)):
        total = 0.0
        for n in range(len(cells)):
            dx, dy, dz = cells[n, 0] - points[p, 0], cells[n, 1] - points[p, 1], cells[n, 2] - points[p, 2]
            square = dx * dx + dy * dy + dz * dz
            if square > near:
                way = math.sqrt(square)
                weight = math.exp(-way / free_mm) / square * volume
                times = weight * way
            elif square > 1e-9 * near:
                weight = times = 0.0
                for part in range(27):
                    x = dx + step[0] * (part // 9 - 1) / 3.0
                    y = dy + step[1] * (part // 3 % 3 - 1) / 3.0
                    z = dz + step[2] * (part % 3 - 1) / 3.0
                    square = x * x + y * y + z * z
                    way = math.sqrt(square)
                    share = math.exp(-way / free_mm) / square * volume / 27.0
                    weight += share
                    times += share * way
            else:
                weight, times = inside, inside_way
            probability[p, n], times_way[p, n] = weight, times
            total += weight
        probability[p] *= scatters[p] / total
        times_way[p] *= scatters[p] / total
    return probability, times_way
