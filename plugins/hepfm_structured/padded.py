"""HDF5 files of jets padded to a common number of particles: arrays ``(N, M, F)`` and ``(N, G)``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel

from hepfm.api import PartSchema
from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm.readers.handle import Handle
from hepfm_structured.blocks import Array, BlockReader, Rows

_AT_ONCE = 1 << 14
"""Events whose padding is counted at once."""


class PaddedReader(BlockReader):
    """What readers of padded arrays share: a format adds `_real` and `_tables`, from
    arrays to tables.

    Args:
        handle: The open file.
        config: The reader's options.
        particles: Name of the dataset ``(N, M, F)``.
        others: Names of the other datasets, each with N rows.
        part, schema, provenance: As `BlockReader`'s.
    """

    def __init__(
        self,
        handle: Handle,
        config: BaseModel,
        *,
        particles: str,
        others: tuple[str, ...],
        part: str,
        schema: PartSchema,
        provenance: Mapping[str, Any],
    ) -> None:
        self._handle, self._particles, self._others = handle, particles, others
        found = handle.file()[particles]
        super().__init__(
            handle.path, config, part=part, schema=schema, n=len(found), provenance=provenance, block=1024
        )

    def _real(self, particles: Array, start: int) -> Array:
        """``(B, M)`` bool: which of the particles ``(B, M, F)`` are none of the padding."""
        raise NotImplementedError

    def _tables(
        self, particles: Array, real: Array, others: Mapping[str, Array], start: int
    ) -> dict[str, Rows]:
        """The tables of events from ``start`` on, with their arrays."""
        raise NotImplementedError

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        arrays = {name: self._slice(name, start, stop) for name in (self._particles, *self._others)}
        particles = arrays.pop(self._particles)
        return self._tables(particles, self._real(particles, start), arrays, start)

    def _slice(self, name: str, start: int, stop: int) -> Array:
        with safety.reading(f"{self.path}, events {start} to {stop - 1}, field {name}"):
            return np.asarray(self._handle.file()[name][start:stop])

    def _count(self) -> Array:
        starts = range(0, len(self), _AT_ONCE)
        pieces = [
            self._real(self._slice(self._particles, s, min(s + _AT_ONCE, len(self))), s).sum(1)
            for s in starts
        ]
        return np.concatenate([np.empty(0, np.int64), *pieces])

    def close(self) -> None:
        """Closes the file."""
        super().close()
        self._handle.close()


def numbers(
    handle: Handle, name: str, shape: tuple[int | None, ...], *, integers: bool = False
) -> h5py.Dataset:
    """A dataset of numbers of this shape (None for any length of an axis).

    Raises:
        DataError: It is missing, damaged, of another shape or no numbers.
    """
    found = safety.dataset(handle.file(), name, path=handle.path)
    safety.expect(found, path=handle.path, shape=shape)
    if found.dtype.kind not in ("iuf" if not integers else "iu"):
        wanted = "integers" if integers else "numbers"
        raise DataError(f"wanted {wanted}, found {found.dtype}", where=f"{handle.path}, field {name}")
    return found


def has(path: Path, *names: str) -> bool:
    """Whether a path is an HDF5 file with these datasets; never raises."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return all(isinstance(file.get(name), h5py.Dataset) for name in names)
    except safety.DAMAGE:
        return False
