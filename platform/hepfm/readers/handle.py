"""A file that is opened when it is first needed, and again in each process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py

from hepfm.readers.safety import open_h5


class Handle:
    """An HDF5 file for reading. Pickles as its path; a handle opened before a fork is left to the parent.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = 0
        self._h5: h5py.File | None = None
        self._fd = -1

    def file(self) -> h5py.File:
        """The open file.

        Raises:
            DataError: It cannot be opened.
        """
        if self._h5 is None or self._pid != os.getpid():
            self._h5, self._pid = open_h5(self.path), os.getpid()
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._h5

    def descriptor(self) -> int:
        """The file as a descriptor, for reads past HDF5 at given offsets, which a fork does not disturb."""
        if self._fd < 0:
            self.file()
        return self._fd

    def close(self) -> None:
        """Closes what this process opened."""
        if self._h5 is not None and self._pid == os.getpid():
            self._h5.close()
        if self._fd >= 0:
            os.close(self._fd)
        self._h5, self._pid, self._fd = None, 0, -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_pid": 0, "_h5": None, "_fd": -1}
