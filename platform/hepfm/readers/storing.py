"""A disk that is full or fails while events are written: said in a sentence, with what is free there."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hepfm.errors import DataError

_FAILING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
_STRUCTURES = 1 << 16
"""Bytes that HDF5 may need beside the data."""
_OF_HDF5 = re.compile(r"errno = (\d+)")


class StorageError(DataError):
    """The disk is full, read-only or failing: what comes next fails too."""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the system and HDF5 say of storage that is full or fails into `StorageError`.

    Args:
        path: The file that is written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = _OF_HDF5.search(str(error))
        number = getattr(error, "errno", None) or (int(said[1]) if said else None)
        if number not in _FAILING:
            raise
        free = shutil.disk_usage(path.parent).free
        raise StorageError(
            f"The events cannot be written: {os.strerror(number)}.",
            where=f"{path}; {free} bytes are free there",
            fix="make room, and run the same command again: finished files are kept",
        ) from error


def refuse_full(path: Path, nbytes: int) -> None:
    """Raises `OSError` where a file cannot grow by so many bytes.

    HDF5 would find out while it closes a dataset, where h5py cannot raise but prints.
    """
    if shutil.disk_usage(path.parent).free < nbytes + _STRUCTURES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
