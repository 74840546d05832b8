"""Files of named arrays: HDF5, ``.npz`` and ``.npy``, read a piece at a time where the format can."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from hepfm.readers import safety
from hepfm.readers.chunks import ChunkCache
from hepfm.readers.handle import Handle
from hepfm_waveform.npy import NpyArchive
from hepfm_waveform.reader import Array, number


class ArrayFile(Protocol):
    """Named arrays of one file."""

    def names(self) -> list[str]:
        """All arrays, in the file's order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Its axes."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """Its type, with the file's byte order."""

    def read(self, name: str, at: Any) -> Array:
        """What is at an index."""

    def sample_ns(self, name: str) -> float | None:
        """What the file says of the time between the samples of this array."""

    def close(self) -> None:
        """Closes the file."""


class H5Arrays:
    """Datasets of an HDF5 file, by their paths."""

    def __init__(self, path: Path) -> None:
        self._path, self._handle = path, Handle(path)
        found: list[str] = []

        def note(name: str, what: h5py.HLObject) -> None:
            if isinstance(what, h5py.Dataset):
                found.append(name)

        with safety.reading(str(path)):
            self._handle.file().visititems(note)
        self._names = found

    def names(self) -> list[str]:
        return self._names

    def _checked(self, name: str) -> h5py.Dataset:
        return safety.dataset(self._handle.file(), name, path=self._path)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._checked(name).shape or ())

    def dtype(self, name: str) -> np.dtype[Any]:
        kind: np.dtype[Any] = self._checked(name).dtype
        return kind

    def read(self, name: str, at: Any) -> Array:
        with safety.reading(f"{self._path}, field {name}"):
            values: Array = self._handle.file()[name][at]
        return values

    def sample_ns(self, name: str) -> float | None:
        where = f"{self._path}, attribute sample_ns"
        with safety.reading(where):
            file = self._handle.file()
            found = file[name].attrs.get("sample_ns", file.attrs.get("sample_ns"))
        return None if found is None else number(found, where=where)

    def close(self) -> None:
        self._handle.close()


class NpyArrays:
    """Arrays of a ``.npz`` or tar archive; the one of a ``.npy`` file is called ``adc``."""

    def __init__(self, path: Path) -> None:
        self._archive = NpyArchive(path)
        self._last = ChunkCache(max_bytes=0)
        self.headers = self._archive.headers
        if self._archive.is_single:
            self.headers = {"adc": next(iter(self.headers.values()))}

    def names(self) -> list[str]:
        return list(self.headers)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.headers[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self.headers[name].dtype

    def read(self, name: str, at: Any) -> Array:
        if self._archive.is_single:
            return self._archive.piece(at)
        values: Array = self._last.get(name, lambda: self._archive.array(name))[at]
        return values

    def sample_ns(self, name: str) -> float | None:  # noqa: ARG002  all arrays of a file are alike in it
        if "sample_ns" not in self.headers or self.headers["sample_ns"].dtype.kind not in "iuf":
            return None
        found = self._archive.array("sample_ns")
        return float(found.reshape(-1)[0]) if found.size == 1 else None

    def close(self) -> None:
        self._archive.forget()
        self._last = ChunkCache(max_bytes=0)
