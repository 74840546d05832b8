"""The probability that a photon from a point reaches a photon detector, and when it does on average.

Legend: D points, K detectors.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.light.library import Library, trilinear
from hepfm_lartpc.light.optics import Optics
from hepfm_lartpc.light.panels import PhotonDetectors, Volume, frames, volume_of
from hepfm_lartpc.light.scattering import ScatteredLight, scattered_light
from hepfm_lartpc.light.solid_angle import straight_to

Floats = NDArray[np.float64]


class Visibility(Protocol):
    """Anything that knows how photons reach the detectors: a calculation, a library, a trained surrogate."""

    def __call__(self, points_mm: Floats) -> tuple[Floats, Floats]:
        """Visibility ``(D, K)`` and mean time from emission to arrival ``(D, K)`` in ns of points ``(D, 3)``.

        The visibility is a probability, before the detectors' efficiency.
        """
        ...


class SolidAngle:
    """Straight light by the solid angle of each detector, scattered light by `scattered_light`.

    Args:
        panels: The K detectors. None stands in another's light.
        volumes: Boxes that no light passes between.
        optics: Lengths and speed.
    """

    def __init__(self, panels: list[PhotonDetectors], volumes: list[Volume], optics: Optics) -> None:
        self._panels, self._volumes, self._optics = panels, volumes, optics
        self._frames = frames(panels)

    @cached_property
    def _parts(self) -> list[tuple[Volume, NDArray[np.int64], ScatteredLight]]:
        """Each volume with its detectors and the scattered light in it; found when it is first asked for."""
        alone = len(self._volumes) == 1
        owner = np.array([0 if alone else volume_of(panel, self._volumes) for panel in self._panels])
        parts = []
        for number, volume in enumerate(self._volumes):
            members = np.flatnonzero(owner == number)
            if len(members):
                light = _scattered(volume, tuple(self._panels[k] for k in members), self._optics)
                parts.append((volume, members, light))
        return parts

    def __call__(self, points_mm: Floats) -> tuple[Floats, Floats]:
        """See `Visibility`. From outside of all volumes nothing is seen."""
        points = np.ascontiguousarray(points_mm, np.float64)
        seen = np.zeros((len(points), len(self._frames)))
        delay_ns = np.zeros_like(seen)
        free = 1 / (1 / self._optics.rayleigh_mm + 1 / self._optics.absorption_mm)
        for volume, members, light in self._parts:
            rows = np.flatnonzero(volume.holds(points))
            grid = light.values, light.low_mm, light.step_mm
            _see(points, rows, members, self._frames, free, self._optics.speed_mm_ns, *grid, seen, delay_ns)
        return seen, delay_ns


def visibility_of(
    panels: list[PhotonDetectors], volumes: list[Volume], optics: Optics
) -> SolidAngle | Library:
    """The photon library that the detector file names, or else the calculation.

    Raises:
        DataError: The library cannot be used.
    """
    if optics.library is not None:
        return Library.read(optics.library, len(panels))
    return SolidAngle(panels, volumes, optics)


@lru_cache(maxsize=16)
def _scattered(volume: Volume, panels: tuple[PhotonDetectors, ...], optics: Optics) -> ScatteredLight:
    """`scattered_light`, once in a process for the same detectors."""
    return scattered_light(volume, frames(list(panels)), optics)


@compiled
def _see(
    points: Floats,
    rows: NDArray[np.int64],
    members: NDArray[np.int64],
    frame: Floats,
    free_mm: float,
    speed_mm_ns: float,
    values: Floats,
    low_mm: Floats,
    step_mm: Floats,
    seen: Floats,
    delay_ns: Floats,
) -> None:
    count = len(members)
    scattered = np.empty(2 * count)
    for d in rows:
        trilinear(values, low_mm, step_mm, points[d], scattered)
        for member in range(count):
            k = members[member]
            direct, way = straight_to(points[d, 0], points[d, 1], points[d, 2], frame, k, free_mm)
            total = direct + scattered[member]
            seen[d, k] = total
            if total > 0.0:
                delay_ns[d, k] = (way / speed_mm_ns + scattered[count + member]) / total
