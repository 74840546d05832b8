"""Lengths of variable-length rows, known without reading the rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hepfm.errors import DataError

_DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""What HDF5 stores in place of a row: its length and where its values are (file format specification)."""


def vlen_lengths(found: h5py.Dataset, *, path: Path) -> np.ndarray[Any, Any]:
    """Numbers in each row ``(n,)`` int64 of a one-dimensional dataset of variable-length rows.

    Rows are only read where the dataset itself went through a filter (which compresses the descriptors, not
    the rows, and is of no use).

    Raises:
        DataError: A row that is longer than the file.
    """
    n = int(found.shape[0])
    if not n:
        return np.zeros(0, np.int64)
    if found.id.get_type().get_size() != _DESCRIPTOR.itemsize or found.id.get_create_plist().get_nfilters():
        return np.array([len(row) for row in found], np.int64)
    raw = bytearray()
    if found.chunks is None:
        with path.open("rb") as file:
            raw += os.pread(file.fileno(), n * _DESCRIPTOR.itemsize, found.id.get_offset())
    else:
        for start in range(0, n, found.chunks[0]):
            raw += found.id.read_direct_chunk((start,))[1]
    rows = np.frombuffer(bytes(raw), _DESCRIPTOR)[:n]
    lengths: np.ndarray[Any, Any] = rows["length"].astype(np.int64)
    base = h5py.check_vlen_dtype(found.dtype)
    held = path.stat().st_size
    too_long = np.flatnonzero(lengths * base.itemsize > held)
    if len(too_long):
        event = int(too_long[0])
        what = f"the row declares {lengths[event]} numbers, which a file of {held} bytes cannot hold"
        raise DataError(
            what, where=f"{path}, event {event}, field {found.name}", fix="the file is damaged: make it again"
        )
    return lengths
