"""Variable-length rows: their lengths, known without reading the rows, and the rows themselves.

Rows are read past HDF5, which walks a damaged heap without end: a lost sector would hang a run.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hepfm.errors import DataError
from hepfm.readers.handle import Handle
from hepfm.readers.safety import reading

_DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""What HDF5 stores in place of a row: its length and where its values are (file format specification)."""
_COLLECTION = struct.Struct("<4sB3xQ")
"""Head of a global heap collection: signature, version, size in bytes."""
_OBJECT = struct.Struct("<HHIQ")
"""Head of an object in it: index, references, nothing, size in bytes; the next begins at a multiple of 8."""
_FIX = "the file is damaged: make it again"


class VlenRows:
    """The rows of a one-dimensional dataset of variable-length rows; 16 bytes a row stay in memory.

    A dataset that went through a filter (which compresses the descriptors, not the rows, and is of no use) is
    left to HDF5.

    Args:
        found: The dataset.
        path: Its file.

    Raises:
        DataError: A row is longer than the file.
    """

    def __init__(self, found: h5py.Dataset, *, path: Path) -> None:
        self._where, self._field = str(path), found.name
        self._base = np.dtype(h5py.check_vlen_dtype(found.dtype))
        self._held = path.stat().st_size
        with reading(f"{path}, field {found.name}"):
            self._rows = _descriptors(found, path)
            lengths = [len(row) for row in found] if self._rows is None else self._rows["length"]
        self.lengths = np.asarray(lengths, np.int64)
        """Numbers in each row ``(n,)`` int64."""
        too_long = np.flatnonzero(self.lengths * self._base.itemsize > self._held)
        if len(too_long):
            event = int(too_long[0])
            numbers = f"{self.lengths[event]} numbers"
            what = f"the row declares {numbers}, which a file of {self._held} bytes cannot hold"
            raise self._damage(event, what)

    def row(self, event: int, handle: Handle) -> np.ndarray[Any, Any]:
        """One row.

        Args:
            event: Its index.
            handle: The file.

        Raises:
            DataError: It cannot be read.
        """
        if self._rows is None:
            with reading(f"{self._where}, event {event}, field {self._field}"):
                return np.asarray(handle.file()[self._field][event])
        length, address, index = self._rows[event].tolist()
        if not length:
            return np.empty(0, self._base)
        heap = self._collection(event, address, handle.descriptor())
        at = _COLLECTION.size
        while at + _OBJECT.size <= len(heap):
            number, _, _, nbytes = _OBJECT.unpack_from(heap, at)
            at += _OBJECT.size
            if number == index:
                if nbytes != length * self._base.itemsize or at + nbytes > len(heap):
                    break
                return np.frombuffer(heap, self._base, length, at).copy()
            if not number:  # the free space at the end
                break
            at += -(-nbytes // 8) * 8
        raise self._damage(event, "the row is not where the file says")

    def _collection(self, event: int, address: int, descriptor: int) -> bytes:
        if address + _COLLECTION.size <= self._held:
            head = os.pread(descriptor, _COLLECTION.size, address)
            if len(head) == _COLLECTION.size:
                signature, version, size = _COLLECTION.unpack(head)
                if signature == b"GCOL" and version == 1 and address + size <= self._held:
                    return os.pread(descriptor, size, address)
        raise self._damage(event, "the row is not where the file says")

    def _damage(self, event: int, what: str) -> DataError:
        return DataError(what, where=f"{self._where}, event {event}, field {self._field}", fix=_FIX)


def _descriptors(found: h5py.Dataset, path: Path) -> np.ndarray[Any, Any] | None:
    """``(n,)`` of `_DESCRIPTOR`; None where they went through a filter or have another layout."""
    n = int(found.shape[0])
    if not n:
        return np.empty(0, _DESCRIPTOR)
    if found.id.get_type().get_size() != _DESCRIPTOR.itemsize or found.id.get_create_plist().get_nfilters():
        return None
    raw = bytearray()
    if found.chunks is None:
        with path.open("rb") as file:
            raw += os.pread(file.fileno(), n * _DESCRIPTOR.itemsize, found.id.get_offset())
    else:
        for start in range(0, n, found.chunks[0]):
            raw += found.id.read_direct_chunk((start,))[1]
    return np.frombuffer(bytes(raw), _DESCRIPTOR)[:n]
