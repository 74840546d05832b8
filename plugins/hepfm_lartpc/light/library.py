"""A photon library: visibilities on the nodes of a grid, interpolated between them.

It holds what a full optical simulation found (reflections, shadows), or stands in for any slow `Visibility`.
A file is ``.npz`` or HDF5 with ``visibility (X, Y, Z, K)``, ``low_mm (3,)``, ``high_mm (3,)`` (the first and
the last node) and, if known, ``delay_ns (X, Y, Z, K)``.

Legend: X, Y, Z nodes along the axes, K detectors, D points.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from hepfm.errors import DataError
from hepfm_lartpc.compiled import compiled

if TYPE_CHECKING:
    from hepfm_lartpc.light.visibility import Visibility

Floats = NDArray[np.float64]

_SUFFIXES = (".npz", ".h5", ".hdf5")


class Library:
    """Visibilities and delays between the nodes of a grid; beyond it, those of its face.

    Args:
        visibility: ``(X, Y, Z, K)``.
        delay_ns: ``(X, Y, Z, K)`` mean time from emission to arrival.
        low_mm: ``(3,)`` the first node.
        high_mm: ``(3,)`` the last node.

    Raises:
        DataError: Shapes do not fit, a value is not finite, or a visibility is no probability.
    """

    def __init__(self, visibility: Floats, delay_ns: Floats, low_mm: Floats, high_mm: Floats) -> None:
        if visibility.ndim != 4 or min(visibility.shape[:3]) < 2:
            raise DataError(
                f"The visibilities of a photon library have shape {visibility.shape}, in place of (X, Y, Z, "
                "detectors) with two nodes or more along each axis."
            )
        if delay_ns.shape != visibility.shape or low_mm.shape != (3,) or high_mm.shape != (3,):
            raise DataError(
                f"The parts of a photon library do not fit together: visibility {visibility.shape}, delay_ns "
                f"{delay_ns.shape}, low_mm {low_mm.shape}, high_mm {high_mm.shape}."
            )
        if not (np.isfinite(delay_ns).all() and (visibility >= 0).all() and (visibility <= 1).all()):
            raise DataError(
                "A photon library has visibilities outside 0 to 1, or delays that are not finite."
            )
        if not (low_mm < high_mm).all():
            raise DataError(f"A photon library's low_mm {low_mm} must lie below its high_mm {high_mm}.")
        self.low_mm, self.high_mm = low_mm.astype(np.float64), high_mm.astype(np.float64)
        self.visibility, self.delay_ns = visibility, delay_ns
        # Delays are means over photons: between nodes they are weighted with what is seen from there.
        both = np.concatenate([visibility, visibility * delay_ns], axis=-1)
        self._values = np.ascontiguousarray(both, np.float64)

    @classmethod
    def read(cls, path: Path, detectors: int) -> Library:
        """The library in a file.

        Raises:
            DataError: It cannot be read, lacks a part, or is that of another number of detectors.
        """
        try:
            arrays = _arrays(path)
            visibility = arrays["visibility"]
            delay_ns = arrays.get("delay_ns", np.zeros_like(visibility))
            library = cls(visibility, delay_ns, arrays["low_mm"], arrays["high_mm"])
        except DataError as error:
            raise DataError(error.what, where=str(path), fix=error.fix) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"The photon library cannot be read: {type(error).__name__}: {error}",
                where=str(path),
                fix="give .npz or HDF5 with visibility, low_mm and high_mm",
            ) from error
        if visibility.shape[-1] != detectors:
            raise DataError(
                f"The photon library has {visibility.shape[-1]} detectors, and the readout {detectors}.",
                where=str(path),
            )
        return library

    @classmethod
    def filled(
        cls, visibility: Visibility, low_mm: Floats, high_mm: Floats, nodes: tuple[int, int, int]
    ) -> Library:
        """What another visibility says at the nodes of a grid."""
        axes = [np.linspace(a, b, n) for a, b, n in zip(low_mm, high_mm, nodes, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        seen, delay_ns = visibility(points)
        shape = (*nodes, seen.shape[1])
        return cls(seen.reshape(shape), delay_ns.reshape(shape), np.array(low_mm), np.array(high_mm))

    def write(self, path: Path) -> None:
        """As ``.npz``."""
        np.savez_compressed(
            path,
            visibility=self.visibility,
            delay_ns=self.delay_ns,
            low_mm=self.low_mm,
            high_mm=self.high_mm,
        )

    def __call__(self, points_mm: Floats) -> tuple[Floats, Floats]:
        """See `hepfm_lartpc.light.visibility.Visibility`."""
        values = np.empty((len(points_mm), self._values.shape[-1]))
        step = (self.high_mm - self.low_mm) / (np.array(self.visibility.shape[:3]) - 1)
        at_points(self._values, self.low_mm, step, np.ascontiguousarray(points_mm), values)
        seen, weighted = np.split(values, 2, axis=1)
        return seen, weighted / np.maximum(seen, np.finfo(np.float64).tiny)


def _arrays(path: Path) -> dict[str, Floats]:
    if path.suffix not in _SUFFIXES:
        raise DataError(
            f"A photon library ends in one of {', '.join(_SUFFIXES)}.",
            where=str(path),
            fix="convert the file",
        )
    names = ("visibility", "delay_ns", "low_mm", "high_mm")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name], np.float64) for name in names if name in file}
    with h5py.File(path, "r") as file:
        return {name: np.asarray(file[name][()], np.float64) for name in names if name in file}


@compiled
def trilinear(values: Floats, low_mm: Floats, step_mm: Floats, point_mm: Floats, out: Floats) -> None:
    """Values ``(X, Y, Z, C)`` at the nodes of a grid, linearly between them at a point, into ``out (C,)``."""
    i, right = _cell(point_mm[0], low_mm[0], step_mm[0], values.shape[0])
    j, up = _cell(point_mm[1], low_mm[1], step_mm[1], values.shape[1])
    k, front = _cell(point_mm[2], low_mm[2], step_mm[2], values.shape[2])
    out[:] = 0.0
    for corner in range(8):
        di, dj, dk = corner >> 2, corner >> 1 & 1, corner & 1
        weight = (right if di else 1.0 - right) * (up if dj else 1.0 - up) * (front if dk else 1.0 - front)
        for c in range(len(out)):
            out[c] += weight * values[i + di, j + dj, k + dk, c]


@compiled
def _cell(x: float, low: float, step: float, nodes: int) -> tuple[int, float]:
    """The node below a position, and the part of a step from there."""
    position = min(max((x - low) / step, 0.0), nodes - 1.0)
    node = min(int(position), nodes - 2)
    return node, position - node


@compiled
def at_points(values: Floats, low_mm: Floats, step_mm: Floats, points_mm: Floats, out: Floats) -> None:
    """`trilinear` at points ``(D, 3)``, into ``out (D, C)``."""
    for d in range(len(points_mm)):
        trilinear(values, low_mm, step_mm, points_mm[d], out[d])
